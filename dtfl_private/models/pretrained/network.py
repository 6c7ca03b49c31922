"""A network from a checkpoint on disk, as a staged model: everything is checked before a weight is allocated."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dtfl_private.data.tokenizers import FILE as TOKENIZER
from dtfl_private.data.tokenizers import read_tokenizer
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel, as_language_model, numbered
from dtfl_private.models.frozen import freeze
from dtfl_private.models.input_kinds import KINDS, network
from dtfl_private.models.next_token import LanguageHead
from dtfl_private.models.norms import Norm
from dtfl_private.models.pretrained.blocks import Classifier, Pooling
from dtfl_private.models.pretrained.config_base import CheckpointConfig, DecoderConfig, TextConfig
from dtfl_private.models.pretrained.config_file import read_config
from dtfl_private.models.pretrained.image_scale import scale_notes
from dtfl_private.models.pretrained.lora import Targets, add_adapters
from dtfl_private.models.pretrained.parts import Parts, make_parts
from dtfl_private.models.pretrained.vit_config import VitConfig
from dtfl_private.models.pretrained.weights_files import load_into, require_fitting, stored_weights
from dtfl_private.models.setting_types import Rank, Task
from dtfl_private.protocol.vocabulary import Vocabulary

Alpha = Annotated[float, Field(gt=0, le=1e6)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ALPHA_BY_RANK = 2.0
"""What alpha is by default: so many times the rank."""

# The weights of a language model's head in a checkpoint, unless they are the embedding's.
HEAD = "lm_head.weight"


@network(
    source="Wolf et al. 2020, arXiv 1910.03771",
    kind="either",
    smallest=1,
    example=(128,),
    needs="a checkpoint (path)",
)
def pretrained(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it
    tokens: Vocabulary | None = None,
    path: str,
    cuts: Cuts = "auto",
    pooling: Pooling | Literal["auto"] = "auto",
    task: Task = "classes",
    lora: Rank | None = None,
    lora_alpha: Alpha | None = None,
    lora_targets: Targets | None = None,
    base: Sha256 | None = None,
) -> StagedModel:
    """BERT, RoBERTa, DistilBERT, GPT-2, Llama or ViT from a folder in the Hugging Face layout, with a new classifier.

    With ``task=next-token`` GPT-2 and Llama keep the checkpoint's head, which says what comes next at each place.

    Args:
        input_shape: (length,) of a sequence, or (channels, height, width) of an image.
        classes: number of classes.
        norm: of no use here: the network has the norms that it was trained with.
        tokens: which numbers are tokens; None where that is not known.
        path: of the folder.
        cuts: how many; the first is behind the embeddings.
        pooling: what the classifier sees; auto: of texts the mean, of images the class token, which is the first.
        task: what it is trained for.
        lora: rank of the adapters that are trained in place of the checkpoint's weights, which are frozen; 0: there are
            none; None: nothing is frozen.
        lora_alpha: see `dtfl_private.models.pretrained.lora`; None: twice the rank.
        lora_targets: likewise; None: attention.
        base: SHA-256 that configuration and weights of the checkpoint must have; see `base_sha256`.

    Raises:
        InputError: the folder holds no such checkpoint, or another one; it does not fit the data; peft is not there.
    """
    if not lora and (lora_alpha is not None or lora_targets is not None):
        raise InputError("lora_alpha and lora_targets are of adapters: give lora=RANK of 1 or more, or leave them out")
    folder = Path(os.path.expanduser(path))  # noqa: PTH111 - Path raises where there is no home folder
    config = read_config(folder)
    _require_inputs(folder, config, input_shape, tokens)
    images = isinstance(config, VitConfig)
    if images and pooling == "last":
        raise InputError("pooling=last is the last token of a text: of images take first, the class token, or mean")
    if task == "next-token" and not isinstance(config, DecoderConfig):
        raise InputError(
            f"task=next-token needs a network in which a token sees those before it only, as of the types gpt2 and "
            f"llama: in that of {folder} it sees all"
        )
    parts, head, weights = _loaded(folder, config, task)
    settings: dict[str, object] = {}
    described = any(tensor.is_meta for tensor in weights.values())
    if not described and (base is not None or lora is not None):
        settings["base"] = _required_base(folder, config, weights, base)
    seen: Pooling = ("first" if images else "mean") if pooling == "auto" else pooling
    stages = parts.stages(
        Classifier(parts.norm, config.width, classes, seen) if head is None else head,
        padding=None if tokens is None else tokens.padding,
        causal=isinstance(config, DecoderConfig),
    )
    # Before anything is added or frozen: the cuts are those of the network that the checkpoint has.
    model = cut_automatically(numbered(stages), input_shape, cuts, first_kept=True)
    if lora is not None:
        settings |= _adapted(parts, config, lora, lora_alpha, lora_targets)
    model.resolved_settings = tuple((name, str(value)) for name, value in settings.items())
    if isinstance(config, VitConfig):
        model.notes = scale_notes(folder, config)
    if isinstance(config, DecoderConfig) and task == "next-token":
        return as_language_model(model, config.vocab_size)
    return model


def _loaded(folder: Path, config: CheckpointConfig, task: Task) -> tuple[Parts, LanguageHead | None, dict[str, Tensor]]:
    """Return the parts and the language model's head with the checkpoint's weights, and these by name.

    They are checked before any is allocated. None stands for the head where there is to be a new classifier.
    """
    stored = stored_weights(folder, config.PREFIX)
    if task == "next-token" and isinstance(config, DecoderConfig) and HEAD not in stored:
        if not config.tie_word_embeddings:
            raise InputError(f"{folder} has no {HEAD}, the head that task=next-token goes on with: take one that has")
        if (embedding := stored.get(config.EMBEDDING)) is not None:  # in the file they are one, here they part
            stored[HEAD] = embedding
    with torch.device("meta"):
        _, _, announced = _made(config, task)
    require_fitting(folder, stored, announced)
    parts, head, weights = _made(config, task)
    if not any(tensor.is_meta for tensor in weights.values()):  # else it is only described
        load_into(stored, weights)
    return parts, head, weights


def _made(config: CheckpointConfig, task: Task) -> tuple[Parts, LanguageHead | None, dict[str, Tensor]]:
    """Return the parts, the language model's head, and the tensors of both by their names in a checkpoint."""
    parts = make_parts(config)
    weights = parts.weights()
    if task == "classes" or parts.norm is None or not isinstance(config, DecoderConfig):
        return parts, None, weights
    last = nn.Linear(config.width, config.vocab_size, bias=False)
    return parts, LanguageHead(parts.norm, last), {**weights, HEAD: last.weight.detach()}


def base_sha256(config: CheckpointConfig, weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of what a checkpoint computes: config.json as it is read, names and float32 values."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().data)
    return digest.hexdigest()


def _required_base(folder: Path, config: CheckpointConfig, weights: Mapping[str, Tensor], expected: str | None) -> str:
    found = base_sha256(config, weights)
    if expected is not None and found != expected:
        raise InputError(
            f"{folder} holds another checkpoint than the one whose frozen weights are needed: its SHA-256 is "
            f"{found[:12]}..., expected {expected[:12]}...: put the old one back"
        )
    return found


def _adapted(
    parts: Parts, config: CheckpointConfig, rank: int, alpha: float | None, targets: Targets | None
) -> dict[str, object]:
    """Freeze a checkpoint's weights, with adapters beside them; return the settings of these."""
    base = [parts.embedding, *parts.blocks, *([] if parts.norm is None else [parts.norm])]
    for part in base:
        part.requires_grad_(requires_grad=False)
    settings: dict[str, object] = {}
    if rank:
        scale, where = alpha or ALPHA_BY_RANK * rank, targets or "attention"
        add_adapters(parts.blocks, config, rank=rank, alpha=scale, targets=where)
        settings = {"lora_alpha": scale, "lora_targets": where}
    for part in base:
        freeze(part)
    return settings


def _require_inputs(
    folder: Path, config: CheckpointConfig, input_shape: tuple[int, ...], tokens: Vocabulary | None
) -> None:
    """Refuse inputs of another kind, size or vocabulary than the network takes."""
    kind = KINDS[len(input_shape)]
    if isinstance(config, VitConfig):
        shape = "x".join(map(str, config.input_shape))
        if input_shape != config.input_shape:
            given = "x".join(map(str, input_shape)) if kind == "images" else f"{input_shape[0]:,} tokens"
            raise InputError(
                f"the network of {folder} takes images of {shape}, not inputs of {given}: of a data set that has the "
                f"setting size, set size={config.image_size}; to profile and plan, --input-shape {shape}"
            )
    elif isinstance(config, TextConfig):
        if kind != "tokens":
            raise InputError(f"the network of {folder} takes sequences of tokens, not inputs of shape {input_shape}")
        _require_length(folder, config, input_shape[0])
        if tokens is not None:
            _require_vocabulary(folder, config, tokens)


def _require_length(folder: Path, config: TextConfig, length: int) -> None:
    if length > config.positions:
        raise InputError(
            f"sequences of {length:,} tokens are longer than the {config.positions:,} positions of {folder}: "
            f"set length={config.positions} or less on the data set"
        )


def _require_vocabulary(folder: Path, config: TextConfig, tokens: Vocabulary) -> None:
    """Refuse data whose numbers mean other tokens to the network.

    The checkpoint's own tokenizer must have made them, as far as that is known; else there must be equally many.
    """
    there = folder / TOKENIZER
    remedy = f"set tokenizer={folder} on the data set"
    if not there.exists():
        remedy = f"put the {TOKENIZER} that it was trained with into that folder, and {remedy}"
    if tokens.tokenizer is not None and there.exists():
        own = read_tokenizer(there)
        if _cutting(own.document) != _cutting(tokens.tokenizer):
            raise InputError(f"the texts were cut into tokens by another tokenizer than that of {folder}: {remedy}")
    elif tokens.size != config.vocab_size:
        raise InputError(
            f"the data have {tokens.size:,} kinds of tokens, the network of {folder} {config.vocab_size:,}: {remedy}"
        )
    if tokens.size > config.vocab_size:
        raise InputError(
            f"the tokenizer of {folder} has {tokens.size:,} tokens, its network has {config.vocab_size:,} vectors"
        )


# Of a tokenizer.json: what texts are cut by. Padding, and what is put around a text, are the data set's.
CUT_BY = ("normalizer", "pre_tokenizer", "model")


def _cutting(document: str) -> Sequence[object]:
    """Return by what the text of a tokenizer.json cuts."""
    found = reading.parse_json(document.encode())
    return [found.get(part) for part in CUT_BY] if isinstance(found, dict) else []

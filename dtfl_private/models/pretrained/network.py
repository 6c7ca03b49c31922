"""A network from a checkpoint on disk, as a staged model: everything is checked before a weight is allocated."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.data.tokenizers import FILE as TOKENIZER
from dtfl_private.data.tokenizers import read_tokenizer
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel, numbered
from dtfl_private.models.frozen import freeze
from dtfl_private.models.input_kinds import network
from dtfl_private.models.norms import Norm
from dtfl_private.models.pretrained.blocks import Pooling
from dtfl_private.models.pretrained.config_file import CheckpointConfig, read_config
from dtfl_private.models.pretrained.lora import Targets, add_adapters
from dtfl_private.models.pretrained.parts import Parts, make_parts
from dtfl_private.models.pretrained.weights_files import load_into, require_fitting, stored_weights
from dtfl_private.protocol.vocabulary import Vocabulary

Rank = Annotated[int, Field(ge=0, le=1024)]
Alpha = Annotated[float, Field(gt=0, le=1e6)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

ALPHA_BY_RANK = 2.0
"""What alpha is by default: so many times the rank."""


@network(
    source="Wolf et al. 2020, arXiv 1910.03771", kind="tokens", smallest=1, example=(128,), needs="a checkpoint (path)"
)
def pretrained(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it
    tokens: Vocabulary | None = None,
    path: str,
    cuts: Cuts = "auto",
    pooling: Pooling = "mean",
    lora: Rank | None = None,
    lora_alpha: Alpha | None = None,
    lora_targets: Targets | None = None,
    base: Sha256 | None = None,
) -> StagedModel:
    """BERT, RoBERTa, DistilBERT, GPT-2 or Llama from a folder in the Hugging Face layout, with a new classifier.

    Args:
        input_shape: (length,) of a sequence.
        classes: number of classes.
        norm: of no use here: the network has the norms that it was trained with.
        tokens: which numbers are tokens; None where that is not known.
        path: of the folder.
        cuts: how many.
        pooling: what the classifier sees.
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
    _require_length(folder, config, input_shape[0])
    if tokens is not None:
        _require_vocabulary(folder, config, tokens)
    stored = stored_weights(folder, config.PREFIX)
    with torch.device("meta"):
        announced = make_parts(config).weights()
    require_fitting(folder, stored, announced)
    parts = make_parts(config)
    weights = parts.weights()
    settings: dict[str, object] = {}
    if not any(tensor.is_meta for tensor in weights.values()):  # else it is only described
        load_into(stored, weights)
        if base is not None or lora is not None:
            settings["base"] = _required_base(folder, config, weights, base)
    stages = parts.stages(
        width=config.width,
        classes=classes,
        pooling=pooling,
        padding=None if tokens is None else tokens.padding,
        causal=config.CAUSAL,
    )
    # Before anything is added or frozen: the cuts are those of the network that the checkpoint has.
    model = cut_automatically(numbered(stages), input_shape, cuts)
    if lora is not None:
        settings |= _adapted(parts, config, lora, lora_alpha, lora_targets)
    model.resolved_settings = tuple((name, str(value)) for name, value in settings.items())
    return model


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


def _require_length(folder: Path, config: CheckpointConfig, length: int) -> None:
    if length > config.positions:
        raise InputError(
            f"sequences of {length:,} tokens are longer than the {config.positions:,} positions of {folder}: "
            f"set length={config.positions} or less on the data set"
        )


def _require_vocabulary(folder: Path, config: CheckpointConfig, tokens: Vocabulary) -> None:
    """Refuse data whose numbers mean other tokens to the network.

    The checkpoint's own tokenizer must have made them, as far as that is known; else there must be equally many.
    """
    remedy = f"set tokenizer={folder} on the data set"
    there = folder / TOKENIZER
    if tokens.tokenizer is not None and there.exists():
        own = read_tokenizer(there)
        if _model_of(own.document) != _model_of(tokens.tokenizer):
            raise InputError(f"the texts were cut into tokens by another tokenizer than that of {folder}: {remedy}")
    elif tokens.size != config.vocab_size:
        raise InputError(
            f"the data have {tokens.size:,} kinds of tokens, the network of {folder} {config.vocab_size:,}: {remedy}"
        )
    if tokens.size > config.vocab_size:
        raise InputError(
            f"the tokenizer of {folder} has {tokens.size:,} tokens, its network has {config.vocab_size:,} vectors"
        )


def _model_of(document: str) -> object:
    """Return vocabulary and merges of the text of a tokenizer.json."""
    found = reading.parse_json(document.encode())
    return found.get("model") if isinstance(found, dict) else None

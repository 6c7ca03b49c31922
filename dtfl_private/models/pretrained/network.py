"""A network from a checkpoint on disk, as a staged model: everything is checked before a weight is allocated."""

import os
from pathlib import Path

import torch

from dtfl_private.data.tokenizers import FILE as TOKENIZER
from dtfl_private.data.tokenizers import read_tokenizer
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel, numbered
from dtfl_private.models.input_kinds import network
from dtfl_private.models.norms import Norm
from dtfl_private.models.pretrained.blocks import Pooling
from dtfl_private.models.pretrained.config_file import CheckpointConfig, read_config
from dtfl_private.models.pretrained.parts import make_parts
from dtfl_private.models.pretrained.weights_files import load_into, require_fitting, stored_weights
from dtfl_private.protocol.vocabulary import Vocabulary


@network(
    source="Wolf et al. 2020, arXiv 1910.03771", kind="tokens", smallest=1, example=(128,), needs="a checkpoint (path)"
)
def pretrained(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; these have the norms that they were trained with
    tokens: Vocabulary | None = None,
    path: str,
    cuts: Cuts = "auto",
    pooling: Pooling = "mean",
) -> StagedModel:
    """BERT, RoBERTa, DistilBERT, GPT-2 or Llama from a folder in the Hugging Face layout, with a new classifier."""
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
    if not any(tensor.is_meta for tensor in weights.values()):  # else it is only described
        load_into(stored, weights)
    stages = parts.stages(
        width=config.width,
        classes=classes,
        pooling=pooling,
        padding=None if tokens is None else tokens.padding,
        causal=config.CAUSAL,
    )
    return cut_automatically(numbered(stages), input_shape, cuts)


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

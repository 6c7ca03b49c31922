"""Sequences that are filled up: behind the first stage, a place that is padding is a row of zeros, and stays one.

So a single tensor crosses a cut, and a stage that must know which places are real reads it from its input.
"""

import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protocol.vocabulary import Vocabulary


def real_places(tokens_BTC: Tensor) -> Tensor:
    """Return which places (B, T) of sequences (B, T, C) are real: those that are not zero throughout."""
    return (tokens_BTC != 0).any(dim=-1)


def kept(tokens_BTC: Tensor, real_BT: Tensor | None) -> Tensor:
    """Return sequences (B, T, C) with zeros where places are not real; as they are where all are, or None is given."""
    return tokens_BTC if real_BT is None else tokens_BTC.masked_fill(~real_BT[..., None], 0)


def require_padding_kept(model: StagedModel, vocabulary: Vocabulary, length: int) -> None:
    """Check that a network, which may be anybody's, takes all tokens and returns zeros where sequences are filled up.

    Raises:
        InputError: naming the stage that does not.
    """
    parameter = next(model.parameters(), None)
    if vocabulary.padding is None or (parameter is not None and parameter.is_meta):
        return
    device = None if parameter is None else parameter.device
    values = torch.full((2, length), vocabulary.padding, device=device)
    real = torch.zeros_like(values, dtype=torch.bool)
    real[0, : (length + 1) // 2] = True  # the second sequence is padding alone
    values[real] = vocabulary.size - 1 if vocabulary.size - 1 != vocabulary.padding else 0
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            for name, stage in model.named_children():
                values = stage(values)
                # At padding the logits of a language model mean nothing, and no loss sees them.
                if model.vocabulary is None or stage is not model[-1]:
                    _require_zeros(name, values, real)
    except (IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the network does not take {vocabulary.size:,} kinds of tokens and padding: {reason}"
        ) from None
    finally:
        for part, training in modes:
            part.training = training


def _require_zeros(name: str, values: Tensor, real: Tensor) -> None:
    if values.ndim == 3 and (values.shape[1] != real.shape[1] or bool((values[~real] != 0).any())):
        raise InputError(
            f"stage '{name}' of the network does not return zeros where sequences are filled up, by which the next "
            "stages tell padding: multiply by the mask, as dtfl_private.models.padding does"
        )
    if not bool(values.isfinite().all()):
        raise InputError(f"stage '{name}' of the network does not return finite values of a sequence of padding alone")

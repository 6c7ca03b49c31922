"""Whether the places of a sequence have met: up to which stage each is computed from its own token alone."""

import torch
from torch import Tensor, nn

from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import torch_stream

# Sequences, and places of each in which another token is put, one at a time.
SEQUENCES, CHANGED = 2, 16
# What a place may change by rounding, relative to the largest value: products of other batches are rounded otherwise.
ROUNDING = 1e-5


def stages_apart(model: StagedModel, vocabulary: Vocabulary, length: int) -> int:
    """Return how many of a network's first stages compute each place (B, T, C) from its own token alone.

    Found by trial: with weights drawn anew, as those of a network at the start of its training may be zero where places
    meet later, one token is changed at a time; only its own row may change. The network itself is left as it is.
    """
    chance = torch_stream(0, "places apart")
    values, changed = _changed_sequences(vocabulary, length, chance)
    for number, (_, stage) in enumerate(model.named_children()):
        try:
            with torch.no_grad():
                values = _with_drawn_weights(stage, chance)(values)
        except (IndexError, RuntimeError, ValueError):
            return number  # it takes no such sequences: the network is refused elsewhere
        if not _only_own_rows(values, changed, length):
            return number
    return len(model)


def _changed_sequences(vocabulary: Vocabulary, length: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sequences (S * (1 + N), T), each followed by N others with one token changed, and at which places (N,)."""
    size, padding = vocabulary.size, vocabulary.padding
    real = [token for token in (0, size - 1, size // 2, size // 3, 1) if token != padding and 0 <= token < size]
    tokens = torch.tensor(real)
    base = tokens[torch.randint(len(real), (SEQUENCES, length), generator=chance)]
    changed = torch.randperm(length, generator=chance)[:CHANGED]
    found = []
    for row in base:
        others = row.repeat(len(changed), 1)
        for other, place in zip(others, changed.tolist(), strict=True):
            different = tokens[tokens != other[place]]
            other[place] = different[torch.randint(len(different), (), generator=chance)]
        found += [row[None], others]
    return torch.cat(found), changed


def _with_drawn_weights(stage: nn.Module, chance: torch.Generator) -> nn.Module:
    """Return a copy of a stage on the CPU, in evaluation, with random weights of the usual size."""
    described = any(tensor.is_meta for tensor in stage.state_dict().values())
    drawn = copied(stage)
    drawn = (drawn.to_empty(device="cpu") if described else drawn.cpu()).eval()
    for buffer in drawn.buffers() if described else ():
        buffer.zero_()
    for parameter in drawn.parameters():
        if parameter.is_floating_point():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 1.0
            parameter.data = scale * torch.randn(parameter.shape, generator=chance)
    return drawn


def _only_own_rows(values: Tensor, changed: Tensor, length: int) -> bool:
    """Whether each sequence differs from the one that it was made of in the changed place alone."""
    if values.ndim != 3 or values.shape[1] != length or not bool(values.isfinite().all()):
        return False
    groups = values.reshape(SEQUENCES, 1 + len(changed), *values.shape[1:])
    moved = (groups[:, 1:] - groups[:, :1]).abs().amax(dim=-1)  # (S, N, T)
    moved[:, torch.arange(len(changed)), changed] = 0
    return bool((moved <= ROUNDING * values.abs().max()).all())

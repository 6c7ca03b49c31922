"""What a client half makes of each token at each place, and which token fits best to what was received there.

The table of all tokens at all places could be far larger than the memory, so it is made and compared in pieces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.protection.release_reading import PRECISION, Reading, expected_values
from dtfl_private.protocol.vocabulary import Vocabulary

# Of a piece of the table, and of the scores that it gives.
PIECE_BYTES = 2**26
# Tokens of which it is tried whether a dropout is what ends the client half, and how much its values may differ.
PROBED, ALIKE = 4, 1e-3


@dataclass(frozen=True, kw_only=True)
class ReceivedPlaces:
    """What was received of sequences, place by place, as far as it shows.

    Attributes:
        values: (B, T, C).
        weights: (B, T, C), 1 over the variance of the noise; 0 where a value does not show.
        laplace: whether the noise is Laplace's.
        noisy: whether noise leaves a choice between tokens.
        reading: that they are of.
    """

    values: Tensor
    weights: Tensor
    laplace: bool
    noisy: bool
    reading: Reading

    @classmethod
    def of(cls, reading: Reading, *, drops: bool) -> "ReceivedPlaces":
        """Return what a reading of a release (B, T, C) shows; where the client half ``drops`` values, no zeros."""
        values, variance = reading.values.float(), reading.noise_variance.float()
        noisy = bool((variance > 0).any())
        shown = reading.shown if noisy or not drops else reading.shown & (values != 0)
        mean_square = (values.square() * shown).sum() / shown.sum().clamp(min=1)
        floor = (PRECISION**2 * mean_square).clamp(min=1e-24)
        return cls(
            values=values,
            weights=shown / torch.maximum(variance, floor),
            laplace=reading.shape == "laplace",
            noisy=noisy,
            reading=reading,
        )

    def log_likelihoods(self, table_VTC: Tensor) -> Tensor:
        """Return the log-likelihood of a piece's tokens at each place (T, B, V), but for a constant of the place."""
        values, weights = self.values.transpose(0, 1), self.weights.transpose(0, 1)
        tokens = table_VTC.transpose(0, 1)
        if self.laplace:
            steep = (2 * weights).sqrt()
            apart = [(own[:, None] - value[None]).abs() for own, value in zip(tokens, values, strict=True)]
            return -torch.stack([torch.einsum("vbc,bc->bv", one, by) for one, by in zip(apart, steep, strict=True)])
        squares: Tensor = weights @ tokens.square().transpose(1, 2)
        return (values * weights) @ tokens.transpose(1, 2) - squares / 2


class TokenTable:
    """The tokens' activations, on average where the client half has dropout.

    Args:
        program: of a client; its dropout is switched off here, for good.
        vocabulary: of the tokens.
        cut_shape: (T, C) of a sequence's activations.

    Attributes:
        factor: by which a value that shows is greater than on average, as what precedes it is a dropout; 1 if none is.
    """

    def __init__(self, program: ClientProgram, vocabulary: Vocabulary, cut_shape: Sequence[int]) -> None:
        self._program, self._vocabulary = program, vocabulary
        self._length, self._width = cut_shape
        probe = torch.arange(min(PROBED, vocabulary.size))
        dropped = self._made(probe)
        for part in program.modules.modules():
            if isinstance(part, nn.Dropout):
                part.eval()
        self.factor = _factor_of_dropout(dropped, self._made(probe))

    @property
    def drops(self) -> bool:
        """Whether a value that is zero was dropped, and shows nothing."""
        return self.factor > 1

    def nearest(
        self, received: Sequence[ReceivedPlaces], log_prior: Tensor | None, progress: Callable[[int, int], None]
    ) -> list[Tensor]:
        """Return the likeliest token at each place of the sequences of each of several rounds: (B, T) each, on the CPU.

        Args:
            received: of each round.
            log_prior: of each token (size,), which counts where there is noise; None if all are as likely.
            progress: told how many tokens were tried, of how many.
        """
        best = [torch.full(one.values.shape[:2], -torch.inf, device=one.values.device) for one in received]
        found = [torch.zeros_like(one, dtype=torch.int64) for one in best]
        for tokens in torch.split(torch.arange(self._vocabulary.size), self._piece(received)):
            made = self._made(tokens)
            for place, one in enumerate(received):
                scores = one.log_likelihoods(self._shown(made, one))
                if log_prior is not None and one.noisy:
                    scores = scores + log_prior[tokens].to(scores)
                if (padding := self._vocabulary.padding) is not None:
                    scores[..., (tokens == padding).to(scores.device)] = -torch.inf
                highest, which = scores.max(dim=2)
                better = best[place] < highest.T
                best[place] = torch.where(better, highest.T, best[place])
                found[place] = torch.where(better, tokens.to(which.device)[which.T], found[place])
            progress(int(tokens[-1]) + 1, self._vocabulary.size)
        return [one.cpu() for one in found]

    def _piece(self, received: Sequence[ReceivedPlaces]) -> int:
        """Return how many tokens' activations and scores fit into a piece."""
        records = max(len(one.values) for one in received)
        width = max(records * (self._width if any(one.laplace for one in received) else 1), self._width)
        return max(1, PIECE_BYTES // (4 * self._length * width))

    def _shown(self, made: Tensor, received: ReceivedPlaces) -> Tensor:
        """Return what a release like the received ones shows of activations (V, T, C)."""
        # Behind noise it does not show what was dropped.
        return expected_values(received.reading, made if received.noisy else made * self.factor).float()

    @torch.no_grad()
    def _made(self, tokens: Tensor) -> Tensor:
        """Return activations (V, T, C) of sequences that hold one token alone, at all places."""
        alone = tokens[:, None].expand(-1, self._length).to(self._program.device)
        program = self._program
        if program.rewrites:  # what is expected of a message may depend on its labels, which these have not
            return program.release(alone, torch.zeros(len(tokens), dtype=torch.int64, device=program.device))
        return program.expected(alone)


def _factor_of_dropout(dropped: Tensor, average: Tensor) -> float:
    """Return by how much activations of a release are greater than on average; 1 if it is not by a dropout at the end.

    Args:
        dropped: (V, T, C) of a release.
        average: of the same tokens, without dropout.
    """
    there = average != 0
    kept = there & (dropped != 0)
    ratios = dropped[kept] / average[kept]
    if not kept.any() or not bool((there & (dropped == 0)).any()):
        return 1.0
    factor = float(ratios.mean())
    alike = bool((ratios - factor).abs().max() < ALIKE * factor)
    return factor if alike and factor > 1 else 1.0

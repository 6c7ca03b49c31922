"""What a client half makes of each token at each place, and which token fits best to what was received there.

The table of all tokens at all places could be far larger than the memory, so it is made and compared in pieces.
"""

from collections.abc import Callable, Iterator, Sequence
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
        best = [_Best(len(one.values), self._length, one.values.device) for one in received]
        for tokens, made in self._pieces(received, progress):
            for one, own in zip(received, best, strict=True):
                own.improve(self._scores(one, self._shown(made, one), tokens, log_prior), tokens)
        return [own.tokens.cpu() for own in best]

    def nearest_in_any_order(
        self, received: Sequence[ReceivedPlaces], log_prior: Tensor | None, progress: Callable[[int, int], None]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return how likely each received row is at each place (B, T, T), and the likeliest token there, on the CPU.

        For rows whose places are not known; otherwise as `nearest`.
        """
        places = range(self._length)
        best = [[_Best(len(one.values), self._length, one.values.device) for _ in places] for one in received]
        for tokens, made in self._pieces(received, progress):
            for one, own in zip(received, best, strict=True):
                shown = self._shown(made, one)
                for place in places:
                    there = shown[:, place : place + 1].expand_as(shown)
                    own[place].improve(self._scores(one, there, tokens, log_prior), tokens)
        return [
            (
                torch.stack([place.scores for place in own], dim=2).cpu(),
                torch.stack([place.tokens for place in own], dim=2).cpu(),
            )
            for own in best
        ]

    def _pieces(
        self, received: Sequence[ReceivedPlaces], progress: Callable[[int, int], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the tokens in pieces, with their activations; say how many were tried when whoever asked comes back."""
        for tokens in torch.split(torch.arange(self._vocabulary.size), self._piece(received)):
            yield tokens, self._made(tokens)
            progress(int(tokens[-1]) + 1, self._vocabulary.size)

    def _scores(self, received: ReceivedPlaces, shown: Tensor, tokens: Tensor, log_prior: Tensor | None) -> Tensor:
        """Return the log-likelihood of each token at each place (T, B, V), but for a constant of what was received."""
        scores = received.log_likelihoods(shown)
        if log_prior is not None and received.noisy:
            scores = scores + log_prior[tokens].to(scores)
        if (padding := self._vocabulary.padding) is not None:
            scores[..., (tokens == padding).to(scores.device)] = -torch.inf
        return scores

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
        if program.rewrites:  # by labels and rows perhaps: those of a batch of these
            program = program.sending(torch.zeros(len(tokens), dtype=torch.int64), 0)
        return program.expected(alone)


class _Best:
    """The likeliest tokens so far: ``scores`` and ``tokens`` (B, T)."""

    def __init__(self, records: int, length: int, device: torch.device) -> None:
        self.scores = torch.full((records, length), -torch.inf, device=device)
        self.tokens = torch.zeros((records, length), dtype=torch.int64, device=device)

    def improve(self, scores_TBV: Tensor, tokens: Tensor) -> None:
        """Take those of some more tokens (V,) that are likelier; of equals the first."""
        highest, which = scores_TBV.max(dim=2)
        better = self.scores < highest.T
        self.scores = torch.where(better, highest.T, self.scores)
        self.tokens = torch.where(better, tokens.to(which.device)[which.T], self.tokens)


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

"""An epsilon that the release of smashed data cannot be below, from one run with canaries.

A canary is a pair of records with one label; a fair coin says which of the two is sent. The adversary, who knows the
client half, the defenses' samplers and all pairs, guesses the coins from what arrives. What its guesses prove is
`dtfl_private.privacy.one_run`'s theorem.

How to guess, and from how many canaries to abstain, the adversary finds out in a rehearsal: it tosses coins of its own,
sends the records through a client half of its own, and takes what proves most there. The guesses that count are made on
other coins and other draws, so that the choice needs no correction.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dtfl_private.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.measures.base import Figure, Measure, MeasureFacts, Release, exact
from dtfl_private.privacy.distance_correlation import distances
from dtfl_private.privacy.one_run import epsilon_ceiling, epsilon_lower_bound
from dtfl_private.randomness import stream

CANARIES = 1000
# More releases of each canary than these are not played, for their cost.
MOST_RELEASES = 8
# Runs of the adversary's own, whose mean is what it expects to receive.
OWN_RELEASES = 2
# Shares of the canaries that it may guess.
GUESSED = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)
# Records among which distant pairs are sought.
MOST_PAIRED = 1024


def _sorted(smashed: Tensor) -> Tensor:
    # NumPy sorts floats several times faster.
    return torch.from_numpy(np.sort(smashed.cpu().numpy(), axis=1))


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One way to guess: by the squared distance of what arrives to what is expected of either record.

    seen: from smashed data (B, values) to what is compared.
    own: whether to expect the mean of releases of the adversary's own, or the undefended activations.
    """

    seen: Callable[[Tensor], Tensor]
    own: bool


LOOKS: Mapping[str, _Look] = {
    "activations": _Look(seen=lambda smashed: smashed, own=False),
    "direction": _Look(seen=lambda smashed: torch.nn.functional.normalize(smashed, dim=1), own=False),
    "own releases": _Look(seen=lambda smashed: smashed, own=True),
    "sorted values": _Look(seen=_sorted, own=True),  # whatever order they were shuffled to
}


@dataclass(frozen=True, kw_only=True)
class EmpiricalEpsilon(Measure):
    """Prove a lower bound on epsilon by guessing which of two records was sent (Steinke, Nasr and Jagielski 2023).

    Of replacing a record, its label as it was, given the client weights; at the release's delta, with 95 % confidence.
    The cumulated figure is of as many releases of each canary as the run made, eight at most.

    Attributes:
        canaries: at least; rounded up to whole batches. Batch norm couples them: the adversary does not know the
            statistics of a batch exactly.
    """

    facts: ClassVar[MeasureFacts] = MeasureFacts(
        says="an epsilon that the release of smashed data exceeds, with 95 % confidence: proven leakage",
        does_not_say="that the true epsilon is anywhere near: a low value is no proof, and none can exceed the ceiling",
        source="Steinke, Nasr and Jagielski 2023 (2305.08846)",
    )

    canaries: int = CANARIES

    def figures(self, release: Release) -> Sequence[Figure]:
        """Return empirical-epsilon, of repeated releases too if there were any, and the ceiling."""
        rng, draws = stream(release.seed, "empirical-epsilon"), itertools.count()
        releases = min(release.releases, MOST_RELEASES)
        rehearsals: list[_Played] = []
        plays: list[_Played] = []
        for pairs in _batches_of_pairs(release, self.canaries, rng):
            expected = _expected(release, pairs, draws)
            for played in (rehearsals, plays):
                played.append(_play(release, pairs, expected, releases, rng, draws))
        rehearsal, play = _joined(rehearsals), _joined(plays)
        count = len(play.coins_M)
        found = {"empirical-epsilon": _proven(rehearsal, play, 0, release.delta)}
        if releases > 1:
            found["empirical-epsilon-cumulated"] = _proven(rehearsal, play, 1, release.delta)
        found["empirical-epsilon-ceiling"] = epsilon_ceiling(count, release.delta)
        return [exact(metric, value, count) for metric, value in found.items()]

    def remarks(self, release: Release) -> Sequence[str]:
        """Return how many releases were not played."""
        if release.releases <= MOST_RELEASES:
            return ()
        return (f"the cumulated empirical epsilon is of {MOST_RELEASES} of {release.releases} releases",)


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """A batch of canaries: either record (B, C, H, W) of each, and the label that goes with both (B,)."""

    first: Tensor
    second: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class _Played:
    """Coins of M canaries, true for the first record, and how much speaks for it.

    scores_2LM: after one release and after all, by each of `LOOKS`.
    """

    coins_M: BoolArray
    scores_2LM: FloatArray


def _batches_of_pairs(release: Release, canaries: int, rng: np.random.Generator) -> Iterator[_Pairs]:
    """Yield as many canaries as asked for or more, in whole batches; records come up repeatedly if they are few."""
    partner = _distant_partners(release)
    size = release.batch_size
    batches = -(-canaries // size)
    rounds = -(-batches * size // len(partner))
    order = np.concatenate([rng.permutation(len(partner)) for _ in range(rounds)])
    for start in range(0, batches * size, size):
        chosen = order[start : start + size]
        yield _Pairs(
            first=release.images[chosen], second=release.images[partner[chosen]], labels=release.labels[chosen]
        )


def _distant_partners(release: Release) -> IntArray:
    """Return another record for each of the first ones, so that pairs are far apart and each record is used once."""
    from scipy.optimize import linear_sum_assignment  # scipy takes a while to load

    apart = distances(release.activations()[:MOST_PAIRED]).fill_diagonal_(-1)
    return np.asarray(linear_sum_assignment(apart.numpy(), maximize=True)[1])


@torch.no_grad()
def _expected(release: Release, pairs: _Pairs, draws: Iterator[int]) -> list[tuple[Tensor, Tensor]]:
    """Return what the adversary expects to see of either record (B, values), by each of `LOOKS`."""
    plain, own = [], []
    for images in (pairs.first, pairs.second):
        plain.append(_flat(release.encoder(images)))
        own.append([_flat(release.release(images, pairs.labels, next(draws))) for _ in range(OWN_RELEASES)])
    found = []
    for look in LOOKS.values():
        first, second = (
            torch.stack([look.seen(one) for one in several]).mean(dim=0) if look.own else look.seen(undefended)
            for undefended, several in zip(plain, own, strict=True)
        )
        found.append((first, second))
    return found


@torch.no_grad()
def _play(
    release: Release,
    pairs: _Pairs,
    expected: Sequence[tuple[Tensor, Tensor]],
    releases: int,
    rng: np.random.Generator,
    draws: Iterator[int],
) -> _Played:
    """Toss the coins of a batch, release it, and weigh either record."""
    coins = rng.random(len(pairs.labels)) < 0.5
    heads = torch.from_numpy(coins).to(pairs.first.device).reshape(-1, *[1] * (pairs.first.ndim - 1))
    sent = torch.where(heads, pairs.first, pairs.second)
    scores = []
    for _ in range(releases):
        arrived = _flat(release.release(sent, pairs.labels, next(draws)))
        scores.append([_weigh(look.seen(arrived), *two) for look, two in zip(LOOKS.values(), expected, strict=True)])
    # Squared distances add up over releases as log-likelihoods do under normal noise.
    return _Played(coins_M=coins, scores_2LM=np.stack([np.array(scores[0]), np.sum(scores, axis=0)]))


def _weigh(seen: Tensor, first: Tensor, second: Tensor) -> FloatArray:
    """Return by how much less what was seen is away from the first than from the second (B,), in squares."""
    middle, apart = (first + second) / 2, first - second
    return np.asarray(2 * ((seen - middle) * apart).sum(dim=1).double())


def _flat(smashed: Tensor) -> Tensor:
    return smashed.detach().flatten(1).float().cpu()


def _joined(batches: Sequence[_Played]) -> _Played:
    return _Played(
        coins_M=np.concatenate([one.coins_M for one in batches]),
        scores_2LM=np.concatenate([one.scores_2LM for one in batches], axis=2),
    )


def _proven(rehearsal: _Played, play: _Played, after: int, delta: float) -> float:
    """Return what the guesses prove, made in the way that proves most in the rehearsal.

    The two are of other coins and draws; ``after`` is 0 for one release, 1 for all.
    """
    ways = [(look, share) for look in range(len(LOOKS)) for share in GUESSED]
    look, share = max(
        ways, key=lambda way: _bound(rehearsal.scores_2LM[after, way[0]], rehearsal.coins_M, way[1], delta)
    )
    return _bound(play.scores_2LM[after, look], play.coins_M, share, delta)


def _bound(scores_M: FloatArray, coins_M: BoolArray, share: float, delta: float) -> float:
    """Return the lower bound from guesses on this share of the canaries, those that most speaks for or against."""
    count = len(coins_M)
    guessed = np.argsort(-np.abs(scores_M), kind="stable")[: max(1, round(share * count))]
    right = int(((scores_M[guessed] > 0) == coins_M[guessed]).sum())
    return epsilon_lower_bound(count, len(guessed), right, delta)

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

from dtfl_private.leakage.dcor import distances
from dtfl_private.leakage.measures.base import Figure, Measure, MeasureFacts, Release, exact
from dtfl_private.privacy.one_run import epsilon_ceiling, epsilon_lower_bound, guess_probability
from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.randomness import stream

CANARIES = 1000
# One in so many canaries is played in the rehearsal.
REHEARSED = 3
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
        game = _CanaryGame(
            release=release,
            partner=_distant_partners(release),
            releases=min(release.releases, MOST_RELEASES),
            rng=rng,
            draws=draws,
        )
        rehearsal = game.play(max(1, self.canaries // REHEARSED), LOOKS)
        once = _best_way(rehearsal, 0, release.delta)
        often = _best_way(rehearsal, 1, release.delta) if game.releases > 1 else once
        play = game.play(self.canaries, {way.look: LOOKS[way.look] for way in (once, often)})
        found = [_proof("empirical-epsilon", play, once, 0, release.delta)]
        if game.releases > 1:
            found.append(_proof("empirical-epsilon-cumulated", play, often, 1, release.delta))
        count = len(play.coins_M)
        return [*found, exact("empirical-epsilon-ceiling", epsilon_ceiling(count, release.delta), count)]

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

    scores_2M: after one release and after all, by the name of each look.
    """

    coins_M: BoolArray
    scores_2M: Mapping[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A way to guess: a look, by name, and the share of the canaries to guess."""

    look: str
    share: float


@dataclass(frozen=True, kw_only=True)
class _CanaryGame:
    """The game of coins and canaries: which of two records was sent?

    Attributes:
        release: how canaries are sent.
        partner: the other record of each pair (n,).
        releases: of each canary.
        rng: of coins and order.
        draws: numbers of the defenses' draws, each used once.
    """

    release: Release
    partner: IntArray
    releases: int
    rng: np.random.Generator
    draws: Iterator[int]

    def play(self, canaries: int, looks: Mapping[str, _Look]) -> _Played:
        """Send as many canaries as asked for or more, in whole batches, and look at what arrives."""
        batches = [self._send(pairs, looks) for pairs in self._pairs(canaries)]
        return _Played(
            coins_M=np.concatenate([batch.coins_M for batch in batches]),
            scores_2M={name: np.concatenate([batch.scores_2M[name] for batch in batches], axis=1) for name in looks},
        )

    def _pairs(self, canaries: int) -> Iterator[_Pairs]:
        """Yield batches of canaries; where records are few they come up repeatedly."""
        size, records = self.release.batch_size, len(self.partner)
        count = -(-canaries // size) * size
        order = np.concatenate([self.rng.permutation(records) for _ in range(-(-count // records))])
        for start in range(0, count, size):
            chosen = order[start : start + size]
            first, second = self.release.images[chosen], self.release.images[self.partner[chosen]]
            yield _Pairs(first=first, second=second, labels=self.release.labels[chosen])

    @torch.no_grad()
    def _send(self, pairs: _Pairs, looks: Mapping[str, _Look]) -> _Played:
        """Toss the coins of a batch, release it, and weigh either record."""
        expected = self._expected(pairs, looks)
        coins = self.rng.random(len(pairs.labels)) < 0.5
        heads = torch.from_numpy(coins).to(pairs.first.device).reshape(-1, *[1] * (pairs.first.ndim - 1))
        sent = torch.where(heads, pairs.first, pairs.second)
        scores: dict[str, list[FloatArray]] = {name: [] for name in looks}
        for _ in range(self.releases):
            arrived = self._released(sent, pairs.labels)
            for name, look in looks.items():
                scores[name].append(_weigh(look.seen(arrived), *expected[name]))
        # Squared distances add up over releases as log-likelihoods do under normal noise.
        sums = {name: np.stack([several[0], np.sum(several, axis=0)]) for name, several in scores.items()}
        return _Played(coins_M=coins, scores_2M=sums)

    def _expected(self, pairs: _Pairs, looks: Mapping[str, _Look]) -> dict[str, list[Tensor]]:
        """Return what the adversary expects to see of either record (B, values), by the name of each look."""
        found: dict[str, list[Tensor]] = {name: [] for name in looks}
        for images in (pairs.first, pairs.second):
            plain = [_flat(self.release.encoder(images))] if not all(look.own for look in looks.values()) else []
            needed = OWN_RELEASES if any(look.own for look in looks.values()) else 0
            own = [self._released(images, pairs.labels) for _ in range(needed)]
            for name, look in looks.items():
                known = own if look.own else plain
                found[name].append(torch.stack([look.seen(one) for one in known]).mean(dim=0))
        return found

    def _released(self, images: Tensor, labels: Tensor) -> Tensor:
        return _flat(self.release.release(images, labels, next(self.draws)))


def _flat(smashed: Tensor) -> Tensor:
    return smashed.detach().flatten(1).float().cpu()


def _distant_partners(release: Release) -> IntArray:
    """Return another record for each of the first ones, so that pairs are far apart and each record is used once."""
    from scipy.optimize import linear_sum_assignment  # scipy takes a while to load

    apart = distances(release.activations()[:MOST_PAIRED]).fill_diagonal_(-1)
    return np.asarray(linear_sum_assignment(apart.numpy(), maximize=True)[1])


def _weigh(seen: Tensor, first: Tensor, second: Tensor) -> FloatArray:
    """Return by how much less what was seen is away from the first than from the second (B,), in squares."""
    middle, apart = (first + second) / 2, first - second
    return np.asarray(2 * ((seen - middle) * apart).sum(dim=1).double())


def _best_way(rehearsal: _Played, after: int, delta: float) -> _Way:
    """Return the way to guess that proves most; ``after`` is 0 for one release, 1 for all."""
    ways = [_Way(look=look, share=share) for look in rehearsal.scores_2M for share in GUESSED]
    return max(ways, key=lambda way: _bound(rehearsal, way, after, delta))


def _bound(play: _Played, way: _Way, after: int, delta: float) -> float:
    """Return the lower bound from guesses on the way's share of the canaries, those that most speaks for or against."""
    return epsilon_lower_bound(len(play.coins_M), *_right(play, way, after), delta)


def _proof(metric: str, play: _Played, way: _Way, after: int, delta: float) -> Figure:
    """Return the lower bound, with the probability of so many right guesses if nothing could be seen of the coins."""
    count, (guessed, right) = len(play.coins_M), _right(play, way, after)
    by_chance = guess_probability(count, guessed, right, epsilon=0.0, delta=0.0)
    return exact(metric, epsilon_lower_bound(count, guessed, right, delta), count, by_chance)


def _right(play: _Played, way: _Way, after: int) -> tuple[int, int]:
    """Return how many canaries are guessed in this way, and how many of these guesses are right."""
    scores_M, count = play.scores_2M[way.look][after], len(play.coins_M)
    guessed = np.argsort(-np.abs(scores_M), kind="stable")[: max(1, round(way.share * count))]
    return len(guessed), int(((scores_M[guessed] > 0) == play.coins_M[guessed]).sum())

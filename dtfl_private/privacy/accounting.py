"""The one interpreter of guarantees: a client's ledger to (epsilon, delta), and to sentences true as they stand.

What it does not know it refuses; what has no epsilon gets none.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

from dtfl_private.privacy.gaussian_epsilon import composed_mu, gaussian_epsilon
from dtfl_private.privacy.ledger import Ledger, unknown
from dtfl_private.privacy.sampled_gaussian_epsilon import Steps, precise_epsilon, rdp_epsilon
from dtfl_private.protocol.guarantees import (
    GaussianRelease,
    Guarantee,
    Kind,
    NoisyInputs,
    Protected,
    RandomizedResponse,
    ReconstructionBound,
    SampledGaussian,
    Undefended,
)

KINDS: Mapping[Kind, type[Guarantee]] = {
    "SampledGaussian": SampledGaussian,
    "GaussianRelease": GaussianRelease,
    "NoisyInputs": NoisyInputs,
    "RandomizedResponse": RandomizedResponse,
    "ReconstructionBound": ReconstructionBound,
}
WITHOUT: Mapping[Kind, str] = {
    "SampledGaussian": "no (epsilon, delta)",
    "GaussianRelease": "no (epsilon, delta)",
    "NoisyInputs": "no (epsilon, delta)",
    "RandomizedResponse": "no epsilon",
    "ReconstructionBound": "no bound on reconstruction",
}
NOUNS: Mapping[Protected, str] = {
    "weights": "released client-side weights",
    "smashed": "smashed data",
    "labels": "labels",
}


Unit = Literal["record", "token"]
"""What is replaced: a record, or one token of a text."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What may be said of one kind of data that a client has released.

    what: weights, smashed or labels.
    epsilon, delta: of all releases together; None where the guarantee is of another kind, or there is none.
    per: the unit protected; None where nothing is.
    sentence: all of it in words, with its conditions.
    """

    what: Protected
    epsilon: float | None
    delta: float | None
    per: str | None
    sentence: str


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What a client has released under one kind of guarantee.

    bound: no less than what it has given away, found fast: an epsilon, or Fisher information; infinite where a part of
        it is not covered.
    state: makes the statement, which may take a while.
    unit: what is replaced.
    told: whether it says more than the part of the same kind per record does.
    """

    kind: type[Guarantee]
    bound: float
    state: Callable[[], Statement]
    unit: Unit = "record"
    told: bool = True


def statements(ledger: Ledger) -> tuple[Statement, ...]:
    """Return what holds of a client's releases so far, one statement per kind of guarantee and unit that it is of.

    Entries of a kind compose, whatever their targets; the epsilon is at the smallest of their deltas. Where the client
    has also released something without that guarantee, there is none of the kind: it would cover a part only.

    Raises:
        InputError: a guarantee of an unknown type.
    """
    return tuple(part.state() for part in _parts(ledger) if part.told)


def worst(ledgers: Mapping[int, Ledger]) -> list[tuple[int, Statement]]:
    """Return, for each kind of guarantee and unit, the client that is worst off and its statement.

    Per token all clients are compared if any was in a tier where that says more than per record.
    """
    found: dict[tuple[type[Guarantee], Unit], list[tuple[int, _Part]]] = {}
    for client, ledger in sorted(ledgers.items()):
        for part in _parts(ledger):
            found.setdefault((part.kind, part.unit), []).append((client, part))
    told = [parts for parts in found.values() if any(part.told for _, part in parts)]
    # Who has no guarantee has none per token and none per record, which is said once.
    return list(dict.fromkeys(_counted(*_worst_of(parts), parts, len(ledgers)) for parts in told))


def _counted(client: int, said: Statement, parts: Sequence[tuple[int, _Part]], clients: int) -> tuple[int, Statement]:
    """Return the statement of who is worst off; where he has no guarantee, with how many others have none either."""
    without = sum(math.isinf(part.bound) for _, part in parts)
    if said.per is not None or clients == 1:
        return client, said
    return client, replace(said, sentence=f"{said.sentence}; so it is for {without} of {clients} clients")


def _worst_of(parts: Sequence[tuple[int, _Part]]) -> tuple[int, Statement]:
    """Return the client that has given away most, of those with one kind of guarantee, and its statement."""
    most, found = -math.inf, None
    for client, part in sorted(parts, key=lambda held: -held[1].bound):
        if found is not None and part.bound <= most:
            break  # nobody who follows can be worse off
        said = part.state()
        loss = part.bound if said.epsilon is None else said.epsilon
        if found is None or loss > most:
            most, found = loss, (client, said)
    if found is None:
        raise ValueError("nobody has released anything")
    return found


def steps_of(entries: Sequence[SampledGaussian]) -> Steps:
    """Return DP-SGD steps as their accountants take them."""
    return [(entry.noise_multiplier, entry.sampling_rate, entry.steps) for entry in entries]


def sampled_epsilon(entries: Sequence[SampledGaussian], delta: float) -> float:
    """Return the epsilon of DP-SGD steps together, for one record added or removed, by the tightest accountant."""
    return precise_epsilon(steps_of(entries), delta)


def unit_of(entry: GaussianRelease | NoisyInputs) -> Unit:
    """Return what an entry's target epsilon is of: tokens where each place of a text is clipped by itself."""
    return "token" if isinstance(entry, GaussianRelease) and entry.places is not None else "record"


def released_epsilon(
    entries: Sequence[GaussianRelease] | Sequence[NoisyInputs], delta: float, unit: Unit = "record"
) -> float:
    """Return the exact epsilon of releases of clipped activations or inputs together, for one unit replaced."""
    return gaussian_epsilon(composed_mu([(_noise_of(entry, unit), entry.releases) for entry in entries]), delta)


def _noise_of(entry: GaussianRelease | NoisyInputs, unit: Unit) -> float:
    """Return the deviation of the noise over half of what replacing a unit moves a release by at most.

    Of places that are each clipped to C, n that are replaced move by 2C each, and all of them by 2C times the root of
    n. A token replaced moves its own place where places are computed apart, and may move all of them elsewhere.
    """
    if isinstance(entry, NoisyInputs) or entry.places is None or (unit == "token" and entry.apart):
        return entry.noise_multiplier
    return entry.noise_multiplier / math.sqrt(entry.places)


def combined_mse(entries: Sequence[ReconstructionBound]) -> float:
    """Return the bound on the reconstruction error from all releases together: Fisher information adds up."""
    information = sum(entry.releases / entry.mse for entry in entries)
    return 1 / information if information else math.inf


@lru_cache(maxsize=4096)  # most clients of a run have one of a few ledgers
def _parts(ledger: Ledger) -> tuple[_Part, ...]:
    uncovered = [entry for entry in ledger if isinstance(entry, Undefended) and entry.rounds]
    lost = {entry.instead_of for entry in uncovered}
    sampled, releases, inputs, draws, bounds = _by_kind(entry for entry in ledger if type(entry).__name__ not in lost)
    found = [_Part(kind=KINDS[entry.instead_of], bound=math.inf, state=partial(_none, entry)) for entry in uncovered]
    found += [replace(part, unit="token", told=False) for part in found if part.kind is GaussianRelease]
    if sampled:
        bound = rdp_epsilon(steps_of(sampled), _smallest_delta(sampled))
        found.append(_Part(kind=SampledGaussian, bound=bound, state=partial(_weights, sampled)))
    if releases:
        apart = any(entry.apart for entry in releases)
        units: tuple[tuple[Unit, bool], ...] = (("token", apart), ("record", True))
        for unit, told in units:
            bound = released_epsilon(releases, _smallest_delta(releases), unit)
            state = partial(_smashed, releases, unit)
            found.append(_Part(kind=GaussianRelease, bound=bound, state=state, unit=unit, told=told))
    if inputs:
        bound = released_epsilon(inputs, _smallest_delta(inputs))
        found.append(_Part(kind=NoisyInputs, bound=bound, state=partial(_inputs, inputs)))
    if bounds:
        found.append(
            _Part(kind=ReconstructionBound, bound=1 / combined_mse(bounds), state=partial(_reconstruction, bounds))
        )
    if draws:
        bound = sum(entry.epsilon for entry in draws)
        found.append(_Part(kind=RandomizedResponse, bound=bound, state=partial(_labels, draws)))
    return tuple(found)


def _by_kind(
    ledger: Iterable[Guarantee],
) -> tuple[
    list[SampledGaussian],
    list[GaussianRelease],
    list[NoisyInputs],
    list[RandomizedResponse],
    list[ReconstructionBound],
]:
    sampled, releases, inputs, draws, bounds = [], [], [], [], []
    for entry in ledger:
        match entry:
            case SampledGaussian():
                sampled.append(entry)
            case GaussianRelease():
                releases.append(entry)
            case NoisyInputs():
                inputs.append(entry)
            case RandomizedResponse():
                draws.append(entry)
            case ReconstructionBound():
                bounds.append(entry)
            case Undefended():
                pass  # it is no guarantee: `_parts` says what follows from it
            case _:
                raise unknown(entry)
    return sampled, releases, inputs, draws, bounds


def _none(entry: Undefended) -> Statement:
    times = "one round" if entry.rounds == 1 else f"{entry.rounds} rounds"
    sentence = (
        f"{NOUNS[entry.what]}: no guarantee ({WITHOUT[entry.instead_of]}) over the whole run: a client sent them in "
        f"{times} without the defense that gives it, in a tier or of a profile where its rule does not hold"
    )
    return Statement(what=entry.what, epsilon=None, delta=None, per=None, sentence=sentence)


def _smallest_delta(entries: Sequence[SampledGaussian] | Sequence[GaussianRelease] | Sequence[NoisyInputs]) -> float:
    return min(entry.target.delta for entry in entries)


def _weights(entries: Sequence[SampledGaussian]) -> Statement:
    delta = _smallest_delta(entries)
    epsilon = sampled_epsilon(entries, delta)
    steps = sum(entry.steps for entry in entries)
    sentence = (
        f"released client-side weights: ({rounded_up(epsilon)}, {delta:g})-DP per record added or removed, over "
        f"{steps} DP-SGD steps, given the weights and the learning rate that the client was sent, against a party "
        "that sees neither smashed data nor which records a step used; it covers neither smashed data nor labels, and "
        "is not per user"
    )
    return Statement(what="weights", epsilon=epsilon, delta=delta, per="record added or removed", sentence=sentence)


def _smashed(entries: Sequence[GaussianRelease], unit: Unit) -> Statement:
    delta = _smallest_delta(entries)
    epsilon = released_epsilon(entries, delta, unit)
    noise = " and ".join(f"{entry.releases} with noise {_noise_words(entry, unit)}" for entry in entries)
    uncovered, per, more = "it covers neither labels nor these weights", str(unit), ""
    if any(entry.places is not None for entry in entries):
        uncovered += ", nor how many tokens a text has"
        per = "token" if unit == "token" else "record, and so per token,"
        more = "k tokens of a text together count as k times as many releases; " if unit == "token" else ""
    sentence = (
        f"smashed data: ({rounded_up(epsilon)}, {delta:g})-DP per {per} replaced, over all its releases ({noise}), "
        f"given the client-side weights that made them; {more}{uncovered}"
    )
    return Statement(what="smashed", epsilon=epsilon, delta=delta, per=f"{unit} replaced", sentence=sentence)


def _noise_words(entry: GaussianRelease, unit: Unit) -> str:
    """Return an entry's noise in words and, of noise on each place of a text, how many places a unit changes."""
    noise = f"{entry.noise_multiplier:g} x clip"
    if entry.places is None:
        return noise
    if unit == "token" and entry.apart:
        return f"{noise} on the one place that a token changes"
    return (
        f"{noise} on each of the {entry.places} places that a {unit} {'changes' if unit == 'record' else 'may change'}"
    )


def _inputs(entries: Sequence[NoisyInputs]) -> Statement:
    delta = _smallest_delta(entries)
    epsilon = released_epsilon(entries, delta)
    drawn = " and ".join(
        f"{'one draw, repeated,' if entry.repeated else f'{entry.releases} draws'} of noise "
        f"{entry.noise_multiplier:g} x clip"
        for entry in entries
    )
    sentence = (
        f"smashed data: ({rounded_up(epsilon)}, {delta:g})-DP per image replaced, its label kept ({drawn} on each "
        "image), in every tier, as all that is computed from the noisy images and the labels, the client's weights "
        "included; it does not cover the labels"
    )
    return Statement(
        what="smashed", epsilon=epsilon, delta=delta, per="image replaced, its label kept", sentence=sentence
    )


def _labels(entries: Sequence[RandomizedResponse]) -> Statement:
    epsilon = sum(entry.epsilon for entry in entries)
    sentence = (
        f"labels: {rounded_up(epsilon)}-DP per label replaced, by randomised response drawn once per record and "
        "repeated in every release; smashed data of the record may still give its class away"
    )
    return Statement(what="labels", epsilon=epsilon, delta=0.0, per="label replaced", sentence=sentence)


def _reconstruction(entries: Sequence[ReconstructionBound]) -> Statement:
    releases = sum(entry.releases for entry in entries)
    sentence = (
        f"smashed data: no unbiased attacker reconstructs a record from its {releases} releases with a mean squared "
        f"error below {combined_mse(entries):.3g} per input value, in normalised units, unless the estimate that set "
        "the noise was too low; an attacker with prior knowledge may, and there is no epsilon"
    )
    return Statement(what="smashed", epsilon=None, delta=None, per="record", sentence=sentence)


def rounded_up(epsilon: float) -> str:
    """Return an epsilon with three significant digits, never less than it is."""
    if epsilon == 0 or not math.isfinite(epsilon):
        return f"{epsilon:g}"
    unit = 10.0 ** (math.floor(math.log10(epsilon)) - 2)
    return f"{math.ceil(epsilon / unit - 1e-9) * unit:.6g}"

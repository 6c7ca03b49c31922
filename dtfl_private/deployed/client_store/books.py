"""A client's privacy ledgers over several configurations, added up so that nothing is counted too little.

Within one configuration a memoised draw (randomised response, repeated noise on an image) is the same draw in every
round and every run, and counts once. Under another configuration it is drawn anew, from another secret stream:
there it counts once more, although its numbers are equal.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dtfl_private.privacy.ledger import Ledger, charge
from dtfl_private.protocol.guarantees import (
    GaussianRelease,
    Guarantee,
    NoisyInputs,
    RandomizedResponse,
    ReconstructionBound,
    SampledGaussian,
    Undefended,
)


def total(ledgers: Mapping[str, Ledger], own: str) -> Ledger:
    """Return all that a client has released, as one ledger.

    Args:
        ledgers: by what the memoised draws are keyed with.
        own: the key of the configuration that is in use, whose memoised draws a further round repeats.
    """
    everything = list(ledgers.get(own, ()))
    for key, ledger in ledgers.items():
        if key != own:
            everything += [_of_another_draw(entry) for entry in ledger]
    return charge((), _added_labels(everything))


def _of_another_draw(entry: Guarantee) -> Guarantee:
    """Return an entry so that equal ones of other draws add up: a repeated noise is one release."""
    return replace(entry, repeated=False) if isinstance(entry, NoisyInputs) else entry


def _added_labels(entries: Sequence[Guarantee]) -> list[Guarantee]:
    """Return the entries with all draws of labels as one, of the sum of their epsilons: they compose."""
    draws = [entry for entry in entries if isinstance(entry, RandomizedResponse)]
    if len(draws) < 2:
        return [*entries]
    rest: list[Guarantee] = [entry for entry in entries if not isinstance(entry, RandomizedResponse)]
    return [*rest, RandomizedResponse(epsilon=sum(draw.epsilon for draw in draws))]


def within(sent: Iterable[Guarantee], most: Iterable[Guarantee]) -> bool:
    """Whether what was sent is no more than what was charged beforehand: no other mechanism, none used more often."""
    charged = {_uncounted(entry): _uses(entry) for entry in charge((), most)}
    return all(_uses(entry) <= charged.get(_uncounted(entry), 0) for entry in charge((), sent))


def _uses(entry: Guarantee) -> int:
    match entry:
        case SampledGaussian():
            return entry.steps
        case GaussianRelease() | NoisyInputs() | ReconstructionBound():
            return entry.releases
        case Undefended():
            return entry.rounds
        case RandomizedResponse():
            return 1


def _uncounted(entry: Guarantee) -> Guarantee:
    match entry:
        case SampledGaussian():
            return replace(entry, steps=0)
        case GaussianRelease() | NoisyInputs() | ReconstructionBound():
            return replace(entry, releases=0)
        case Undefended():
            return replace(entry, rounds=0)
        case RandomizedResponse():
            return entry

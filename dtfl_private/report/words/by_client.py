"""How clients compare, in words: who is more exposed than others, and what leakage goes with."""

from collections.abc import Mapping, Sequence

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.report.words.numbers import listed, number_of
from dtfl_private.report.words.results import probability
from dtfl_private.verdicts.client_comparison import ClientComparison, RankCorrelation, Trait
from dtfl_private.verdicts.findings import Findings

MOST_NAMED = 10
"""Clients that a sentence names."""

TRAITS: Mapping[Trait, str] = {
    "label-entropy": "variety of labels",
    "records": "number of records",
    "oddness": "distance from auxiliary images",
}


def comparison_text(one: ClientComparison) -> str:
    """Return how the clients compare, for example "tier 1, decoder by SSIM: client 3 is more exposed ..."."""
    return f"tier {one.tier}, {one.attack} by {find_metric(one.metric).label}: {_difference(one)}"


def _difference(one: ClientComparison) -> str:
    chance = f"p {probability(one.adjusted)}"
    if not one.differs:
        return f"{number_of(len(one.clients), 'client')}, no difference beyond chance ({chance})"
    said = [
        f"{_clients(named)} {how} exposed"
        for named, how in ((one.more_exposed, "more"), (one.less_exposed, "less"))
        if named
    ]
    if not said:
        return f"clients differ beyond chance ({chance}), none by itself"
    return f"{' and '.join(said)} than others, beyond chance ({chance})"


def _clients(named: Sequence[int]) -> str:
    """Return which clients are so, for example "clients 3 and 7 are"."""
    if len(named) == 1:
        return f"client {named[0]} is"
    return f"{len(named):,} clients are" if len(named) > MOST_NAMED else f"clients {listed(named)} are"


def by_client_lines(findings: Findings) -> list[str]:
    """Return a line for each comparison in which clients differ, and one for all others."""
    found = [comparison_text(one) for one in findings.by_client if one.differs]
    rest = [one for one in findings.by_client if not one.differs]
    if rest:
        least = min(one.adjusted for one in rest)
        others = "other " if found else ""
        found.append(f"no difference between clients beyond chance in {number_of(len(rest), f'{others}comparison')}")
        found[-1] += f" (p {probability(least)} or more)"
    return found


def correlation_text(one: RankCorrelation) -> str:
    """Return a correlation with its interval, for example "variety of labels -0.81 (-0.95 to -0.37)"."""
    return f"{TRAITS[one.trait]} {one.value:+.2f} ({one.ci_low:+.2f} to {one.ci_high:+.2f})"


def correlations_text(found: Sequence[RankCorrelation]) -> str:
    """Return all correlations of a comparison."""
    return ", ".join(correlation_text(one) for one in found)

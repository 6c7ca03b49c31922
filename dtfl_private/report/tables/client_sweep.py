"""Tables of an attacked sweep: rank correlations with what clients are like, and leakage by group of runs."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from dtfl_private.report.client_sweep import TRAITS, ClientSweep, TraitCorrelation
from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.pictures.client_sweep import TRAIT_LABELS
from dtfl_private.report.tables.markdown import markdown_cell
from dtfl_private.report.tables.titled import Titled, terminal_table, titled_markdown


def client_sweep_tables(sweep: ClientSweep) -> list[Table]:
    """Return the tables of correlations over all runs, of how many are apart from 0, and of leakage."""
    return list(map(terminal_table, _tables(sweep)))


def client_sweep_markdown(sweep: ClientSweep) -> str:
    """Return the same tables as Markdown, and what was left out."""
    left_out = ["left out:", "", *(f"- {markdown_cell(line)}" for line in sweep.left_out)] if sweep.left_out else []
    return titled_markdown(_tables(sweep)) + "".join(f"{line}\n" for line in left_out)


def _tables(sweep: ClientSweep) -> Iterator[Titled]:
    traits = [TRAIT_LABELS[trait] for trait in TRAITS]
    tiers = [f"tier {tier}" for tier in sweep.tiers]
    yield Titled(
        title="rank correlation of a client's leakage with what it is like, within runs (95 % interval)",
        columns=["attack", "tier", "auxiliary data", "clients", *traits],
        rows=list(_correlation_rows(sweep)),
        keys=3,
    )
    yield Titled(
        title="such correlations apart from 0, + above and - below, of all (chance alone: one in 40 on either side)",
        columns=["runs", *traits],
        rows=list(_count_rows(sweep)),
    )
    yield Titled(
        title="share of the way from the guess to the truth, mean over clients of all seeds (± half the 95 % interval)",
        columns=["attack", "auxiliary data", "runs", *tiers],
        rows=list(_leakage_rows(sweep)),
        keys=3,
    )


def _correlation_rows(sweep: ClientSweep) -> Iterator[Sequence[str]]:
    for attack in sweep.attacks:
        for tier in sweep.tiers:
            for aux in sweep.sources:
                found = [sweep.correlation(trait, attack, tier, aux) for trait in TRAITS]
                clients = max((one.clients for one in found if one is not None), default=0)
                if clients:
                    yield [attack, str(tier), aux, str(clients), *map(correlation_text, found)]


def _count_rows(sweep: ClientSweep) -> Iterator[Sequence[str]]:
    for group in (None, *sweep.groups):
        found = list(sweep.correlations(group))
        yield [group or "all", *(_counted([one for one in found if one.trait == trait]) for trait in TRAITS)]


def _counted(found: Sequence[TraitCorrelation]) -> str:
    above, below = (sum(one.apart and one.found.value * sign > 0 for one in found) for sign in (1, -1))
    return f"+{above} -{below} of {len(found)}" if found else ""


def _leakage_rows(sweep: ClientSweep) -> Iterator[Sequence[str]]:
    for attack in sweep.attacks:
        for aux in sweep.sources:
            for group in sweep.groups:
                means = [sweep.mean(attack, tier, aux, group) for tier in sweep.tiers]
                if any(mean is not None for mean in means):
                    yield [attack, aux, group, *("" if mean is None else _mean_text(mean) for mean in means)]


def _mean_text(mean: Mean) -> str:
    half = "" if mean.half_width is None else f" ± {mean.half_width:.2f}"
    return f"{mean.mean or 0.0:.2f}{half}"


def correlation_text(one: TraitCorrelation | None) -> str:
    """Return a correlation with its interval, set in front of a star where it is apart from 0."""
    if one is None:
        return ""
    star = " *" if one.apart else ""
    return f"{one.found.value:+.2f} ({one.found.low:+.2f} to {one.found.high:+.2f}){star}"

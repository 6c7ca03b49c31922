"""Tables of an attacked sweep: rank correlations with what clients are like, and leakage by group of runs."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from dtfl_private.report.client_sweep import TRAITS, ClientSweep, TraitCorrelation
from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.pictures.client_sweep import TRAIT_LABELS
from dtfl_private.report.tables.plain import plain_table

Rows = Sequence[Sequence[str]]


def client_sweep_tables(sweep: ClientSweep) -> list[Table]:
    """Return the tables of correlations over all runs, of how many are apart from 0, and of leakage."""
    tables = []
    for title, keys, (header, *rows) in _all_rows(sweep):
        table = plain_table(title, *header, keys=keys)
        for row in rows:
            table.add_row(*row)
        tables.append(table)
    return tables


def client_sweep_markdown(sweep: ClientSweep) -> str:
    """Return the same tables as Markdown, and what was left out."""
    parts = []
    for title, _, (header, *rows) in _all_rows(sweep):
        lines = [header, ["--"] * len(header), *rows]
        parts.append("\n".join([f"{title}\n", *("| " + " | ".join(line) + " |" for line in lines)]))
    if sweep.left_out:
        parts.append("\n".join(["left out:\n", *(f"- {line}" for line in sweep.left_out)]))
    return "\n\n".join(parts) + "\n"


def _all_rows(sweep: ClientSweep) -> Iterator[tuple[str, int, Rows]]:
    """Yield each table's title, number of columns that are keys, and rows."""
    yield (
        "rank correlation of a client's leakage with what it is like, within runs (95 % interval)",
        3,
        [
            ["attack", "tier", "auxiliary data", "clients", *(TRAIT_LABELS[trait] for trait in TRAITS)],
            *_correlation_rows(sweep),
        ],
    )
    yield (
        "such correlations apart from 0, + above and - below, of all (chance alone: one in 40 on either side)",
        1,
        [
            ["runs", *(TRAIT_LABELS[trait] for trait in TRAITS)],
            *_count_rows(sweep),
        ],
    )
    yield (
        "share of the way from the guess to the truth, mean over clients of all seeds (± half the 95 % interval)",
        3,
        [
            ["attack", "auxiliary data", "runs", *(f"tier {tier}" for tier in sweep.tiers)],
            *_leakage_rows(sweep),
        ],
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

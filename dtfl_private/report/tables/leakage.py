"""The table of what attacks reached, tier by tier."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from rich.table import Table

from dtfl_private.leakage.baselines import GUESSES
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.tables.plain import as_printed, plain_table
from dtfl_private.report.words.results import attack_labels, guess_label

# What the table has room for, of the metrics of images.
OF_IMAGES = ("mse", "psnr", "ssim", "lpips")
SHOWN = ("psnr", "ssim", "ssim-worst-5", "lpips")


def leakage_table(results: Sequence[Result], *, title: str) -> Table:
    """Return a table: a row for each tier and attack, a column for each metric, with 95 % intervals.

    Below the attacks of a tier stand what they reached undefended, where that was run, and the trivial guesses. Of
    images, only the metrics of `SHOWN` are there; the others are for files.
    """
    found = list(dict.fromkeys(result.metric for result in results))
    metrics = [name for name in found if name in SHOWN or not name.startswith(OF_IMAGES)]
    table = plain_table(title, "tier", "attack", "n", *(find_metric(name).label for name in metrics), keys=2)
    table.columns[1].justify = "left"
    for tier in sorted({result.tier for result in results}):
        of_tier = [result for result in results if result.tier == tier]
        shown = f"{tier}\n{'x'.join(map(str, of_tier[0].cut))}"
        for name, row in _rows(of_tier).items():
            cells = (row.cells.get(metric, "") for metric in metrics)
            table.add_row(shown, as_printed(name), _range(row.counts), *cells, style="dim" if row.reference else None)
            shown = ""
        table.add_section()
    seeds = _range({result.seeds for result in results})
    noun = "texts" if "token-accuracy" in metrics else "images"
    table.caption = f"mean, below it its 95% interval over {noun} and seeds; seeds: {seeds}; n: {noun} or records"
    table.caption_justify = "left"
    return table


@dataclass
class _Row:
    """One line: records judged, and cells by metric; ``reference``: no attack, but what attacks are compared with."""

    reference: bool
    counts: set[int] = field(default_factory=set)
    cells: dict[str, str] = field(default_factory=dict)


def _rows(results: Sequence[Result]) -> dict[str, _Row]:
    """Return the rows of one tier by name: attacks, their undefended values, trivial guesses."""
    attacks: dict[str, _Row] = {}
    undefended: dict[str, _Row] = {}
    guesses: dict[str, _Row] = {}
    for result, attack in zip(results, attack_labels(results), strict=True):
        digits = find_metric(result.metric).digits
        is_guess = result.source in GUESSES
        name = guess_label(result.source) if is_guess else attack
        row = (guesses if is_guess else attacks).setdefault(name, _Row(reference=is_guess))
        row.counts.add(result.n)
        row.cells[result.metric] = _interval(result, digits)
        if result.undefended is not None:
            row = undefended.setdefault(f"  {name}, undefended", _Row(reference=True))
            row.cells[result.metric] = f"{result.undefended:.{digits}f}"
    for result in results:
        if result.baseline is not None:
            row = guesses.setdefault(guess_label(result.baseline_name), _Row(reference=True))
            row.cells.setdefault(result.metric, f"{result.baseline:.{find_metric(result.metric).digits}f}")
    return attacks | undefended | {f"  {name}": row for name, row in guesses.items()}


def _range(counts: Set[int]) -> str:
    return "-".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else ""


def _interval(result: Result, digits: int) -> str:
    value, low, high = (f"{figure:.{digits}f}" for figure in (result.value, result.ci_low, result.ci_high))
    return f"{value}\n{low} to {high}"

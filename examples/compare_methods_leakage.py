"""Train digits by several methods to one test accuracy, audit each, and show side by side what they leak.

    python examples/compare_methods_leakage.py
    python examples/compare_methods_leakage.py --method fedavg --method dtfl --target 0.9 --out runs/mine
    python examples/compare_methods_leakage.py --page docs/explanation/method-leakage.md

Data, partition, network, clients (links in MByte/s), seed and the adversary's images are the same for all; each run
ends at the first round that reaches the target. Quick audits with one repetition, in the tiers that clients were in. A
method whose runs cannot be audited is named, with the reason. A repeated call goes on where it was.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dtfl_private import AuditConfig, InputError, Run, TrainConfig, audit, compare, train
from dtfl_private.cli.comparison_output import show_comparison
from dtfl_private.cli.terminal import open_console
from dtfl_private.files.reading import read_bytes
from dtfl_private.files.writing import write_atomic
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.live.attacks import AttackDisplay
from dtfl_private.report.tables.comparison_markup import method_leakage_markdown

METHODS = ("fedavg", "dtfl", "dtfl-full", "dtfl-shared", "splitfed-v2", "fedgkt")
TARGET = 0.96
ROUNDS = 80
TRAINING = TrainConfig(rounds=ROUNDS, link_unit="mbyte", stop_at_target=True)
AUDIT = AuditConfig(seeds=1)

# Between these lines of a page its table stands.
BEGIN, END = "<!-- table of examples/compare_methods_leakage.py -->", "<!-- end of the table -->"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Runs by method, those of them that were not audited with the reason, and the comparison."""

    runs: Mapping[str, Run]
    refused: Mapping[str, str]
    comparison: Comparison


def tiers_in_use(run: Run) -> tuple[int, ...]:
    """Return the tiers in which clients were in the last round, which is the one that audits attack."""
    return tuple(sorted(set(run.records[-1]["tiers"].values())))


def audit_methods(runs: Mapping[str, Run], auditing: AuditConfig, console: Console) -> dict[str, str]:
    """Audit runs in the tiers that were in use, and return which of them cannot be, and why."""
    refused = {}
    for name, run in runs.items():
        console.print(f"{name}: audit")
        tiers = tiers_in_use(run) if auditing.tiers == "all" else auditing.tiers
        with AttackDisplay(console) as display:
            try:
                audit(run, auditing.model_copy(update={"tiers": tiers}), callbacks=[display])
            except InputError as why:
                refused[name] = str(why)
    return refused


def main(
    out: Path,
    methods: Sequence[str] = METHODS,
    target: float = TARGET,
    *,
    training: TrainConfig = TRAINING,
    auditing: AuditConfig = AUDIT,
    console: Console | None = None,
) -> Compared:
    """Train, audit, compare, and print what was found.

    Args:
        out: folder of the run folders and of the comparison.
        methods: to compare.
        target: test accuracy at which each run ends.
        training: of all runs, but for method and target.
        auditing: of all audits; all tiers are those in use.
        console: to show progress on.
    """
    console, runs = console or open_console(), {}
    for method in methods:
        console.print(f"{method}: training")
        config = training.model_copy(update={"method": method, "target_accuracy": target})
        runs[method] = train(config, out=out / method, resume=True)
    refused = audit_methods(runs, auditing, console)
    comparison = compare(list(runs.values()))
    show_comparison(comparison, str(out / "comparison"))
    for method, why in refused.items():
        console.print(f"{method} is not audited: {why}", soft_wrap=True)
    return Compared(runs=runs, refused=refused, comparison=comparison)


def write_table(page: Path, comparison: Comparison) -> None:
    """Put the table and its notes into a page, between the lines `BEGIN` and `END`.

    Raises:
        InputError: the page has no such lines.
    """
    text = read_bytes(page, most_bytes=2**20).decode()
    head, begun, rest = text.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not begun or not ended:
        raise InputError(f"page '{page}' has no place for the table: it needs the lines {BEGIN} and {END}")
    lines = [line for setting in comparison.settings for line in method_leakage_markdown(setting)]
    notes = [f"- {note}." for note in comparison.notes]
    write_atomic(page, "\n".join([f"{head}{BEGIN}", "", *lines, *notes, "", f"{END}{tail}"]).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--method", action="append", help="repeat for several; by default " + ", ".join(METHODS))
    parser.add_argument("--target", type=float, default=TARGET)
    parser.add_argument("--page", type=Path, help="also put the table into this page")
    given = parser.parse_args()
    compared = main(given.out, given.method or METHODS, given.target)
    if given.page is not None:
        write_table(given.page, compared.comparison)

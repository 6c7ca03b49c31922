"""Audit a run without defenses and the same run with each of two: what does each buy, what does it cost?

    python examples/audit_two_defenses.py
    python examples/audit_two_defenses.py --out runs/mine

Four trainings on digits and three quick audits. One defense looks good to an attacker who trains a decoder and stops
there; one costs accuracy. Then a gate, as a build would have it, and instead of a defense a leakage budget. A repeated
call goes on where it was.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dtfl_private import Audit, AuditConfig, InputError, Result, Run, TrainConfig, audit, train
from dtfl_private.auditing.gate import parse_gate, require_gates
from dtfl_private.cli.terminal import open_console
from dtfl_private.errors import GateCrossedError
from dtfl_private.report.live.attacks import AttackDisplay
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import duration
from dtfl_private.verdicts.findings import Findings

PLAIN = "undefended"
DEFENSES: Mapping[str, Sequence[str]] = {
    PLAIN: (),
    "patch-shuffle": ("patch-shuffle:patch=4",),
    "gaussian-noise": ("gaussian-noise:sd=8",),
}
# What the hasty attacker does: trains a decoder on defended activations, and stops there.
HASTY = "decoder"
GATE = "identifiability>0.5"
BUDGET = "metric=ssim,max=0.9"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A run, and what its audit found."""

    run: Run
    audit: Audit

    @property
    def findings(self) -> Findings:
        """What the audit found."""
        return self.audit.findings


def examine(out: Path, training: TrainConfig, auditing: AuditConfig, console: Console) -> dict[str, Examined]:
    """Train and audit the run with each of `DEFENSES`; the others are compared with the undefended run.

    Args:
        out: folder of the run folders.
        training: of all runs, but for their defenses.
        auditing: of all audits, but for the undefended run.
        console: to show progress on.
    """
    found = {}
    for name, defense in DEFENSES.items():
        console.print(f"{name}: training")
        run = train(training.model_copy(update={"defense": list(defense)}), out=out / name, resume=True)
        console.print(f"{name}: audit")
        # The undefended run is there: audits of the others need not train it again.
        compared = auditing.model_copy(update={"undefended": str(out / PLAIN)})
        with AttackDisplay(console) as display:
            found[name] = Examined(run=run, audit=audit(run, compared, callbacks=[display]))
    return found


def comparison(examined: Mapping[str, Examined]) -> Table:
    """Return a row for each run and tier: accuracy, and what attacks and the distance correlation say."""
    columns = ("run", "accuracy", "tier", "decoder alone", "strongest attack", "its SSIM", "95% interval")
    table = plain_table("what leaks", *columns, "identifiability", "dCor\N{SUPERSCRIPT TWO}", "verdict")
    for name, one in examined.items():
        accuracy = f"{one.findings.training.test_accuracy:.4f}"
        for verdict in one.findings.verdict:
            best, tier = best_of(one.findings.strongest, verdict.tier, "ssim"), verdict.tier
            table.add_row(
                name,
                accuracy,
                str(tier),
                value(best_of(one.findings.results, tier, "ssim", HASTY)),
                "-" if best is None else best.source,
                value(best),
                interval(best),
                with_interval(best_of(one.findings.strongest, tier, "identifiability")),
                value(best_of(one.findings.results, tier, "dcor-squared")),
                verdict.level,
            )
            name = accuracy = ""
        table.add_section()
    return table


def best_of(results: Sequence[Result], tier: int, metric: str, source: str | None = None) -> Result | None:
    """Return the highest result with a metric at a tier, of one attack or measure if it is named."""
    found = [one for one in results if (one.tier, one.metric) == (tier, metric) and source in (None, one.source)]
    return max(found, key=lambda one: one.value, default=None)


def value(result: Result | None) -> str:
    """Return a result's value."""
    return "-" if result is None else f"{result.value:.2f}"


def interval(result: Result | None) -> str:
    """Return a result's interval."""
    return "-" if result is None else f"{result.ci_low:.2f} to {result.ci_high:.2f}"


def with_interval(result: Result | None) -> str:
    """Return both."""
    return "-" if result is None else f"{value(result)} ({interval(result)})"


def gate_lines(findings: Findings, gate: str = GATE) -> list[str]:
    """Return what ``audit --fail-if`` would say."""
    try:
        require_gates([parse_gate(gate)], findings)
    except GateCrossedError as crossed:
        return list(crossed.lines)
    return [f"gate {gate} holds"]


def within_budget(out: Path, training: TrainConfig, audited: Audit, budget: str = BUDGET) -> Run:
    """Train without defenses in the tiers alone that an audit found to be within a leakage budget.

    Raises:
        InputError: there is no such tier.
    """
    limited = {"defense": [], "leakage_budget": f"{audited.path}:{budget}"}
    return train(training.model_copy(update=limited), out=out / "within-budget", resume=True)


def main(
    out: Path, training: TrainConfig | None = None, auditing: AuditConfig | None = None, console: Console | None = None
) -> dict[str, Examined]:
    """Train, audit, and print what was found.

    Args:
        out: folder to write to.
        training: of all runs, but for their defenses.
        auditing: of all audits, but for the undefended run.
        console: to print on.
    """
    training, console = training or TrainConfig(), console or open_console()
    examined = examine(out, training, auditing or AuditConfig(), console)
    console.print(comparison(examined))
    for name, one in examined.items():
        console.print(*(f"{name}: {line}" for line in gate_lines(one.findings)), sep="\n", soft_wrap=True)
    plain = examined[PLAIN]
    try:
        limited = within_budget(out, training, plain.audit)
    except InputError as refusal:
        console.print(f"within the budget: {refusal}", soft_wrap=True)
    else:
        for name, run in ((PLAIN, plain.run), ("within the budget", limited)):
            console.print(f"{name}: {cost(run)}", soft_wrap=True)
    for name, one in examined.items():
        console.print(f"report of {name}: {one.audit.report}", soft_wrap=True)
    return examined


def cost(run: Run) -> str:
    """Return what a run reached, in which tiers, and how long it took on its devices."""
    tiers = sorted({tier for record in run.records for tier in record["tiers"].values()})
    return (
        f"tiers {', '.join(map(str, tiers))}, test accuracy {run.summary['final_accuracy']:.4f}, "
        f"{duration(run.summary['virtual_time_s'])} of simulated time"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/two-defenses"))
    main(parser.parse_args().out)

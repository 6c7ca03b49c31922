"""Time and weigh the start of commands that compute nothing, each in a process of its own.

    python -m benchmarks.startup [--runs 9] [--compare RUN --compare RUN]

The time is that of the whole process, from its start to its end; memory is the peak resident set (Linux). Commands
alternate, so that a change of the machine's pace meets all of them.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

import click
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private.cli.lists import LISTINGS
from dtfl_private.report.tables.plain import plain_table

# Runs a command, then prints the peak of resident memory in KiB as the last line of standard error.
PROGRAM = """if True:
    import sys
    from dtfl_private.cli.main import main
    try:
        main(sys.argv[1:])
    finally:
        with open("/proc/self/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM"))
        print(peak.split()[1], file=sys.stderr)
"""

COMPLETION = {"_DTFL_PRIVATE_COMPLETE": "bash_complete", "COMP_WORDS": "dtfl-private pa", "COMP_CWORD": "1"}

COMMANDS = (
    *("--help", "--version", "list --help", "train --help", "attack --help"),
    *(f"list {kind}" for kind in LISTINGS),
)


def start(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return seconds and peak MB of a command in a process of its own."""
    begun = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - begun
    return seconds, int(run.stderr.splitlines()[-1]) * 1024 / 1e6


@click.command()
@click.option("--runs", default=9, show_default=True, help="starts of each command")
@click.option("--compare", multiple=True, metavar="RUN", help="also time `compare` of these runs; repeat for several")
def main(runs: int, compare: tuple[str, ...]) -> None:
    """Print the time and memory that each command starts with."""
    with tempfile.TemporaryDirectory() as out:
        lines: dict[str, tuple[list[str], Mapping[str, str]]] = {line: (line.split(), {}) for line in COMMANDS}
        lines["(shell completion)"] = ([], COMPLETION)
        if compare:
            lines["compare"] = (["compare", *compare, "--apart", "--out", out], {})
        found: dict[str, list[tuple[float, float]]] = {line: [] for line in lines}
        for _ in range(runs):
            for line, (arguments, environment) in lines.items():
                found[line].append(start(arguments, environment))
    table = plain_table(f"starts of dtfl-private, {runs} each", "command", "s (median)", "s (range)", "peak MB")
    for line, figures in found.items():
        seconds, megabytes = zip(*figures, strict=True)
        spread = f"{min(seconds):.2f}..{max(seconds):.2f}"
        table.add_row(line, f"{statistics.median(seconds):.2f}", spread, f"{max(megabytes):.0f}")
    console = Console(width=120)
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()

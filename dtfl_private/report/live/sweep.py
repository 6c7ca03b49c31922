"""The live display of a sweep; one plain line per run when the output is not a terminal."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from dtfl_private.printable import printable
from dtfl_private.report.words.numbers import duration


class SweepDisplay:
    """Show how a sweep proceeds: use as a context manager around it.

    On a terminal: a bar over the rounds of all runs with the remaining time, and one for each run under way. Elsewhere:
    one line per run. The remaining time takes all rounds for equally long.

    Args:
        console: where to show it.
        clock: seconds since any moment, for the remaining time.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._start_s = 0.0
        self._rounds: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._before = 0
        self._accuracy: dict[str, float] = {}
        self._ended: set[str] = set()
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
        )
        self._whole = self._bars.add_task("rounds of all runs", total=None, note="")
        self._under_way: dict[str, TaskID] = {}

    def __enter__(self) -> "SweepDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def begin(self, runs: Mapping[str, int], ended: Sequence[str]) -> None:
        """Start the display, with the runs that had ended before."""
        self._rounds, self._ended, self._start_s = dict(runs), set(ended), self._clock()
        self._done = {name: self._rounds[name] if name in self._ended else 0 for name in runs}
        self._before = sum(self._done.values())
        if ended:
            self._print(f"{len(ended)} of {len(runs)} runs had ended before and are not repeated")
        if self._console.is_terminal:
            self._bars.start()
        self._show()

    def proceeded(self, run: str, rounds: int, accuracy: float | None) -> None:
        """Show how far a run is."""
        if run not in self._under_way:
            self._under_way[run] = self._bars.add_task(f"  {printable(run)}", total=self._rounds[run], note="")
            self._before += rounds  # a resumed run's earlier rounds took no time of this sweep
        self._done[run] = rounds
        if accuracy is not None:
            self._accuracy[run] = accuracy
            self._bars.update(self._under_way[run], completed=rounds, note=f"accuracy {accuracy:.4f}")
        self._show()

    def ended(self, run: str, error: str | None) -> None:
        """Show that a run has ended; one that stopped early has no rounds left."""
        if run in self._under_way:
            self._bars.remove_task(self._under_way.pop(run))
        self._ended.add(run)
        rounds = self._done[run]
        self._before += self._rounds[run] - rounds
        self._done[run] = self._rounds[run]
        self._show()
        how = f"failed: {error}" if error else f"accuracy {self._accuracy.get(run, 0):.4f} after {rounds} rounds"
        self._print(f"[{len(self._ended)}/{len(self._rounds)}] {run}  {how}{self._left()}")

    def _show(self) -> None:
        done, total = sum(self._done.values()), sum(self._rounds.values())
        self._bars.update(self._whole, completed=done, total=total, note=self._left().strip())

    def _left(self) -> str:
        """Return the remaining time, by the rounds that this sweep has trained so far; nothing before the first."""
        done = sum(self._done.values())
        trained, left = done - self._before, sum(self._rounds.values()) - done
        if trained <= 0 or left <= 0:
            return ""
        return f"  about {duration((self._clock() - self._start_s) / trained * left)} left"

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)

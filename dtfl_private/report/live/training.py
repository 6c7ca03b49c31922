"""The live display of a training run; plain lines when the output is not a terminal."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dtfl_private.report.live.display import Display, time_left
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import duration, perplexity_text, tiers_text
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.round_record import Record
from dtfl_private.training.selected_round import is_validated

SHOWN_ROUNDS = 8
SHOWN_CLIENTS = 20

# What the table of rounds takes up without the clients of each tier, which a line below it says of the last round.
WITHOUT_TIERS = 74
TIERS = "tier:clients"


class TrainingDisplay(Display):
    """Show rounds as they happen: use as a context manager around the run.

    On a terminal: a bar over rounds, one over the clients of the round, the last rounds as a table and each client's
    tier. Elsewhere: one line per round.

    Attributes:
        folder: of the run; None before it begins.
        finished_rounds: how many rounds of it are done.

    Args:
        console: where to show it.
        rounds: of the run in all.
        clock: seconds since any moment, for the remaining time.
        quiet: show notes alone.
    """

    def __init__(
        self, console: Console, rounds: int, clock: Callable[[], float] = time.monotonic, *, quiet: bool = False
    ) -> None:
        columns = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        super().__init__(console, *columns, quiet=quiet)
        self._rounds, self._clock = rounds, clock
        self._began_s, self._rounds_before = clock(), 0
        self.folder: Path | None = None
        self.finished_rounds = 0
        self._recent: deque[Record] = deque(maxlen=SHOWN_ROUNDS)
        self._plan: RoundPlan | None = None
        self._round_bar = self._bars.add_task("rounds ", total=rounds)
        self._client_bar = self._bars.add_task("clients", total=None)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4)

    @property
    def _drawn(self) -> Live:
        """The bars with the tables below them."""
        return self._live

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Say what is about to be done, and start the display with the rounds that were finished before."""
        self.folder, self.finished_rounds = folder, len(records)
        self._began_s, self._rounds_before = self._clock(), len(records)
        for line in describe():
            self._print(line)
        if records:
            self.note(f"going on after round {len(records)} of {rounds}")
        self._start()
        self._recent.extend(records)
        self._bars.reset(self._round_bar, completed=len(records))  # they took no time of this training

    def round_planned(self, plan: RoundPlan) -> None:
        """Show a round's schedule."""
        self._plan = plan
        self._bars.reset(self._client_bar, total=len(plan.clients_P))

    def client_trained(self, client: int) -> None:
        """Count one more client of the round."""
        self._bars.advance(self._client_bar)

    def round_finished(self, record: Record) -> None:
        """Show a finished round."""
        self.finished_rounds = record["round"]
        self._recent.append(record)
        self._bars.advance(self._round_bar)
        done = self.finished_rounds - self._rounds_before
        left = time_left(self._clock() - self._began_s, done, self._rounds - self.finished_rounds)
        self._print_off_terminal(_line(record, self._rounds) + left)

    def _render(self) -> RenderableType:
        """Return what is drawn: as many of the last rounds as the terminal has lines for."""
        for count in range(len(self._recent), 0, -1):
            drawn = self._with_rounds(list(self._recent)[-count:])
            if len(self._console.render_lines(drawn)) < self._console.height:
                return drawn
        return self._with_rounds([])

    def _with_rounds(self, records: Sequence[Record]) -> Group:
        parts: list[RenderableType] = [self._bars]
        if records:
            parts.append(rounds_table(records, self._console.width - WITHOUT_TIERS))
        if self._plan is not None:
            parts.append(_tiers_line(self._plan))
        return Group(*parts)


def rounds_table(records: Sequence[Record], room: int) -> Table:
    """Return a row for each round, with its clients per tier where there is room for them, in columns of text."""
    tiers = [tiers_text(record["tiers"].values()) for record in records]
    has_room = all(len(text) <= room for text in (*tiers, TIERS))
    validated = is_validated(records)
    asked = "test_perplexity" in records[-1]  # of language models
    judged = ("accuracy", *["validation"] * validated, "test loss", *["perplexity"] * asked)
    figures = (*judged, time_word(records[-1]), "this round", "dropped")
    table = plain_table("", "round", *figures, *[TIERS] * has_room)
    for record, text in zip(records, tiers, strict=True):
        table.add_row(
            str(record["round"]),
            f"{record['test_accuracy']:.4f}",
            *[_accuracy(record.get("validation_accuracy"))] * validated,
            f"{record['test_loss']:.4f}",
            *[perplexity_text(record)] * asked,
            duration(record["virtual_time_s"]),
            duration(record["round_time_s"]),
            str(len(record["dropped"])),
            *[text] * has_room,
        )
    return table


def time_word(record: Record) -> str:
    """Return what the time of a run is called: measured in a deployment, else simulated."""
    return "elapsed" if record.get("clock") == "wall" else "simulated"


def _accuracy(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _tiers_line(plan: RoundPlan) -> str:
    tiers = plan.tiers_P.tolist()
    if len(tiers) > SHOWN_CLIENTS:
        return f"round {plan.round}: clients per tier  {tiers_text(tiers)}"
    each = "  ".join(f"{client}:{tier}" for client, tier in zip(plan.clients_P.tolist(), tiers, strict=True))
    return f"round {plan.round}: tier of each client  {each}"


def _validated(record: Record) -> str:
    """Return the accuracy on validation images, if there are some."""
    accuracy = record.get("validation_accuracy")
    return "" if accuracy is None else f"  validation {accuracy:.4f}"


def _told_perplexity(record: Record) -> str:
    """Return the perplexity, of language models."""
    return f"  perplexity {perplexity_text(record)}" if "test_perplexity" in record else ""


def _line(record: Record, rounds: int) -> str:
    dropped = f"  dropped {len(record['dropped'])}" if record["dropped"] else ""
    return (
        f"round {record['round']:>{len(str(rounds))}}/{rounds}"
        f"  accuracy {record['test_accuracy']:.4f}{_validated(record)}"
        f"  loss {record['test_loss']:.4f}{_told_perplexity(record)}"
        f"  {time_word(record)} {duration(record['virtual_time_s'])}"
        f"  tiers {tiers_text(record['tiers'].values())}{dropped}"
        f"  wall {duration(record['wall_time_s'])}"
    )

"""What the command line shows while a run trains, and what it says when the user stops it."""

import shlex
from collections.abc import Sequence

from rich.console import Console

from dtfl_private.errors import DtflError
from dtfl_private.experiments.config import TrainConfig, plugin_options
from dtfl_private.experiments.norm import resolved_norm
from dtfl_private.experiments.run_folder import RunFolder
from dtfl_private.report.live.training import TrainingDisplay
from dtfl_private.report.tables.privacy import norm_line
from dtfl_private.report.tables.privacy import opening_lines as privacy_lines
from dtfl_private.simulation.costs.table import tier_names
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.record import Record
from dtfl_private.training.round import RoundSettings


class InterruptedRunError(DtflError):
    """The user stopped a run."""


class TrainingListener:
    """Pass a run's events on to the display, and remember how far the run came."""

    def __init__(self, console: Console, display: TrainingDisplay) -> None:
        self._console = console
        self._display = display
        self._folder: RunFolder | None = None
        self._allow: Sequence[str] = ()
        self._rounds = 0

    def started(
        self, config: TrainConfig, folder: RunFolder, settings: RoundSettings, records: Sequence[Record]
    ) -> None:
        """Say what is about to be done, and what of it leaves the clients."""
        self._folder, self._rounds, self._allow = folder, len(records), plugin_options(config)
        for line in _opening_lines(config, folder, settings):
            self._console.print(line, soft_wrap=True, highlight=False)
        if records:
            self.note(f"going on after round {len(records)} of {config.rounds}")
        self._display.begin(records)

    def planned(self, plan: RoundPlan) -> None:
        """Show a round's schedule."""
        self._display.planned(plan)

    def trained(self, client: int) -> None:
        """Show that a client is done."""
        self._display.trained(client)

    def note(self, text: str) -> None:
        """Show a line that the user should see."""
        self._display.note(text)

    def finished(self, record: Record) -> None:
        """Show a finished round."""
        self._rounds = record["round"]
        self._display.finished(record)

    def how_to_go_on(self) -> str:
        """Return how far the run came and what to type to continue it."""
        if self._folder is None:
            return "interrupted before the run began: nothing was written"
        command = ["dtfl-private", "train", "--resume", "--out", str(self._folder.path), *self._allow]
        return (
            f"interrupted; {self._rounds} finished {'round is' if self._rounds == 1 else 'rounds are'} safe "
            f"in {self._folder.path}; "
            f"go on with: {shlex.join(command)}"
        )


def _tiers_text(scheduler: str, tiers: Sequence[int]) -> str:
    if len(tiers) == 1:
        return f"every participant holds {tiers[0]} modules of the network"
    return f"scheduler {scheduler}, tiers {tier_names(tiers)} (tier m = the client holds m modules)"


def _opening_lines(config: TrainConfig, folder: RunFolder, settings: RoundSettings) -> list[str]:
    tiers = settings.schedule.table.tiers_M.tolist()
    machine = f"{config.device}, {config.precision}, {config.workers} worker{'s' if config.workers != 1 else ''}"
    lines = [
        f"{config.method}: {config.model} on {config.dataset}, {config.max_train_images} training images",
        f"{config.clients} clients, {config.partition}, {_tiers_text(config.scheduler, tiers)}",
        f"{machine}; run folder {folder.path}",
    ]
    if config.defense:
        lines.append(f"defenses, in this order: {', '.join(config.defense)}")
    asked = resolved_norm(config, settings.budget.defense)
    lines.append(norm_line(asked, settings.norms, settings.budget.defense))
    return [*lines, *privacy_lines(settings.budget, config.rounds)]

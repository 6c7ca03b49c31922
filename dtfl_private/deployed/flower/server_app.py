"""The server inside a Flower app: the run of `deploy serve`, whose clients Flower brings."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from dtfl_private.deployed.extra import require_flower_extra
from dtfl_private.deployed.flower.courier import Courier
from dtfl_private.deployed.flower.invitations import Invitations
from dtfl_private.deployed.flower.relays import TURN_S, Relays
from dtfl_private.deployed.flower.run_settings import RunSettings, read_settings
from dtfl_private.deployed.server.entrance import Entrance
from dtfl_private.deployed.server.serving import Serving, serve
from dtfl_private.deployed.server.serving_client import Rules
from dtfl_private.experiments.config.composition import file_layers, flattened
from dtfl_private.experiments.config.plugin_fields import named_objects
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.report.live.training import TrainingDisplay
from dtfl_private.report.tables.privacy import sentences
from dtfl_private.report.tables.summary import summary_table

WIDTH = 100
"""Of the lines that Flower shows: it does not say how wide the terminal is."""


def run(grid: Any, context: Any, config_file: Path) -> None:
    """Serve a run to the clients of a federation.

    Args:
        grid: Flower's, as a ``ServerApp`` gets it.
        context: likewise; its run configuration is what `RunSettings` has.
        config_file: the run's configuration, TOML.

    Raises:
        InputError: wrong input; nothing was written.
        RunError: the run could not go on; what is on the disk can be resumed.
    """
    require_flower_extra()
    settings, config = read_settings(context.run_config), _config(config_file)
    console = Console(file=sys.stdout, width=WIDTH, color_system=None, force_terminal=False)
    with TrainingDisplay(console, config.rounds) as display:
        rules = _rules(settings)
        entrance = _entrance(settings, rules, Courier(grid, display.note), display)
        serving = Serving(
            entrance=entrance,
            rules=rules,
            minimum=settings.min_clients or None,
            out=settings.folder,
            resume=settings.resume,
        )
        done = serve(config, serving, [display])
    console.print(summary_table(done.summary, str(done.folder.path)))
    for sentence in sentences(done.summary["privacy"]):
        console.print(f"privacy: {sentence}", markup=False)


def _config(path: Path) -> TrainConfig:
    """Return a configuration that may name plug-ins, and no code."""
    values = flattened(file_layers(path))
    return make_config(values, str(path), allowed=named_objects(values))


def _rules(settings: RunSettings) -> Rules:
    turn_s = TURN_S if settings.transport == "reply" else 0.0
    return Rules(deadline_s=settings.round_deadline, stragglers=settings.stragglers, turn_s=turn_s)


def _entrance(settings: RunSettings, rules: Rules, courier: Courier, display: TrainingDisplay) -> Entrance:
    if settings.transport == "reply":
        within_s = rules.deadline_s + rules.grace_s
        return Relays(courier=courier, within_s=within_s, say=display.note)
    return Invitations(
        courier=courier,
        listen=settings.listen,
        reached_at=settings.reached_at,
        say=display.note,
        now=datetime.now(UTC),
    )

"""What a run says of itself before its first round."""

from collections.abc import Sequence
from pathlib import Path

from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.protocol.contracts import tier_names
from dtfl_private.report.tables.privacy import norm_line
from dtfl_private.report.tables.privacy import opening_lines as privacy_lines
from dtfl_private.report.words.numbers import number_of
from dtfl_private.training.round import RoundSettings


def opening_lines(config: TrainConfig, folder: Path, settings: RoundSettings) -> list[str]:
    """Return lines that say what a run is about to do, and what of it leaves the clients."""
    tiers = settings.schedule.table.tiers_M.tolist()
    images = f"{config.max_train_images} training images{_held_out(config)}"
    machine = f"{config.device}, {config.precision}, {number_of(config.workers or 1, 'worker')}"
    lines = [
        f"{config.method}: {config.model} on {config.dataset}, {images}",
        f"{_clients(config, settings)}, {_tiers_text(config.scheduler, tiers)}",
        f"{machine}; run folder {folder}",
    ]
    if config.defense:
        lines.append(f"defenses, in this order: {', '.join(config.defense)}")
    asked = resolved_norm(config, settings.privacy.defense)
    lines.append(norm_line(asked, settings.norms, settings.privacy.defense))
    return [*lines, *privacy_lines(settings.privacy, config.rounds)]


def _held_out(config: TrainConfig) -> str:
    """Return what there is to say of validation images."""
    if config.validation == 0:
        return ""
    if config.validation_held_by == "clients":
        return f", of which each client holds back {config.validation:.1%} as validation images"
    judged = ", which runs are judged on" if config.judged_on == "validation" else ""
    return f"; the server holds {config.validation:.1%} of the data back as validation images{judged}"


def _tiers_text(scheduler: str, tiers: Sequence[int]) -> str:
    if len(tiers) == 1:
        return f"every participant holds {number_of(tiers[0], 'module')} of the network"
    return f"scheduler {scheduler}, tiers {tier_names(tiers)} (tier m = the client holds m modules)"


def _clients(config: TrainConfig, settings: RoundSettings) -> str:
    """Return how many clients there are; nobody deals out the images of real ones."""
    if settings.clock.kind == "wall":
        return number_of(config.clients, "real client")
    return f"{number_of(config.clients, 'client')}, {config.partition}"

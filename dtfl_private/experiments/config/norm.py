"""The kind of normalisation that a configuration means."""

from collections.abc import Iterable

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.models.norms import Norm
from dtfl_private.privacy.compatibility import needs_group_norm
from dtfl_private.protection.base import Defense


def resolved_norm(config: TrainConfig, defense: Iterable[Defense] = ()) -> Norm:
    """Return the kind of normalisation that the configuration means, with these defenses."""
    if config.norm != "auto":
        return config.norm
    return "group" if needs_group_norm(defense) else "batch"

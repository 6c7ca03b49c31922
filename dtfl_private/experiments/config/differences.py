"""In what two configurations differ."""

from collections.abc import Iterable, Sequence

from dtfl_private.experiments.config.train_config import TrainConfig

# What a resume may change: neither who computes nor the place of the data changes the result.
FREE_ON_RESUME = frozenset({"workers", "executor", "data_dir", "download"})


def differences(config: TrainConfig, other: TrainConfig, free: Iterable[str] = FREE_ON_RESUME) -> Sequence[str]:
    """Return ``key: old -> new`` for each value that differs between two configurations."""
    old, new = other.model_dump(mode="json"), config.model_dump(mode="json")
    return [f"{key}: {old[key]} -> {new[key]}" for key in new if key not in free and old[key] != new[key]]

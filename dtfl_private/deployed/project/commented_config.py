"""A configuration as TOML for people: what most want to change or have changed, each value with what it is."""

import textwrap
from collections.abc import Iterable

from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig

# Shown whether they are changed or not.
ALWAYS_SHOWN = (
    *("dataset", "partition", "model", "method", "scheduler", "clients", "fraction", "rounds", "target_accuracy"),
    *("wire", "batch_size", "local_epochs", "optimizer", "lr", "defense", "seed"),
)

WIDTH = 100

HEAD = """\
# The configuration of the run: what `dtfl-private deploy serve` trains, and what every client is told of it.
# All keys and their values: dtfl-private config show config.toml
"""


def commented_toml(config: TrainConfig) -> str:
    """Return a text from which exactly this configuration is read: what is not in it is as by default."""
    fields = TrainConfig.model_fields
    keys = [key for key, field in fields.items() if key in ALWAYS_SHOWN or getattr(config, key) != field.default]
    return HEAD + "".join(_lines(config, keys))


def _lines(config: TrainConfig, keys: Iterable[str]) -> Iterable[str]:
    group = ""
    for key in keys:
        field = TrainConfig.model_fields[key]
        extra = field.json_schema_extra
        named = str(extra["group"]) if isinstance(extra, dict) else ""
        if named != group:
            group = named
            yield f"\n# --- {group}\n"
        yield "\n" + textwrap.indent(textwrap.fill(str(field.description), WIDTH), "# ") + "\n"
        yield to_toml(config, [key])

"""Configurations as TOML files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from dtfl_private.data.normalization import POOLED
from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.experiments.config.field_kinds import NOTHING
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.files import reading
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.runtime.executor_choice import require_own_address


def read_toml(path: Path) -> dict[str, object]:
    """Return the keys of a CONFIG.toml as field names.

    Raises:
        InputError: no readable TOML file, or a key that no field has.
    """
    return as_fields(load_toml(path, "configuration"), str(path))


def load_toml(path: Path, kind: str) -> dict[str, Any]:
    """Return what a TOML file holds; ``kind`` says in errors what the file is.

    Raises:
        InputError: no readable TOML file.
    """
    try:
        return reading.read_toml(path, most_bytes=reading.LARGEST_TOML_BYTES)
    except FileNotFoundError:
        raise InputError(f"{kind} '{path}' does not exist") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{kind} '{path}' cannot be read: {reading.reason(error)}") from None


def as_fields(
    values: Mapping[str, object], source: str, known: Iterable[str] = (), *, beside: Iterable[str] = ()
) -> dict[str, object]:
    """Return values by field name, where keys may be spelled with hyphens.

    Args:
        values: as given.
        source: what errors call them.
        known: the fields that may be given; by default all.
        beside: other keys that the file may have, which errors name among the known ones.

    Raises:
        InputError: a key that no field has, one field twice, or an executor's address, which a file may not give.
    """
    allowed = tuple(known) or tuple(TrainConfig.model_fields)
    fields = {comparable(name): name for name in allowed}
    named: dict[str, object] = {}
    for key, value in values.items():
        if comparable(key) not in fields:
            raise unknown_name(f"key in {source}:", key, [*allowed, *beside])
        name = fields[comparable(key)]
        if name in named:
            raise InputError(f"configuration '{source}' gives '{name}' twice, in two spellings")
        named[name] = value
    if "executor" in named:
        require_own_address(named["executor"], source)
    return named


def to_toml(config: TrainConfig, keys: Iterable[str] | None = None) -> str:
    """Return the configuration as TOML, every value explicit; or those of some keys."""
    values = config.model_dump(mode="json", include=None if keys is None else {*keys})
    return tomli_w.dumps({key: NOTHING if value is None else value for key, value in values.items()})


def read_run_config(folder: RunFolder, *, allowed: Allowed = NOTHING_ALLOWED) -> TrainConfig:
    """Return the resolved configuration of a run folder, which may be anybody's.

    Args:
        folder: of the run.
        allowed: what the configuration may name by its module, should it be used for more than reading it.

    Runs of versions that had no choice of normalisation pooled all clients' pixels.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not folder.config.exists():
        raise InputError(f"'{folder.path}' is not a run folder: it has no config.toml")
    values = {"normalization": POOLED, **read_toml(folder.config)}
    return make_config(values, str(folder.config), allowed=allowed)

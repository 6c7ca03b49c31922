"""Trust on first use: the first configuration is kept, another one later is shown and refused."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtfl_private.deployed.client_store.state import LARGEST_CONFIG, PinnedConfig, digest_of
from dtfl_private.errors import InputError, shortened
from dtfl_private.files import reading

MOST_SHOWN = 5


def pinned(text: str, classes: Sequence[str] = ()) -> PinnedConfig:
    """Return a configuration, and the run's classes, as they are kept.

    Raises:
        InputError: it is no TOML, or longer than any configuration.
    """
    if len(text) > LARGEST_CONFIG:
        raise InputError(
            f"the server's configuration has {len(text):,} characters, expected {LARGEST_CONFIG:,} at most"
        )
    try:
        reading.parse_toml(text)
        data = text.encode()
    except ValueError as error:
        raise InputError(f"the server's configuration is no TOML: {error}") from None
    return PinnedConfig(sha256=hashlib.sha256(data).hexdigest(), text=text, classes=digest_of(classes))


def refused(folder: Path, before: PinnedConfig, now: PinnedConfig) -> InputError:
    """Return the error for another configuration than the one that is pinned: it names what differs."""
    changes = differences(reading.parse_toml(before.text), reading.parse_toml(now.text))
    if before.classes != now.classes:
        changes = ["classes: other names, or in another order", *changes]
    shown = "; ".join(changes[:MOST_SHOWN]) or "comments or spelling only"
    more = f"; {len(changes) - MOST_SHOWN} more" if len(changes) > MOST_SHOWN else ""
    return InputError(
        f"the server's configuration is not the one that this client agreed to ({shown}{more}): ask the server's "
        f"operator, and join with --accept-config to agree to it (the old one is in '{folder}')"
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two configurations, a line for each key."""
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{key}: {_shown(old, key)} -> {_shown(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if key not in old or key not in new or repr(old[key]) != repr(new[key])
    ]


def _shown(values: Mapping[str, Any], key: str) -> str:
    return shortened(repr(values[key]), 40) if key in values else "absent"


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

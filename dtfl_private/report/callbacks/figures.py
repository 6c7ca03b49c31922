"""The figures of a round by name, for loggers."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dtfl_private.training.round_record import Record

PLAIN = (
    *("test_accuracy", "test_loss", "test_perplexity"),
    *("validation_accuracy", "validation_loss", "local_loss", "server_loss", "lr"),
    *("virtual_time_s", "round_time_s", "oracle_time_s", "server_wait_s", "wall_time_s"),
)
"""Keys of rounds.jsonl that are figures themselves."""

COUNTED = ("participants", "dropped", "retired", "rested", "stopped")
"""Keys of rounds.jsonl that list clients."""


def figures_of(record: Record) -> dict[str, float]:
    """Return the figures of a round by name; those that the round does not have are left out.

    Names are keys of rounds.jsonl: ``test_accuracy``, ``virtual_time_s``. Clients are counted: ``participants``,
    ``clients_in_tier/2``. Bytes and MACs have their kind behind a slash, ``bytes/up_smashed``, and so has an epsilon
    with its delta what it covers, ``epsilon/labels per label replaced``: that of the client that is worst off.
    """
    line: Mapping[str, Any] = record
    figures: dict[str, float] = {key: line[key] for key in PLAIN if line.get(key) is not None}
    figures |= {key: len(line[key]) for key in COUNTED if key in line}
    tiers = Counter(record["tiers"].values())
    figures |= {f"clients_in_tier/{tier}": tiers[tier] for tier in sorted(tiers)}
    for what in ("bytes", "macs"):
        figures |= {f"{what}/{kind}": count for kind, count in line[what].items()}
    for entry in record["privacy"]:
        for key, value in (("epsilon", entry["epsilon"]), ("delta", entry["delta"])):
            if value is not None:
                figures[f"{key}/{entry['what']} per {entry['per']}"] = value
    return figures

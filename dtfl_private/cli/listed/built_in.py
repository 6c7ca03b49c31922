"""What is recorded of built-in plug-ins and measures, so that they are listed without importing torch.

`built_in.json` is written from the code, by ``make lists``; a test keeps it equal to the code.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dtfl_private.files import reading
from dtfl_private.plugins.installed import installed

if TYPE_CHECKING:
    from dtfl_private.report.tables.facts import Facts

FILE = Path(__file__).with_name("built_in.json")
LARGEST_BYTES = 2**20

RECORDED_KINDS = ("attack", "defense", "method", "model")
"""Kinds of plug-ins that are torch code."""

OWN_MODULES = "dtfl_private."


def built_in(kind: str) -> "Mapping[str, Facts]":
    """Return what is recorded of a kind, or nothing if its plug-ins need no torch.

    Plug-ins go by what their entry points name (``package.module:object``), measures by name.
    """
    recorded: dict[str, dict[str, Facts]] = reading.read_json(FILE, most_bytes=LARGEST_BYTES)
    return recorded.get(kind, {})


def built_in_document() -> str:
    """Return what `built_in.json` is to hold, from the code; what other packages offer is left out."""
    from dtfl_private.cli.listed.from_code import facts_from_code
    from dtfl_private.cli.listed.measures import measures_from_code

    document: dict[str, dict[str, Facts]] = {}
    for kind in RECORDED_KINDS:
        own = {name: point for name, point in installed(kind).items() if point.value.startswith(OWN_MODULES)}
        document[kind] = {own[name].value: facts for name, facts in facts_from_code(kind, own).items()}
    document["measure"] = measures_from_code()
    return json.dumps(document, indent=2) + "\n"

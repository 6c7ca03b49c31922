"""The topics of `help`: passages of the documentation, recorded in `topics.json`, since its pages are not installed.

`topics.json` is written by ``make lists``; a test keeps it equal to the pages.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from dtfl_private.files import reading

FILE = Path(__file__).with_name("topics.json")
LARGEST_BYTES = 2**20


class Topic(TypedDict):
    """A topic of `help`: its heading, the page that it is from, and its text as Markdown."""

    heading: str
    page: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Where in the documentation a topic is.

    Attributes:
        page: in the folder of the documentation.
        section: its heading; None: what stands before the first one.
        until: how the line begins with which the passage ends, if it ends before its section does.
    """

    page: str
    section: str | None = None
    until: str | None = None


PASSAGES: Mapping[str, Passage] = {
    "adversaries": Passage(page="reference/attacks.md", section="Who attacks"),
    "attacks": Passage(page="reference/attacks.md", section="What to run first"),
    "defenses": Passage(page="reference/defenses.md"),
    "files": Passage(page="reference/run-folder.md"),
    "methods": Passage(page="reference/methods.md", until="L is the number"),
    "tiers": Passage(page="explanation/algorithm.md", section="1. Tiers"),
    "verdicts": Passage(page="explanation/verdict.md", until="**Victim by victim.**"),
}

LISTS: Mapping[str, str] = {name: name for name in ("adversaries", "attacks", "defenses", "methods")}
"""Topics of which `list` says more, by what it is called there."""


def topics() -> Mapping[str, Topic]:
    """Return the recorded topics."""
    recorded: dict[str, Topic] = reading.read_json(FILE, most_bytes=LARGEST_BYTES)
    return recorded


def topics_document(docs: Path) -> str:
    """Return what `topics.json` is to hold, from the pages in the folder of the documentation."""
    found = {name: _topic(docs, passage) for name, passage in PASSAGES.items()}
    return json.dumps(found, indent=2) + "\n"


def _topic(docs: Path, passage: Passage) -> Topic:
    lines = reading.read_text(docs / passage.page, most_bytes=LARGEST_BYTES).splitlines()
    start = lines.index(f"## {passage.section}") if passage.section else 0
    end = next((at for at, line in enumerate(lines) if at > start and line.startswith("## ")), len(lines))
    if passage.until is not None:
        end = next(at for at, line in enumerate(lines) if at > start and line.startswith(passage.until))
    heading = lines[start].lstrip("# ").lstrip("0123456789. ")
    return Topic(heading=heading, page=f"docs/{passage.page}", text="\n".join(lines[start + 1 : end]).strip())

"""The page on the wire has every kind of frame with all of its fields, and the limits as they are."""

import re
from pathlib import Path

from dtfl_private.deployed.sessions.pieces import PIECE_BYTES
from dtfl_private.deployed.sessions.session import WAITING_FRAMES
from dtfl_private.deployed.sessions.transport import METHOD, SERVICE
from dtfl_private.deployed.wire import frames, limits, tensors
from dtfl_private.deployed.wire.header import Header, MessageHeader
from dtfl_private.deployed.wire.headers import HEADERS
from dtfl_private.deployed.wire.kinds import KINDS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "wire.md").read_text()
# Tensors whose names depend on what is sent, and texts that go as tensors.
OTHER_TENSORS = {"smashed": {"smashed", "labels"}, "welcome": {"config", "classes"}}


def said(side: str) -> dict[str, set[str]]:
    """Return the fields of each kind that the page says a side sends."""
    _, _, section = PAGE.partition(f"From {side}:\n")
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|", section.split("\n\n")[0], flags=re.MULTILINE)
    return {kind: {name.rstrip("/") for name in re.findall(r"`([\w/]+)`", fields)} for kind, fields in rows}


def fields(header: type[Header]) -> set[str]:
    """Return the names of what a kind has: numbers, texts and tensors."""
    kind = header.of_kind.kind
    found = {*header.model_fields, *header.payloads, *OTHER_TENSORS.get(kind, ())} - {"kind", "session"}
    return found | {*header.tensors, *header.states} if issubclass(header, MessageHeader) else found


def test_each_side_says_what_the_page_says_with_all_fields():
    for side, words in (("client", "a client"), ("server", "the server")):
        assert said(words) == {kind: fields(HEADERS[kind]) for kind in KINDS if KINDS[kind].by == side}


def test_the_limits_are_those_that_hold():
    for number in (
        frames.FIRST_LARGEST,
        frames.LARGEST_HEADER_BYTES,
        limits.LARGEST_FRAME,
        tensors.LARGEST_TABLE_BYTES,
        tensors.MOST_TENSORS,
    ):
        assert f"{number:,}" in PAGE
    for words in (
        f"schema version, little-endian: {frames.SCHEMA}",
        f"names of {tensors.LONGEST_NAME} characters, {tensors.MOST_AXES} axes",
        f"`/{SERVICE}/{METHOD}`",
        f"up to {PIECE_BYTES // 2**20} MiB of it",
        f"and {limits.BESIDE_TENSORS // 2**20} MiB",
    ):
        assert words in PAGE
    assert WAITING_FRAMES == 4
    assert "At most four frames wait" in PAGE

"""What an audit took for granted, in sentences."""

from dtfl_private.protocol.assumptions import ASSUMPTIONS
from dtfl_private.verdicts.findings import Findings

SENTENCES = {one.name: one.sentence for one in ASSUMPTIONS.values()}


def assumed_sentences(findings: Findings) -> list[str]:
    """Return what was assumed and not shown; of what this version does not know, its name."""
    said = [str(SENTENCES.get(name, f"{name} is assumed, not shown")) for name in findings.assumed]  # type: ignore[call-overload]  # a file may hold any name
    return [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in said]

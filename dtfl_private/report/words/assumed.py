"""What an audit took for granted, in sentences."""

from dtfl_private.protocol.assumptions import ASSUMPTIONS, Assumption
from dtfl_private.verdicts.findings import Findings

KNOWN: dict[str, Assumption] = {str(name): one for name, one in ASSUMPTIONS.items()}


def assumed_sentences(findings: Findings) -> list[str]:
    """Return what was assumed and not shown; of what this version does not know, its name."""
    said = [KNOWN[name].sentence if name in KNOWN else f"{name} is assumed, not shown" for name in findings.assumed]
    return [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in said]


def assumed_plainly(findings: Findings) -> list[str]:
    """Return the same for the top of a report, without jargon."""
    unknown = "This is for less than the server may see: something is assumed, not shown."
    return list(dict.fromkeys(KNOWN[name].plainly if name in KNOWN else unknown for name in findings.assumed))

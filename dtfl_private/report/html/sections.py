"""The sections of a report, in order; one without content is not there."""

from collections.abc import Mapping

from dtfl_private.verdicts.findings import Findings

SECTIONS: Mapping[str, str] = {
    "threat": "Who attacks, and what they know",
    "verdict": "Verdict, tier by tier",
    "gallery": "Reconstructions",
    "texts": "Texts that were read",
    "tiers": "Leakage by tier",
    "trade": "Accuracy against leakage",
    "data": "Leakage against the attacker's data",
    "clients": "Exposure of each client",
    "byclient": "Clients compared",
    "scheduled": "As scheduled",
    "guarantees": "Guarantees",
    "compared": "Compared with another run",
    "training": "The training that was audited",
    "sanity": "Sanity checks",
    "untested": "What was not tested",
    "measures": "Measures without attack",
    "repeat": "How to repeat it",
    "results": "All results",
}
"""Headings by their anchor, which names the template too."""

WITH_FIGURES = frozenset(
    (
        "verdict",
        "gallery",
        "texts",
        "tiers",
        "trade",
        "data",
        "clients",
        "byclient",
        "scheduled",
        "compared",
        "measures",
        "results",
    )
)
"""Sections whose figures may not be used in an invalid audit."""


def sections_of(findings: Findings, content: Mapping[str, object]) -> dict[str, str]:
    """Return the headings of the sections that have content.

    Args:
        findings: of the audit.
        content: what the page shows besides: pictures and tables by name, empty where there are none.
    """
    filled: Mapping[str, object] = {
        "threat": findings.threat_model,
        "verdict": findings.verdict,
        "gallery": content["galleries"],
        "texts": content["texts"],
        # Of one tier the verdict's table says it all.
        "tiers": content["by_tier"] and len({verdict.tier for verdict in findings.verdict}) > 1,
        "trade": content["trade"],
        "data": content["curve"],
        # Where clients send weights alone there are no releases to count, and no value of any.
        "clients": any(client.releases or client.value is not None for client in findings.clients),
        "byclient": content["by_client"],
        "scheduled": content["scheduled"],
        "guarantees": findings.guarantees,
        "compared": findings.compared,
        "training": findings.training,
        "sanity": True,
        "untested": findings.not_tested,
        "measures": content["measures"],
        "repeat": findings.repeat or findings.settings or findings.environment,
        "results": content["results"],
    }
    return {anchor: heading for anchor, heading in SECTIONS.items() if filled[anchor]}

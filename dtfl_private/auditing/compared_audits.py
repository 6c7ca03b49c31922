"""Comparison of two audits: at every tier the strongest attack of each, and every measure, with what lies apart.

Defenses may differ: that is what such a comparison is for. Data set and network may not.
"""

from collections.abc import Sequence

from dtfl_private.errors import InputError
from dtfl_private.leakage.results.result import SCHEMA_VERSION, Result
from dtfl_private.verdicts.findings import Compared, Comparison, Findings, Training
from dtfl_private.verdicts.selected_results import is_measure

ATTACK = ""
"""In keys: the strongest attack, whichever it is; a measure is compared with itself alone."""

Key = tuple[int, str, str]
"""Tier, metric, and the measure's name or `ATTACK`."""


def require_comparable(training: Training, other: Findings, schema_version: int = SCHEMA_VERSION) -> None:
    """Return if an audit of the run that ``training`` describes can be compared with another; cheap, so called first.

    An invalid audit is refused: its attacks fail where none may fail, so that its low values would pass for protection.

    Raises:
        InputError: other data set, network or layout of the file, or ``other`` is invalid.
    """
    if other.schema_version != schema_version:
        raise InputError(
            f"audit of {other.run} has schema_version {other.schema_version}, this one {schema_version}: "
            "repeat the older one"
        )
    for what, own, others in (
        ("data set", training.dataset, other.training.dataset),
        ("model", training.model, other.training.model),
    ):
        if own != others:
            raise InputError(f"audit of {other.run} is of {what} '{others}', this one of '{own}': not comparable")
    _require_valid(other)


def compare_findings(this: Findings, other: Findings) -> Comparison:
    """Return this audit compared with another: a row for each tier and metric that both have.

    The strongest attacks may be different ones in the two; a measure is compared with the same measure.

    Raises:
        InputError: the two cannot be compared (`require_comparable`), or this audit is invalid.
    """
    require_comparable(this.training, other, this.schema_version)
    _require_valid(this)
    own, others = _figures(this), _figures(other)
    rows = [
        Compared(tier=key[0], metric=key[1], this=own[key], other=others[key], apart=apart(own[key], others[key]))
        for key in sorted(own.keys() & others.keys())
    ]
    return Comparison(run=other.run, training=other.training, rows=tuple(rows))


def apart(one: Result, other: Result) -> bool:
    """Whether two 95 % intervals do not overlap; ends that touch overlap. Figures without intervals never are apart."""
    if one.ci_low == one.ci_high and other.ci_low == other.ci_high:
        return False
    return one.ci_low > other.ci_high or other.ci_low > one.ci_high


def unequal_terms(this: Findings, other: Findings) -> list[str]:
    """Return in words what differs between two audits, defenses apart: it may explain rows that lie apart."""
    pairs: Sequence[tuple[str, object, object]] = (
        ("victims", this.victims, other.victims),
        ("auxiliary images", this.aux, other.aux),
        ("preset", this.preset, other.preset),
        ("assumed", ", ".join(this.assumed) or "nothing", ", ".join(other.assumed) or "nothing"),
        ("round", this.round, other.round),
        *(
            (name, getattr(this.training, name), getattr(other.training, name))
            for name in ("norm", "method", "partition", "clients", "seed")
        ),
    )
    return [f"{what}: {own} here, {others} there" for what, own, others in pairs if own != others]


def _require_valid(findings: Findings) -> None:
    if not findings.valid:
        failed = ", ".join(check.name for check in findings.sanity if not check.passed)
        raise InputError(
            f"audit of {findings.run} is invalid (sanity check not passed: {failed or 'unnamed'}): "
            "its low values prove nothing, so it is not compared"
        )


def _figures(findings: Findings) -> dict[Key, Result]:
    """Return the strongest attacks, and the measures: results without an adversary that are no trivial guess."""
    attacks = {(result.tier, result.metric, ATTACK): result for result in findings.strongest}
    measures = filter(is_measure, findings.results)
    return attacks | {(result.tier, result.metric, result.source): result for result in measures}

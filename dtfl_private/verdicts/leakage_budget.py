"""A leakage budget: how much may leak at a tier, and where that was measured."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.leakage.metrics import METRICS, SSIM, Metric

FORM = "AUDIT.json:metric=NAME,max=X (min=X for metrics whose low values expose)"


# The settings follow the last colon; what comes before is a path and may hold anything.
SETTINGS = re.compile(r"[^:=,]+=[^:,]*(?:,[^:=,]+=[^:,]*)*")


@dataclass(frozen=True, kw_only=True)
class LeakageBudget:
    """How much may leak at a tier, and where it was measured.

    Attributes:
        audit: path of an audit.json.
        metric: by which leakage is measured, a key of `METRICS`.
        limit: the most that is allowed; the least, where low values expose.
    """

    audit: Path
    metric: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> "LeakageBudget":
        """Read ``AUDIT.json:metric=ssim,max=0.4``; the metric is ssim unless it is named.

        Raises:
            InputError: another form, an unknown key or metric, no limit, or the wrong kind of limit.
        """
        path, _, written = text.strip().rpartition(":")
        path = path.rstrip()
        if not path or SETTINGS.fullmatch(written) is None:
            raise InputError(f"leakage budget '{text}' is refused: expected {FORM}")
        settings = _settings(text, written)
        metric = _metric(text, settings.pop("metric", SSIM.name))
        key = limit_key(metric)
        if key not in settings:
            wrong = f", not {next(iter(settings))}=" if settings else ""
            raise InputError(
                f"leakage budget '{text}' is refused: {metric.exposing} values of {metric.name} expose, so give "
                f"{key}=X{wrong}"
            )
        if len(settings) > 1:
            raise InputError(f"leakage budget '{text}' is refused: give {key}= alone, {metric.name} has one limit")
        return cls(audit=Path(path), metric=metric.name, limit=_number(text, key, settings[key]))

    def __str__(self) -> str:
        return f"{self.audit}:metric={self.metric},{limit_key(METRICS[self.metric])}={self.limit:.15g}"

    def absolute(self) -> "LeakageBudget":
        """Return the same with the audit's whole path."""
        return replace(self, audit=self.audit.absolute())

    @property
    def rule(self) -> str:
        """What is asked of a tier, in words."""
        bound = "at most" if METRICS[self.metric].exposing == "high" else "at least"
        return f"{self.metric} {bound} {self.limit:.15g}"

    def holds(self, leakage: float) -> bool:
        """Whether a tier of this measured leakage is allowed."""
        return leakage <= self.limit if METRICS[self.metric].exposing == "high" else leakage >= self.limit


def _settings(text: str, written: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for item in written.split(","):
        key, _, value = (part.strip() for part in item.partition("="))
        if key not in ("metric", "max", "min"):
            raise unknown_name("setting of the leakage budget", key, ("metric", "max", "min"))
        if not value or key in settings:
            raise InputError(f"leakage budget '{text}' is refused: expected {FORM}, each key once")
        settings[key] = value
    return settings


def _metric(text: str, name: str) -> Metric:
    spelled = {comparable(known): metric for known, metric in METRICS.items()}
    if comparable(name) not in spelled:
        raise unknown_name(f"metric in leakage budget '{text}'", name, METRICS)
    return spelled[comparable(name)]


def limit_key(metric: Metric) -> str:
    """Return the key of a metric's limit: the most where high values expose, else the least."""
    return "max" if metric.exposing == "high" else "min"


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"leakage budget '{text}' is refused: {key}={value} is no number")
    return number

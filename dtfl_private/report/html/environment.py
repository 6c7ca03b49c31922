"""How templates print values: filters for figures, and no text that a page could not show."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.printable import printable_lines
from dtfl_private.report.tables.exposure import MOST_CLIENTS, segments
from dtfl_private.report.words import audit, meanings, results
from dtfl_private.report.words.by_client import correlations_text


@cache
def environment() -> Environment:
    """Return where templates are found and what they can call; it keeps the templates that it has compiled."""
    made = Environment(
        loader=PackageLoader("dtfl_private", "report/html/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "advantage": results.advantage,
        "decided_by": audit.decided_by,
        "figure": results.figure,
        "interval": results.interval,
        "probability": results.probability,
        "shape": results.shape,
        "label": lambda metric: find_metric(metric).label,
        "setting": setting_text,
        "settings": lambda settings: ", ".join(f"{name}={setting_text(value)}" for name, value in settings.items()),
    }
    made.globals |= {
        "check_text": audit.check_text,
        "correlations_text": correlations_text,
        "convergence_text": audit.convergence_text,
        "remedy": audit.REMEDY,
        "explanation": meanings.explanation,
        "segments": segments,
        "most_clients": MOST_CLIENTS,
        "blank": results.NONE,
    }
    return made


def printed(value: Any) -> Any:
    """Return a value with what a page cannot show, or what would hide or turn its text, spelled out."""
    return printable_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def setting_text(value: bool | int | float | str | None) -> str:
    """Return a setting's value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)

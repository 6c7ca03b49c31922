"""What `list measures` shows."""

from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.plugins.documentation import summary
from dtfl_private.report.tables.facts import Facts


def measures_from_code() -> dict[str, Facts]:
    """Return what is to be said of every measure."""
    return {
        name: {
            "what it does": summary(type(measure)),
            "says": measure.facts.says,
            "does not say": measure.facts.does_not_say,
            "source": measure.facts.source,
        }
        for name, measure in MEASURES.items()
    }

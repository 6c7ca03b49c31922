"""What each client has exposed over a run, next to its budget."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.training.round_record import Record


def exposure_figures(settings: ScheduleSettings, exposure_K: FloatArray, records: Sequence[Record]) -> dict[str, Any]:
    """Return ``exposure`` of summary.json; nothing in a run without an exposure budget.

    ``clients`` is what each has exposed, by id; ``rested`` in how many rounds a client took no part, its budget being
    spent, of those that ever did.
    """
    budget = settings.exposure
    if budget is None:
        return {}
    rested = Counter(client for record in records for client in record.get("rested", ()))
    return {
        "exposure": {
            "budget": budget.most,
            "highest": float(exposure_K.max()),
            "clients": {str(client): value for client, value in enumerate(exposure_K.tolist())},
            "rested": {str(client): rounds for client, rounds in sorted(rested.items())},
        }
    }

"""What an audit says of itself: its title, who made it and when, and a short name of the data."""

from typing import Annotated, Literal

from pydantic import Field

from dtfl_private.leakage.results.result import Name
from dtfl_private.verdicts.strict import Strict

LONGEST_TITLE = 120
LONGEST_ORGANISATION = 80

Inputs = Literal["images", "sequences"]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class About(Strict):
    """What stands at the head of a report; none of it changes what is measured.

    Attributes:
        title: as the user gave it; None for one made of data set, network and method.
        organisation: who ran the audit, as the user gave it.
        date: of the audit, in UTC, for example "2026-11-29".
        dataset: short name of the data set.
        inputs: what its records are.
    """

    title: Annotated[str, Field(min_length=1, max_length=LONGEST_TITLE)] | None = None
    organisation: Annotated[str, Field(min_length=1, max_length=LONGEST_ORGANISATION)] | None = None
    date: Day | None = None
    dataset: Name | None = None
    inputs: Inputs | None = None

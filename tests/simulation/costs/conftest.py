import pytest

from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.table import TierTable
from tests.simulation.costs.hand_made import hand_made


@pytest.fixture(scope="module")
def table() -> TierTable:
    return analyse(hand_made(), (2, 6, 6), 5, Numerics())

import pytest

from dtfl_private.errors import InputError
from dtfl_private.simulation.costs.table import TierTable


def test_the_deepest_cuts_are_kept(table):
    assert table.deepest(2) == table
    assert table.deepest(1).rows == table.rows[1:]
    assert table.deepest(1).forward_macs == table.forward_macs


@pytest.mark.parametrize("count", [-1, 0, 3])
def test_more_cuts_than_there_are_or_none_are_refused(table, count):
    with pytest.raises(InputError, match=f"tiers {count} is out of range: this network has 2 tiers"):
        table.deepest(count)


def test_a_table_of_some_tiers_has_their_rows(four_tiers: TierTable):
    assert four_tiers.only([4, 1, 9]).rows == (four_tiers.rows[0], four_tiers.rows[3])

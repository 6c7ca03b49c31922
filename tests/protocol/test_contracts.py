import pytest

from dtfl_private.protocol.contracts import tier_names


@pytest.mark.parametrize(("tiers", "text"), [([3], "3"), ([1, 2], "1..2"), ([2, 3, 4], "2..4"), ([1, 2, 4], "1, 2, 4")])
def test_tiers_are_named_shortly_only_where_none_is_missing(tiers, text):
    assert tier_names(tiers) == text

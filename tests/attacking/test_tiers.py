"""Which tiers can be attacked."""

import pytest
from attack_reports import of
from fast_attacks import LeastSquares

from dtfl_private.errors import InputError


def test_where_clients_keep_the_whole_network_its_tier_is_left_out_unless_it_is_named(trained, mount):
    """In the other tiers of such a run attacks are as in any other."""
    folder = trained(method="dtfl-full", scheduler="static:4")
    with pytest.raises(
        InputError, match=r"none of the attacks can run .* is not made for clients that train the whole"
    ):
        mount(folder, [LeastSquares()])
    with pytest.raises(InputError, match="least-squares is not made for clients that train the whole network"):
        mount(folder, [LeastSquares()], tiers=[4])
    report = mount(folder, [LeastSquares()], tiers="all")
    assert {result.tier for result in report.results} == {1, 2, 3}
    assert of(mount(folder, [LeastSquares()], tiers=[1]), "mse").value > 0

"""Which tiers can be attacked."""

import pytest
from attack_reports import of
from fast_attacks import LeastSquares

from dtfl_private.errors import InputError


def test_where_clients_keep_the_whole_network_there_is_nothing_to_attack(trained, mount):
    """In the other tiers of such a run attacks are as in any other."""
    folder = trained(method="dtfl-full", scheduler="static:4")
    with pytest.raises(InputError, match=r"all clients kept the whole network .*, by --tier 1..3 or --tier all"):
        mount(folder, [LeastSquares()])
    with pytest.raises(InputError, match=r"clients in tier 4 keep the whole network.* attack tier 1..3"):
        mount(folder, [LeastSquares()], tiers=[4])
    report = mount(folder, [LeastSquares()], tiers="all")
    assert {result.tier for result in report.results} == {1, 2, 3}
    assert of(mount(folder, [LeastSquares()], tiers=[1]), "mse").value > 0

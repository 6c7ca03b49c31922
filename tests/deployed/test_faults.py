"""Faults at random moments: each run ends with the survivors, and its averages are those of the updates it has had."""

import pytest

from tests.deployed.faults import check, run_with_faults


@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_that_is_disturbed_at_random_ends_and_averages_what_it_has_acknowledged(tmp_path, seed):
    run = run_with_faults(tmp_path, faults=5, seed=seed, rounds=4)
    counted = check(run)
    assert counted["rounds"] == 4
    assert counted["updates"] > 0

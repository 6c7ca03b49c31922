"""How fast the server is, by what it has measured of itself; and what is said of a run with real clients."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dtfl_private.deployed.server.played_round import Played
from dtfl_private.deployed.server.registry import Registry
from dtfl_private.deployed.server.wall_clock import WallClock
from dtfl_private.experiments.opening_lines import opening_lines

# Two tiers: behind the first the server has 1000 operations an image, behind the second 10.
TABLE = SimpleNamespace(tiers_M=np.array([1, 2]), column=lambda _: np.array([1000, 10]))
SETTINGS = SimpleNamespace(table=TABLE)
DEEP = Played(client=0, tier=2, images=100, server_s=5.0)
SHALLOW = Played(client=1, tier=1, images=100, server_s=2.0)


@pytest.fixture
def clock() -> WallClock:
    return WallClock(Registry(2), None, None, images=lambda: np.array([1, 1]), waiting=print)


def test_steps_of_next_to_nothing_do_not_say_how_fast_the_server_is(clock):
    clock._note_server([DEEP], SETTINGS)
    assert clock._server_s_per_mac is None
    clock._note_server([DEEP, SHALLOW], SETTINGS)
    assert clock._server_s_per_mac == pytest.approx(2.0 / (100 * 1000))


def test_the_server_is_as_fast_as_on_average_of_late(clock):
    for seconds in (2.0, 4.0):
        clock._note_server([replace(SHALLOW, server_s=seconds)], SETTINGS)
    assert clock._server_s_per_mac == pytest.approx(3.0 / (100 * 1000))


def test_a_run_by_this_clock_says_of_no_client_how_its_images_were_dealt_out(prepare_tiny, clock, tmp_path):
    prepared = prepare_tiny()
    simulated = opening_lines(prepared.config, tmp_path, prepared.settings)
    real = opening_lines(prepared.config, tmp_path, replace(prepared.settings, clock=clock))
    assert simulated[1].startswith("3 clients, iid, ")
    assert real[1] == simulated[1].replace("3 clients, iid", "3 real clients")
    assert real[2:] == simulated[2:]

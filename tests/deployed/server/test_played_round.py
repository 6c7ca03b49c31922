"""What a client claims of its computing time, against what the server saw."""

import pytest

from dtfl_private.deployed.server.played_round import Played, believable_compute_s, beyond_computing_s, transfer_seconds
from dtfl_private.deployed.server.registry import Link


def played(**seen: float) -> Played:
    return Played(client=0, tier=1, **seen)


@pytest.mark.parametrize(
    ("claimed_s", "believed_s"),
    [
        (5.0, 5.0),
        (0.0, 4.0),  # of 10 s, 3 s of transfers, 2 s of waiting and 1 s of the server leave 4 s to explain
        (3.9, 4.0),
        (1e9, 10.0),  # and the round itself has lasted 10 s
    ],
)
def test_claims_stay_within_what_the_server_saw(claimed_s, believed_s):
    round_ = played(round_s=10.0, server_s=1.0, waited_s=2.0)
    assert believable_compute_s(claimed_s, round_, transfer_s=3.0) == pytest.approx(believed_s)


def test_a_link_slower_than_measured_explains_nothing_below_zero():
    assert believable_compute_s(0.0, played(round_s=1.0), transfer_s=30.0) == 0.0


def test_bytes_of_both_directions_and_a_round_trip_take_time():
    link = Link(up_bytes_s=100.0, down_bytes_s=50.0, latency_s=0.25)
    assert transfer_seconds(played(bytes_in=200, bytes_out=100), link) == pytest.approx(0.5 + 2.0 + 2.0)


@pytest.mark.parametrize(
    ("workers", "beyond_s"),
    [
        (4, 2.0),  # the slowest client computes for 6 of 8 s, the server for 7 s of work on four workers
        (2, 2.0),
        (1, 1.0),  # one after the other
    ],
)
def test_what_a_round_lasts_beyond_computing(workers, beyond_s):
    seen = [played(claimed_s=6.0, server_s=2.0), played(claimed_s=1.0, server_s=5.0)]
    assert beyond_computing_s(8.0, seen, workers) == pytest.approx(beyond_s)
    assert beyond_computing_s(5.0, seen, workers) == 0.0

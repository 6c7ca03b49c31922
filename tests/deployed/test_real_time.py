"""Tiers by measured time: how slow a client is shows in its tier, also from the middle of a run on."""

from tests.deployed.federation import Hooks, federation

CUT_IN = 4
"""The round from which on the third client is slower than all others."""
SLOW_S, SLOWER_S = 0.5, 1.5
"""Seconds that a batch of a slow client takes longer: much more than a batch takes here."""


def test_a_slow_client_has_a_shallower_tier_and_one_that_becomes_slow_gets_one_within_three_rounds(tmp_path):
    with federation(
        tmp_path, scheduler="dynamic", first_tier="deepest", allowed_tiers=[2, 3, 4], rounds=CUT_IN + 3
    ) as made:
        server = made.serve()
        made.join(0, hooks=Hooks(slow=(SLOW_S,)))
        made.join(1)
        made.join(2, hooks=Hooks(slow=(0.0,) * CUT_IN + (SLOWER_S,)))
        records = [server.wait_for("round") for _ in range(CUT_IN)]
        tiers = records[-1]["tiers"]
        seen = [(record["tiers"], record["client_compute_s"], record["client_time_s"]) for record in records]
        assert tiers["0"] < tiers["1"], seen
        assert tiers["0"] < tiers["2"], seen
        assert records[-1]["client_compute_s"]["0"] > 2 * SLOW_S
        later = []
        while not later or later[-1]["tiers"]["2"] >= tiers["2"]:
            assert len(later) < 3, [record["tiers"] for record in [*records, *later]]
            later.append(server.wait_for("round"))

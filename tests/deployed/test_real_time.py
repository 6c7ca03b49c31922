"""Tiers by measured time: how much CPU a client has shows in its tier, also from the middle of a run on."""

from tests.deployed.federation import Peer, federation

SHARE = 0.05
"""Of a core, which a limited client has: a machine on which much else goes on may leave a third to all others."""
WITHIN = 3
"""Rounds in which the scheduler has to find out."""


def rounds_until_shallower(server: Peer, client: int, others: list[int]) -> list[dict[str, int]]:
    """Return the tiers of all rounds until a client has a shallower one than all others have."""
    tiers: list[dict[str, int]] = []
    while not tiers or tiers[-1][str(client)] >= min(tiers[-1][str(other)] for other in others):
        assert len(tiers) < WITHIN, tiers
        tiers.append(server.wait_for("round")["tiers"])
    return tiers


def test_a_client_whose_cpu_limit_is_cut_gets_a_shallower_tier_within_three_rounds(tmp_path):
    with federation(tmp_path, scheduler="dynamic", first_tier="deepest", allowed_tiers=[2, 3, 4], rounds=100) as made:
        server = made.serve()
        clients = made.join_all()
        assert server.wait_for("round")["tiers"] == {"0": 4, "1": 4, "2": 4}
        with clients[0].limited(SHARE):
            rounds_until_shallower(server, 0, [1, 2])
        # The other way round, in the same run: what is known of both is out of date.
        with clients[2].limited(SHARE):
            rounds_until_shallower(server, 2, [1])

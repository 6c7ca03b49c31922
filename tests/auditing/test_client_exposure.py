import json

from dtfl_private.auditing.client_exposure import rounds_by_tier


def test_clients_are_exposed_by_where_they_really_were(trained, examine):
    folder = trained()
    findings = examine(folder, seeds=1).findings
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    for client in findings.clients:
        tiers = [record["tiers"][str(client.client)] for record in records if str(client.client) in record["tiers"]]
        assert client.releases == sum(client.by_tier.values()) == len(tiers)
        assert client.shallowest == min(tiers)
        best = {result.tier: result.value for result in findings.strongest if result.metric == client.metric}
        assert client.value == max(best[tier] for tier in tiers)
    used = set(records[-1]["tiers"].values())
    assert {result.tier for result in findings.as_scheduled} == used


def test_rounds_with_the_whole_network_expose_no_activations_and_are_named_as_not_tested(trained, examine):
    folder = trained(method="dtfl-full", scheduler="random", rounds=4)
    findings = examine(folder, seeds=1).findings
    assert findings.training.tiers == (1, 2, 3, 4)
    assert {verdict.tier for verdict in findings.verdict} == {1, 2, 3}
    rounds = [json.loads(line)["tiers"] for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert any(4 in tiers.values() for tiers in rounds)
    for client in findings.clients:
        cut = [tiers[str(client.client)] for tiers in rounds if tiers[str(client.client)] < 4]
        assert (client.rounds, client.releases) == (4, len(cut))
        assert client.shallowest == min(cut, default=None)
    (told,) = [entry.why for entry in findings.not_tested if entry.what == "least-squares at tier 4"]
    assert "is not made for clients that train the whole network" in told
    assert not any(entry.why == "not asked for (--tier)" for entry in findings.not_tested)
    assert {result.tier for result in findings.as_scheduled} == {tier for tier in rounds[-1].values() if tier < 4}


def record(tiers, *, refused=(), kept=()):
    guard = [{"client": client, "refused": client in refused} for client in (*refused, *kept)]
    return {"tiers": {str(client): tier for client, tier in tiers.items()}, "guard": guard}


def test_a_round_counts_unless_the_clients_guard_refused_it():
    records = [record({0: 1, 1: 2}), record({0: 1, 2: 3}, refused=[2]), record({0: 2, 1: 2}, kept=[1])]
    assert rounds_by_tier(records) == {0: {1: 2, 2: 1}, 1: {2: 2}}

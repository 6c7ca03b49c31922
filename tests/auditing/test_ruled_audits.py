"""Audits of runs whose defenses have rules: what is said of each tier."""

PROFILES = [{"name": name, "cpus": 1.0, "up_mbit_s": 10.0, "down_mbit_s": 10.0} for name in ("phone", "laptop")]


def test_each_tiers_verdict_says_what_protects_it(trained, examine):
    rules = ["gaussian-noise:sd=3@tier>=2", "label-rr:epsilon=1@tier=3"]
    found = examine(trained(defense=rules), undefended="none").findings
    said = {verdict.tier: verdict.sentence for verdict in found.verdict}
    assert said[1].endswith("Not defended at this tier: no defense of the run acts there.")
    assert said[2].endswith("Defended at this tier by gaussian-noise.")
    assert said[3].endswith("Defended at this tier by gaussian-noise, label-rr.")
    assert found.training.defense == ("gaussian-noise:sd=3@tier>=2", "label-rr:epsilon=1,correct=True@tier=3")
    (labels,) = [entry for entry in found.guarantees if entry.what == "labels"]
    assert labels.epsilon is None
    assert "no guarantee (no epsilon) over the whole run" in labels.sentence


def test_clients_with_more_defenses_than_those_attacked_are_among_what_was_not_tested(trained, examine):
    run = trained(defense=["gaussian-noise:sd=3@profile=phone"], profiles=PROFILES, clients=4)
    found = examine(run, undefended="none", tiers=[2]).findings
    (verdict,) = found.verdict
    assert "Not defended at this tier at clients of profile laptop" in verdict.sentence
    assert "clients with more defenses" in [one.what for one in found.not_tested]


def test_without_rules_nothing_is_added(trained, examine):
    found = examine(trained(defense=["gaussian-noise:sd=3"]), undefended="none", tiers=[2]).findings
    assert "at this tier" not in found.verdict[0].sentence
    assert "clients with more defenses" not in [one.what for one in found.not_tested]

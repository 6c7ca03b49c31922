from audit_progress import HeardJobs
from fast_attacks import LeastSquares

from dtfl_private.auditing import auxiliary_curve
from dtfl_private.plugins.registry import create


def test_the_progress_expects_as_many_jobs_as_there_are(trained, examine, monkeypatch):
    noise = [create("defense", "gaussian-noise:sd=0.1")]
    monkeypatch.setattr(auxiliary_curve, "SIZES", (15, 30))
    for settings in ({}, {"defenses": noise, "aux_curve": "on", "seeds": 1}):
        heard = HeardJobs()
        folder = trained(**{name: value for name, value in settings.items() if name == "defenses"})
        examine(folder, callbacks=[heard], out=folder / "watched", tiers=(1, 3), **settings)
        done = sum(map(len, heard.kept.values()))
        assert not heard.running
        assert heard.expected == len(heard.announced) == done


def test_clients_are_attacked_as_scheduled_only_in_audited_tiers_that_were_used(opened, plan):
    used = sorted(set(opened().plan.tiers_P.tolist()))
    assert 0 < len(used) < 3
    assert plan(opened()).scheduled_tiers == used
    (unused, *_) = {1, 2, 3} - set(used)
    assert plan(opened(), tiers=(unused,)).scheduled_tiers == []
    assert plan(opened(), tiers=(used[0],)).scheduled_tiers == used[:1]


def test_the_findings_say_how_many_steps_the_attacks_made(trained, examine):
    attacks = [LeastSquares(), create("attack", "optimization:steps=5,smoothness=0.1,lr=0.1")]
    few = {"tiers": (1,), "seeds": 1}
    assert examine(trained(), attacks, **few).findings.settings["steps"] == "optimization (steps=5)"
    assert examine(trained(), out=trained() / "other", **few).findings.settings["steps"] is None

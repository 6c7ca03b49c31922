import pytest
from fast_attacks import Blind, LeastSquares

from dtfl_private.attacking.runner import AttackReport
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.auditing import attack_as_scheduled as scheduled
from dtfl_private.auditing.attack_as_scheduled import attack_as_scheduled
from dtfl_private.runtime.callback import Callback


@pytest.fixture
def mounted(figure, monkeypatch):
    """The attacks that are mounted, as (names, tiers, victims); each finds one figure, and one trivial guess."""
    found = []

    def attack(folder, config, *, attacks, **_):
        found.append(([type(one).__name__ for one in attacks], config.tiers, config.victims))
        results = [figure(1, 0.5), figure(1, 0.2, source="mean-image", adversary=None)]
        return AttackReport(results=results, verdicts=(), path=folder.path, pictures=(), remarks=())

    monkeypatch.setattr(scheduled, "attack", attack)
    return found


def test_each_tier_is_attacked_by_what_reached_most_there(opened, plan, figure, mounted, tmp_path):
    audit = plan(opened(), [LeastSquares(), Blind()])
    assert audit.scheduled_tiers == [2, 3]
    reached = {("LeastSquares", 2): 0.3, ("Blind", 2): 0.4, ("LeastSquares", 3): 0.6, ("Blind", 3): 0.1}
    verdicts = [
        Verdict(job=job, results=[figure(job.tier, reached.get((type(job.chosen.attack).__name__, job.tier), 0.9))])
        for job in audit.jobs
    ]
    report = AttackReport(results=(), verdicts=verdicts, path=tmp_path, pictures=(), remarks=())
    results = attack_as_scheduled(audit, report, Callback())
    assert mounted == [(["Blind"], (2,), 4), (["LeastSquares"], (3,), 4)]
    assert [result.source for result in results] == ["decoder", "decoder"]


def test_a_tier_where_no_image_was_reconstructed_is_not_attacked_again(opened, plan, figure, mounted, tmp_path):
    audit = plan(opened())
    verdicts = [Verdict(job=job, results=[figure(job.tier, 0.9, metric="mse")]) for job in audit.jobs]
    report = AttackReport(results=(), verdicts=verdicts, path=tmp_path, pictures=(), remarks=())
    assert attack_as_scheduled(audit, report, Callback()) == []
    assert mounted == []

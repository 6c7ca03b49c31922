import json

import pytest
from attack_reports import Heard, of
from fast_attacks import LeastSquares

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.scoring.results_file import remarks, with_undefended, write_results
from dtfl_private.leakage.results.result import read_results
from dtfl_private.plugins.registry import create
from dtfl_private.runtime.callback import Callback


def test_a_blind_eye_to_the_defense_is_recorded_as_such(trained, mount):
    report = mount(trained(), [LeastSquares(adaptive=False)], tiers=[1])
    assert not of(report, "mse").adaptive
    assert "not adaptive make defenses look better" in report.remarks[-1]


def test_other_settings_are_another_attack(trained, mount):
    mount(trained(), [LeastSquares()], tiers=[2])
    heard = Heard()
    report = mount(trained(), [LeastSquares(ridge=1.0)], tiers=[2], callbacks=[heard])
    assert heard.kept == [False]
    both = read_results(report.path)
    assert {result.settings["ridge"] for result in both if result.source == "least-squares"} == {1e-3, 1.0}


@pytest.fixture
def plan(opened, tmp_path):
    """Plan attacks, or least squares, on a tiny run: ``plan(run settings, attacks, **settings of these)``."""

    def make(run=None, attacks=None, **values):
        config = AttackConfig.model_validate({"victims": 8, "seeds": 1, "aux_images": 24, "device": "cpu", **values})
        return plan_attack(opened(**(run or {})), config, attacks or [LeastSquares()], tmp_path)

    return make


def test_results_of_other_attacks_on_the_same_round_stay(plan, figure):
    first, second = figure(1, 0.5), figure(1, 0.4, source="hybrid")
    write_results(plan(), [first], Callback())
    assert write_results(plan(), [second], Callback()) == [first, second]
    assert write_results(plan(), [figure(1, 0.6)], Callback()) == [second, figure(1, 0.6)]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda document: {**document, "round": 1}, "was of another round of this run; it is replaced"),
        (lambda _: {}, "; it is replaced"),
    ],
)
def test_what_is_of_another_round_or_cannot_be_read_is_replaced_and_that_is_said(plan, figure, tmp_path, spoil, said):
    heard, path = Heard(), tmp_path / "attack.json"
    write_results(plan(), [figure(1, 0.5)], heard)
    assert heard.notes == []
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    new = figure(1, 0.4, source="hybrid")
    assert write_results(plan(), [new], heard) == [new]
    assert read_results(path) == [new]
    (note,) = heard.notes
    assert note.endswith(said)


def test_the_same_attack_by_tier_metric_and_settings_is_the_counterpart(figure):
    own = [figure(1, 0.5), figure(1, 0.5, settings={"epochs": 3}), figure(2, 0.5), figure(1, 0.5, metric="psnr")]
    undefended = [figure(1, 0.9), figure(1, 0.8, settings={"epochs": 3}), figure(1, 0.7, adaptive=False)]
    assert [result.undefended for result in with_undefended(own, undefended)] == [0.9, 0.8, None, None]


def test_whose_records_were_attacked_with_what_knowledge_is_said(plan):
    whose, known = remarks(plan())
    assert whose == "attacked: 8 images of round 2, the same clients placed in each tier, 1 repetition"
    assert known == "adversary's data: same, 20 images of object:ImageDataset to train on"
    there, _ = remarks(plan(as_scheduled=True, seeds=3))
    assert there.endswith("round 2, clients in the tiers that they really were in, 3 repetitions")
    noise = [create("defense", "gaussian-noise:sd=5.0")]
    *_, alone = remarks(plan({"defenses": noise}))
    assert "--undefended train adds the same run without" in alone


def test_how_many_steps_the_attacks_make_is_said(plan):
    attacks = [create("attack", text) for text in ("optimization:steps=9", "hybrid:effort=0.1")]
    *_, budget = remarks(plan(attacks=attacks))
    assert budget == (
        "steps at each tier, in each repetition: optimization (steps=9); hybrid (decoder_steps=400, steps=100); a "
        "search's are for every victim"
    )

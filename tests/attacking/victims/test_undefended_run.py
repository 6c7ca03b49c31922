import pytest
from attack_reports import Heard, of
from fast_attacks import LeastSquares

from dtfl_private.attacking.victims import undefended_run
from dtfl_private.attacking.victims.undefended_run import as_long_as, undefended_folder
from dtfl_private.errors import InputError
from dtfl_private.experiments.train import train
from dtfl_private.plugins.registry import create


def test_the_undefended_run_is_attacked_too(trained, mount):
    noise = [create("defense", "laplace-noise:sd=5")]
    folder = trained(defenses=noise)
    heard = Heard()
    report = mount(
        folder, [LeastSquares()], tiers=[1], undefended="train", defenses=noise, victims=24, callbacks=[heard]
    )
    found = of(report, "psnr")
    assert found.undefended > found.ci_high
    assert of(report, "psnr", "mean-image").undefended == of(report, "psnr", "mean-image").value
    with pytest.raises(InputError, match="is not this run without defenses"):
        mount(folder, [LeastSquares()], tiers=[1], undefended=str(trained(seed=9)), defenses=noise)
    with pytest.raises(InputError, match="has no defenses: leave --undefended out"):
        mount(trained(), [LeastSquares()], undefended="train")


def test_where_nobody_was_in_the_recorded_tiers_without_defenses_they_are_played_there(trained, mount, monkeypatch):
    """As of deployed runs, whose clients had the tiers that their real speed gave them."""
    noise = [create("defense", "laplace-noise:sd=5")]
    folder = trained(defenses=noise, scheduler="static:1", record_rounds=("last",))

    def scheduled_otherwise(config, **given):
        return train(config.model_copy(update={"scheduler": "static:2"}), **given)

    monkeypatch.setattr(undefended_run, "train", scheduled_otherwise)
    report = mount(folder, [LeastSquares()], undefended="train", defenses=noise, victims=24)
    assert {result.tier for result in report.undefended.results} == {1}
    assert "of recorded round" in "\n".join(report.remarks)
    assert "of recorded round" not in "\n".join(report.undefended.remarks)


def test_a_run_that_ended_early_is_compared_with_one_of_as_many_rounds(opened):
    run = opened()
    changes = {"rounds": 50, "stop_at_target": True, "target_accuracy": 0.5, "patience": 3}
    found = as_long_as(run, run.prepared.config.model_copy(update=changes))
    assert (found.rounds, found.stop_at_target, found.patience) == (2, False, None)


def test_a_run_without_defenses_may_lie_elsewhere(opened, trained, tmp_path):
    noise = [create("defense", "laplace-noise:sd=5")]
    run = opened(defenses=noise)
    assert undefended_folder(run, str(trained()), tmp_path / "unused").path == trained()
    assert not (tmp_path / "unused").exists()
    with pytest.raises(InputError, match=r"is not this run without defenses \(it has some\)"):
        undefended_folder(run, str(trained(defenses=noise)), tmp_path / "unused")

"""The frame of attacks, with a fast attack of the tests' own: least squares from smashed data to images."""

import json

import pytest
from attack_reports import Heard, of
from fast_attacks import Blind, LeastSquares

from dtfl_private.errors import InputError
from dtfl_private.leakage.results.result import read_results
from dtfl_private.plugins.registry import create


def test_results_have_what_the_interface_promises(trained, mount, tmp_path):
    report = mount(trained(), [LeastSquares()], tiers=[1, 2], seeds=2)
    document = json.loads((tmp_path / "out" / "attack.json").read_text())
    assert {"schema_version", "run", "threat_model", "victims", "aux", "results"} <= document.keys()
    assert document["threat_model"] == ["server-honest-but-curious"]
    keys = {"tier", "cut", "source", "metric", "value", "ci_low", "ci_high", "baseline", "undefended", "n", "seeds"}
    assert all(keys | {"adaptive"} <= result.keys() for result in document["results"])
    assert {result.tier for result in report.results} == {1, 2}
    assert {result.n for result in report.results} == {document["victims"]} == {8}
    assert len(read_results(report.path)) == len(report.results)


def test_a_sharp_attack_beats_the_trivial_guesses_and_a_blind_one_does_not(trained, mount):
    report = mount(trained(), [LeastSquares(), Blind()], tiers=[1], victims=36)
    sharp, blind = of(report, "mse"), of(report, "mse", "blind")
    assert sharp.ci_high < sharp.baseline
    assert blind.ci_high >= blind.baseline
    assert of(report, "psnr", "nearest-auxiliary").value > of(report, "psnr", "mean-image").value


def test_the_undefended_run_is_attacked_too(trained, mount):
    noise = [create("defense", "laplace-noise:sd=5")]
    folder = trained(defenses=noise)
    heard = Heard()
    report = mount(folder, [LeastSquares()], tiers=[1], undefended="train", defenses=noise, victims=24, listener=heard)
    found = of(report, "psnr")
    assert found.undefended > found.ci_high
    assert of(report, "psnr", "mean-image").undefended == of(report, "psnr", "mean-image").value
    with pytest.raises(InputError, match="is not this run without defenses"):
        mount(folder, [LeastSquares()], tiers=[1], undefended=str(trained(seed=9)), defenses=noise)
    with pytest.raises(InputError, match="has no defenses: leave --undefended out"):
        mount(trained(), [LeastSquares()], undefended="train")


def test_a_blind_eye_to_the_defense_is_recorded_as_such(trained, mount):
    report = mount(trained(), [LeastSquares(adaptive=False)], tiers=[1])
    assert not of(report, "mse").adaptive
    assert "not adaptive make defenses look better" in report.remarks[-1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tiers": [9]}, "tier 9 does not exist in this network: its tiers are 1, 2, 3"),
        ({"adversary": "nobody"}, "unknown adversary 'nobody'"),
        ({"aux_images": 3}, "too few"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(trained, mount, tmp_path, values, words):
    with pytest.raises(InputError, match=words):
        mount(trained(), [LeastSquares()], **values)
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_is_refused(mount, tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        mount(tmp_path, [LeastSquares()])

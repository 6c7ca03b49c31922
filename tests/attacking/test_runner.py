"""The frame of attacks, with a fast attack of the tests' own: least squares from smashed data to images."""

import json

import pytest
from attack_reports import of
from fast_attacks import Blind, LeastSquares

from dtfl_private.errors import InputError
from dtfl_private.leakage.results.result import read_results


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

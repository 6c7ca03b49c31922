import json
from typing import Any

import pytest
from pydantic import ValidationError

from dtfl_private.errors import InputError
from dtfl_private.leakage.results import result as module
from dtfl_private.leakage.results.result import Result, read_results, results_document

# The keys that interface.md fixes for results.
KEYS = "tier cut source metric value ci_low ci_high baseline undefended n seeds adaptive"
# Optional keys, which files of older versions have not; null where they are not known.
NEWER = "advantage advantage_ci_low advantage_ci_high p_value"
VALUES: dict[str, Any] = {
    "tier": 2,
    "cut": [16, 14, 14],
    "source": "decoder",
    "metric": "ssim",
    "value": 0.5,
    "ci_low": 0.4,
    "ci_high": 0.6,
    "baseline": 0.1,
    "undefended": None,
    "n": 100,
    "seeds": 3,
    "adaptive": True,
    "adversary": "server-honest-but-curious",
    "baseline_name": "mean-image",
    "settings": {"epochs": 50, "lr": 1e-3, "size": "small", "tv": None, "flip": False},
}


def made(**values: Any) -> Result:
    return Result.model_validate({**VALUES, **values})


def write(path, **values: Any):
    document = {"schema_version": 1, "run": "r", "results": [VALUES], **values}
    path.write_text(json.dumps(document))
    return path


def test_results_survive_a_file_exactly_and_the_header_stands_before_them(tmp_path):
    results = [made(), made(tier=3, value=1 / 3, ci_low=0.1, undefended=0.9, settings={})]
    document = results_document(results, {"run": "a run", "victims": 100})
    (tmp_path / "attack.json").write_bytes(document)
    assert read_results(tmp_path / "attack.json") == results
    parsed = json.loads(document)
    assert list(parsed) == ["schema_version", "run", "victims", "results"]
    assert set(KEYS.split()) <= parsed["results"][0].keys()
    assert parsed["results"][0] == {**VALUES, **dict.fromkeys(NEWER.split())}


def test_a_result_may_say_how_sure_it_is_that_it_beats_the_guess(tmp_path):
    sure = made(advantage=0.4, advantage_ci_low=0.3, advantage_ci_high=0.5, p_value=1e-9)
    (tmp_path / "attack.json").write_bytes(results_document([sure], {}))
    assert read_results(tmp_path / "attack.json") == [sure]


def test_a_result_cannot_be_changed():
    with pytest.raises(ValidationError):
        made().value = 0.45


@pytest.mark.parametrize(
    "values",
    [
        {"tier": 0},
        {"tier": 1.0},
        {"tier": True},
        {"cut": []},
        {"cut": [16, 0]},
        {"cut": [1] * 9},
        {"source": ""},
        {"source": "x" * 201},
        {"metric": 3},
        {"value": float("nan")},
        {"ci_high": float("inf")},
        {"value": "0.5"},
        {"value": 0.7},
        {"ci_low": 0.55},
        {"baseline": float("nan")},
        {"n": 0},
        {"seeds": -1},
        {"adaptive": 1},
        {"settings": {"a": [1]}},
        {"settings": {str(key): 1 for key in range(101)}},
        {"epsilon": 3},
    ],
)
def test_a_result_that_breaks_a_rule_is_refused(values):
    with pytest.raises(ValidationError):
        made(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"results": [{**VALUES, "n": 0}]}, r"results\.0\.n: .*greater than or equal to 1"),
        ({"results": [{**VALUES, "value": 0.9}]}, "not within its interval"),
        ({"results": {}}, "results: "),
        ({"schema_version": 2}, "schema_version 2, but this program reads 1"),
        ({"schema_version": "1"}, "schema_version"),
    ],
)
def test_a_file_with_wrong_content_is_refused_in_one_line(tmp_path, values, message):
    path = write(tmp_path / "attack.json", **values)
    with pytest.raises(InputError, match=message) as caught:
        read_results(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "NaN", '{"schema_version": 1, "results": [NaN]}', "\udcff"])
def test_what_is_no_such_json_is_refused(tmp_path, text):
    (tmp_path / "attack.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"results .*attack\.json"):
        read_results(tmp_path / "attack.json")


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_results(tmp_path / "attack.json")
    path = write(tmp_path / "attack.json")
    monkeypatch.setattr(module, "MAX_BYTES", path.stat().st_size)
    assert len(read_results(path)) == 1
    monkeypatch.setattr(module, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(InputError, match="larger than"):
        read_results(path)


def test_one_record_shows_no_spread_whatever_interval_a_file_gives_it():
    assert made().has_spread
    assert not made(n=1, seeds=1, ci_low=0.5, ci_high=0.5).has_spread

import json

import pytest

from dtfl_private.choosing.limits import parse_limits
from dtfl_private.choosing.points import Base, within
from dtfl_private.choosing.request import make_request, read_request, request_toml
from dtfl_private.choosing.space import parse_space
from dtfl_private.choosing.trial import Measured
from dtfl_private.choosing.trials_file import append_trial, read_trials
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED

SPACE = (
    '[[defense]]\nname = "gaussian-noise"\nsettings = { sd = { low = 0.1, high = 1.0 } }\n[train]\nwire = ["int8"]\n'
)


def trial(number: int) -> Measured:
    return Measured(trial=number, rung=0, point={"activations": "none", "x": 0.1}, outcome="done", accuracy=0.5)


def test_trials_are_read_as_they_were_appended_and_a_torn_line_is_dropped_for_good(tmp_path):
    path = tmp_path / "trials.jsonl"
    assert read_trials(path) == []
    for number in range(3):
        append_trial(path, trial(number))
    with path.open("a") as file:
        file.write('{"trial": 3, "ru')
    assert read_trials(path) == [trial(0), trial(1), trial(2)]
    append_trial(path, trial(3))
    assert read_trials(path) == [trial(number) for number in range(4)]


@pytest.mark.parametrize(
    "change",
    [
        {"trial": -1},
        {"accuracy": 2.0},
        {"accuracy": float("nan")},
        {"outcome": "fine"},
        {"point": {"x": {"y": 1}}},
        {"leaks": [{"limit": "a", "tier": 1, "source": "b", "value": 3.0, "end": 1.0, "other_end": 0.0, "n": 1}]},
        {"more": 1},
        {"wall_s": "1"},
    ],
)
def test_a_line_that_is_no_trial_is_refused_in_one_line(tmp_path, change):
    path = tmp_path / "trials.jsonl"
    path.write_text(json.dumps({**trial(0).model_dump(mode="json"), **change}) + "\n")
    with pytest.raises(InputError, match="damaged in line 1") as caught:
        read_trials(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"\n", b"null\n"])
def test_a_file_of_something_else_is_refused(tmp_path, data):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged in line 1"):
        read_trials(path)


def request_of(**asked):
    config = TrainConfig(rounds=3, clients=4, defense=["top-k:share=0.2"])
    space = within(parse_space(SPACE, "space"), Base(config=config, tiers=[1, 2, 3]))
    return make_request(config, space, **{"limits": ["ssim<=0.4", "mse>=0.01@tier<=2"], **asked})


@pytest.mark.parametrize("asked", [{"trials": 7}, {"hours": 0.5}, {"trials": 7, "seed": 3, "audits": 1}])
def test_a_request_survives_the_way_through_its_file(tmp_path, asked):
    request = request_of(**asked, max_accuracy_loss=0.1, max_time_ratio=2.0)
    path = tmp_path / "tune.toml"
    path.write_text(request_toml(request))
    assert read_request(path, NOTHING_ALLOWED) == request
    settled = request.settled(request.space, 9)
    path.write_text(request_toml(settled))
    assert read_request(path, NOTHING_ALLOWED) == settled


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ssim<=0.4", "sim<=0.4", "did you mean 'ssim'"),
        ("trials = 7", "trials = 1", "trials"),
        ("trials = 7", "trails = 7", "trails"),
        ("max_time_ratio = 1.5", "max_time_ratio = nan", "max_time_ratio"),
        ('dataset = "digits"', 'dataset = "os:system"', "allow|unknown"),
        ("rounds = 3", "round = 3", "unknown key"),
        ('name = "gaussian-noise"', 'name = "os:system"', "installed defenses only"),
        ("[tune]", "[tuned]", "expected the tables tune, config and space"),
        ("[tune]", "[tune", "cannot be read"),
    ],
)
def test_a_request_of_unknown_origin_is_checked(tmp_path, old, new, says):
    text = request_toml(request_of(trials=7))
    assert old in text
    path = tmp_path / "tune.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=says) as caught:
        read_request(path, NOTHING_ALLOWED).config.require_allowed()
    assert "\n" not in str(caught.value)


def test_trials_and_hours_contradict_each_other():
    with pytest.raises(InputError, match="give one of them"):
        request_of(trials=7, hours=1.0)
    with pytest.raises(InputError, match="no limit is given"):
        request_of(limits=[])
    assert parse_limits(["ssim<=0.4"]) == request_of(limits=["ssim<=0.4"]).limits

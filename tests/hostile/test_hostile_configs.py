"""Whatever a configuration, preset or audit of another party holds, a command answers in one line: no traceback.

Each test of this folder spoils one kind of file in a bounded number of ways, always the same ones; the counts are
printed at the end.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spoiling import IN_PLACE, examples, json_of, toml_of

from dtfl_private.errors import InputError
from dtfl_private.experiments import train as train_command

CONFIG = {
    "rounds": 3,
    "partition": "dirichlet:0.5",
    "defense": ["gaussian-noise:sigma=0.5"],
    "record_rounds": [1, "last"],
    "target_accuracy": 0.5,
    "profiles": [{"name": "phone", "cpus": 0.5, "up_mbit_s": 10.0, "down_mbit_s": 20.0}],
}

PRESET = {
    "title": "a sweep",
    "seeds": [0, 1],
    "baseline": "fedavg",
    "config": {"clients": 3},
    "grid": [{"method": ["dtfl", "fedavg"]}],
    "sizes": {"small": {"rounds": 2, "targets": {"iid": 0.8}}},
}

ENGINE = {"macs_per_s": {"fp32": 1e12}, "bytes_per_s": 1e11, "launch_s": 1e-5, "efficiency": {"conv": 0.5}}

PROFILES = {"profile": [{**profile, "engines": {"gpu": ENGINE}} for profile in CONFIG["profiles"]]}

TRACES = {
    "client_device_capacity": {"7": {"computation": 162.0, "communication": 5648.1}},
    "client_behave_trace": {
        "9": {"duration": 1, "inactive": [88494, 93284], "finish_time": 518400, "active": [88494, 93283], "model": "SM"}
    },
}


def stopped(*_arguments: object, **_settings: object) -> None:
    raise InputError("stopped here: the file was accepted")


@pytest.fixture
def no_training(monkeypatch) -> None:
    monkeypatch.setattr("dtfl_private.experiments.train.train", stopped)


DEEP = b"a = " + b"[" * 100_000

LONG_KEY = b"a" + b".a" * 100_000 + b" = 1"

HUGE_NUMBER = b"rounds = 0x" + b"f" * 100_000


@given(data=toml_of(CONFIG))
@example(data=DEEP)
@example(data=LONG_KEY)
@example(data=HUGE_NUMBER)
@examples(60)
@pytest.mark.usefixtures("no_training")
def test_config(dtfl, tmp_path, count, data):
    (tmp_path / "c.toml").write_bytes(data)
    answer = dtfl("train", tmp_path / "c.toml", "--out", tmp_path / "run")
    assert answer.status == 2
    assert not (tmp_path / "run").exists()
    count()


@given(data=toml_of(PRESET))
@example(data=DEEP)
@example(data=LONG_KEY)
@examples(50)
def test_preset(dtfl, tmp_path, count, data):
    (tmp_path / "p.toml").write_bytes(data)
    assert dtfl("sweep", tmp_path / "p.toml", "--dry-run").status in (0, 2)
    count()


@given(data=toml_of(PROFILES))
@examples(25)
def test_profiles(dtfl, tmp_path, count, data):
    (tmp_path / "p.toml").write_bytes(data)
    plan = ("plan", "--clients", 2, "--rounds", 1, "--no-compare", "--model", "he-cnn", "--input-shape", "1x8x8")
    assert dtfl(*plan, "--profiles", tmp_path / "p.toml").status in (0, 2)
    count()


@given(data=json_of(TRACES))
@example(data=b"\x80\x04}q\x00.")
@example(data=b'{"client_device_capacity":' + b"[" * 100_000)
@examples(40)
def test_traces(dtfl, tmp_path, count, data):
    (tmp_path / "t.json").write_bytes(data)
    plan = ("plan", "--clients", 2, "--rounds", 1, "--no-compare", "--model", "he-cnn", "--input-shape", "1x8x8")
    assert dtfl(*plan, "--traces", tmp_path / "t.json").status in (0, 2)
    count()


@given(data=st.data())
@examples(40)
def test_audit_of_a_leakage_budget(dtfl, tmp_path, count, monkeypatch, audit, data):
    monkeypatch.setattr(train_command, "checked_place", stopped)
    path = tmp_path / "audit.json"
    audit["training"]["dataset"] = "digits:size=8"
    path.write_bytes(data.draw(json_of(audit)))
    small = ("--dataset", "digits:size=8", "--max-train-images", 20, "--clients", 2, "--workers", 1)
    assert dtfl("train", *small, "--leakage-budget", f"{path}:metric=ssim,max=0.5").status == 2
    count()


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("command", ["train", "sweep", "plan --profiles", "plan --traces", "train --leakage-budget"])
def test_what_stands_in_place_of_a_file_that_is_named(dtfl, tmp_path, count, command, kind):
    IN_PLACE[kind](tmp_path / "file.toml")
    name = f"{tmp_path / 'file.toml'}" + (":metric=ssim,max=0.5" if "budget" in command else "")
    assert dtfl(*command.split(), name).status == 2
    count()

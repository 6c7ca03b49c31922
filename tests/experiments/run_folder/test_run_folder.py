import json
import math
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.run_folder import provenance, rounds_file
from dtfl_private.experiments.run_folder.folder import RunFolder, create_run_folder, locked, require_no_links
from dtfl_private.experiments.run_folder.provenance import describe_environment
from dtfl_private.experiments.run_folder.rounds_file import append_record, keep_records, read_records
from dtfl_private.experiments.run_folder.summary import summarise, write_results
from dtfl_private.numerics import Numerics
from dtfl_private.training.record import Record, round_record

# The keys that interface.md promises, and what this release adds.
PROMISED = {
    *("round", "test_accuracy", "test_loss", "virtual_time_s", "round_time_s", "wall_time_s", "tiers"),
    *("client_time_s", "bytes", "macs", "participants", "dropped", "privacy"),
}
ADDED = {
    *("local_loss", "server_loss", "lr", "client_compute_s", "client_transfer_s", "server_wait_s"),
    *("guard", "retired", "oracle_time_s"),
}


def a_record(number: int, **changes):
    return {
        "round": number,
        "test_accuracy": 0.5,
        "test_loss": 1.5,
        "local_loss": 1.0,
        "server_loss": None,
        "lr": 1e-3,
        "virtual_time_s": 10.0 * number,
        "round_time_s": 10.0,
        "wall_time_s": 0.25,
        "participants": [0, 3],
        "dropped": [3],
        "tiers": {"0": 1, "3": 2},
        "client_time_s": {"0": 9.5, "3": 10.0},
        "client_compute_s": {"0": 9.0, "3": 8.0},
        "client_transfer_s": {"0": 0.5, "3": 2.0},
        "server_wait_s": 0.0,
        "bytes": {"down_weights": 1, "up_weights": 2, "up_smashed": 3, "up_labels": 4},
        "macs": {"client": 5, "server": 6},
        "privacy": [
            {"what": "weights", "epsilon": 1.5, "delta": 1e-5, "per": "record", "sentence": "so much", "client": 2}
        ],
        "guard": [{"client": 1, "text": "jumped", "refused": True}],
        "retired": [0],
        **changes,
    }


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return create_run_folder(tmp_path / "run", "rounds = 1\n", {"python": "3"})


def test_a_run_folder_appears_whole(folder):
    assert folder.config.read_text() == "rounds = 1\n"
    assert json.loads(folder.environment.read_text()) == {"python": "3"}
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.toml", "environment.json"]
    assert list(folder.path.parent.iterdir()) == [folder.path]


def test_parents_of_a_run_folder_are_made_and_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a" / "b" / "run", tmp_path / "empty"):
        assert create_run_folder(path, "", {}).config.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty"]


@pytest.mark.parametrize("name", ["taken", "file", "file/run", ".", "", "..", "taken/.."])
def test_where_no_folder_can_be_made_nothing_is_left_behind(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("taken").mkdir()
    Path("taken", "mine").write_text("")
    Path("file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="cannot be made"):
        create_run_folder(Path(name), "", {})
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_process_of_the_same_number_left_behind_does_no_harm(tmp_path):
    draft = tmp_path / f".run.tmp-{os.getpid()}"
    draft.mkdir()
    (draft / "config.toml").write_text("half")
    (draft / "more").write_text("")
    folder = create_run_folder(tmp_path / "run", "whole", {})
    assert folder.config.read_text() == "whole"
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.toml", "environment.json"]


def test_a_folder_is_held_by_one_at_a_time_and_let_go_after_an_error(folder):
    def fail_inside():
        with locked(folder):
            raise ZeroDivisionError

    in_use = r"'.*run' is in use by another process: wait, or choose another --out"
    with locked(folder), pytest.raises(InputError, match=in_use):
        fail_inside()
    with pytest.raises(ZeroDivisionError):
        fail_inside()
    with locked(folder):
        pass


def test_a_folder_held_by_another_process_is_refused_until_that_is_gone(folder):
    holding = (
        "import sys; from pathlib import Path; import fcntl, os; "
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use by another process"), locked(folder):
            pass
        process.kill()
    with locked(folder):
        pass


def test_a_record_has_the_promised_keys_and_the_figures_of_the_round(prepare_tiny, play):
    prepared = prepare_tiny(clients=6, dropout=0.5, fraction=0.7, seed=4)
    _, outcome = play(prepared)[0]
    line = round_record(outcome, 1.23456)
    assert set(line) == PROMISED | ADDED == set(Record.__annotations__)
    plan = outcome.plan
    assert line["round"] == 1
    assert line["wall_time_s"] == 1.235
    assert line["participants"] == plan.clients_P.tolist()
    assert 0 < len(line["dropped"]) < len(line["participants"]) == 4
    ids = [str(client) for client in line["participants"]]
    for key, values in (
        ("tiers", plan.tiers_P),
        ("client_time_s", plan.client_time_s_P),
        ("client_compute_s", plan.compute_s_P),
        ("client_transfer_s", plan.transfer_s_P),
    ):
        assert line[key] == dict(zip(ids, values.tolist(), strict=True))
    assert [int(k) for k in ids if plan.dropped_P[ids.index(k)]] == line["dropped"]
    assert line["round_time_s"] == max(line["client_time_s"].values())
    assert set(line["bytes"]) == {
        *("down_weights", "up_weights", "up_smashed", "up_labels", "up_statistics", "down_statistics")
    }
    assert set(line["macs"]) == {"client", "server"}
    assert [(entry["what"], entry["epsilon"], entry["sentence"]) for entry in line["privacy"]] == [
        ("smashed", None, "smashed data and labels are sent in clear"),
        ("labels", None, "smashed data and labels are sent in clear"),
        ("weights", None, "weight updates are sent in clear"),
        (
            "statistics",
            None,
            "each client's pixel count, sum and sum of squares per channel are sent once, in clear",
        ),
    ]
    assert line["guard"] == line["retired"] == []
    assert json.loads(json.dumps(line, allow_nan=False)) == line


def test_records_are_appended_one_line_each_and_read_back(folder):
    assert read_records(folder) == ([], None)
    lines = [a_record(1), a_record(2, local_loss=None)]
    for number, line in enumerate(lines, start=1):
        append_record(folder, line)
        assert folder.rounds.read_text().count("\n") == number
    assert read_records(folder) == (lines, None)


def test_a_number_that_json_lacks_is_never_written(folder):
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            append_record(folder, a_record(1, test_loss=bad))
    assert read_records(folder) == ([], None)


@pytest.mark.parametrize("keep", [1, 40, -2, -1])
def test_a_torn_last_line_is_said_and_dropped(folder, keep):
    append_record(folder, a_record(1))
    whole = folder.rounds.read_bytes()
    append_record(folder, a_record(2))
    torn = folder.rounds.read_bytes()[len(whole) :][:keep]
    folder.rounds.write_bytes(whole + torn)
    records, remark = read_records(folder)
    assert records == [a_record(1)]
    assert remark == "the last line of rounds.jsonl was torn and is dropped"
    keep_records(folder, records)
    assert folder.rounds.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"[]", ""),
        (json.dumps(a_record(3)).encode(), "it is of round 3"),
        (json.dumps(a_record(2, bytes=None)).encode(), "bytes"),
        (json.dumps(a_record(2, test_loss=math.nan)).encode(), "test_loss"),
        (json.dumps({"round": 2}).encode(), "test_accuracy"),
        (json.dumps(a_record(2, more=1)).encode(), "more"),
    ],
)
def test_a_line_that_is_damaged_before_the_last_is_an_error_that_names_it(folder, line, said):
    whole = [json.dumps(a_record(number)).encode() for number in (1, 3)]
    folder.rounds.write_bytes(b"\n".join([whole[0], line, whole[1], b""]))
    with pytest.raises(RunError, match=rf"rounds.jsonl is damaged in line 2 \(.*{said}") as caught:
        read_records(folder)
    assert "\n" not in str(caught.value)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.floats(allow_nan=False, allow_infinity=False), count=st.integers(0, 2**60))
def test_rewriting_records_changes_no_bit_of_them(folder, value, count):
    # A resume reads the records and writes them again; it must end with the bytes of the uninterrupted run.
    line = a_record(
        1, test_loss=value, client_time_s={"0": value / 3, "3": -value}, macs={"client": count, "server": 1}
    )
    folder.rounds.unlink(missing_ok=True)
    append_record(folder, line)
    before = folder.rounds.read_bytes()
    keep_records(folder, read_records(folder)[0])
    assert folder.rounds.read_bytes() == before


def test_a_summary_holds_the_last_the_best_and_the_first_that_reached_the_target():
    accuracies = [0.2, 0.6, 0.9, 0.9, 0.7]
    records = [a_record(n, test_accuracy=accuracy) for n, accuracy in enumerate(accuracies, start=1)]
    summary = summarise(records, 0.6, 5)
    assert summary["rounds"] == 5
    assert summary["finished"] is True
    assert (summary["final_accuracy"], summary["best_accuracy"], summary["best_round"]) == (0.7, 0.9, 3)
    assert (summary["rounds_to_target"], summary["time_to_target_s"]) == (2, 20.0)
    assert summary["virtual_time_s"] == 50.0
    assert summary["wall_time_s"] == 1.25
    assert summary["bytes"] == {"down_weights": 5, "up_weights": 10, "up_smashed": 15, "up_labels": 20}
    assert summary["macs"] == {"client": 25, "server": 30}
    assert summary["last_round"] == records[-1]


@pytest.mark.parametrize("target", [None, 0.95])
def test_a_target_that_was_not_reached_or_not_set_has_no_time(target):
    summary = summarise([a_record(1), a_record(2)], target, 3)
    assert summary["finished"] is False
    assert summary["target_accuracy"] == target
    assert summary["rounds_to_target"] is None
    assert summary["time_to_target_s"] is None


def test_equal_results_are_equal_files(folder):
    # 20 writes: were the order of keys left to chance, all being equal would have a probability of 24^-19.
    model = {f"layer.{n}": torch.full((2, 3), float(n)) for n in range(5)}
    model["strided"] = torch.arange(12.0).view(3, 4).T
    description = {"model": "resnet-8", "dataset": "digits", "norm": "batch", "round": "2"}
    contents = set()
    for _ in range(20):
        write_results(folder, model, summarise([a_record(1)], None, 1), description)
        contents.add(folder.model.read_bytes())
    assert len(contents) == 1
    loaded = safetensors.torch.load_file(folder.model)
    assert loaded.keys() == model.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.items())
    with safetensors.safe_open(folder.model, "pt") as file:
        assert json.loads(file.metadata()["run"]) == description
    assert json.loads(folder.summary.read_text())["rounds"] == 1


def test_the_environment_says_versions_device_and_commit():
    found = describe_environment(Numerics(), workers=3, data_sha256="0f")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["torch"] == version("torch")
    assert set(found["versions"]) >= {"dtfl-private", "torch", "numpy"}
    assert (found["device"], found["workers"], found["threads_per_worker"]) == ("cpu", 3, 1)
    json.dumps(found)


def test_without_git_or_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    def no_git(*_args, **_settings):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", no_git)
    assert describe_environment(Numerics(), workers=1, data_sha256="0f")["commit"] is None
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "dtfl_private" / "a" / "b" / "c.py"))
    assert describe_environment(Numerics(), workers=1, data_sha256="0f")["commit"] is None


def test_a_line_beyond_the_bound_is_refused_before_the_next_is_read(folder, monkeypatch):
    monkeypatch.setattr(rounds_file, "LARGEST_RECORD_BYTES", 100)
    folder.rounds.write_bytes(b"x" * 101 + b"\n" * 1000)
    with pytest.raises(RunError, match=r"a line of more than 0 MiB\): start again"):
        read_records(folder)


@pytest.mark.parametrize(
    "place", ["rounds.jsonl", "checkpoint", "audit", "audit/attacks", "attacks/kept", "transcript"]
)
def test_nothing_is_written_through_a_link_of_a_run_folder(folder, tmp_path, place):
    require_no_links(folder)
    there = folder.path / place
    there.parent.mkdir(exist_ok=True)
    there.unlink(missing_ok=True)
    there.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{place}' is a link, through which nothing is written"):
        require_no_links(folder)

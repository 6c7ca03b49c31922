import json
import os
import re
import runpy
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

import dtfl_private
from dtfl_private.cli.lists import LISTINGS
from dtfl_private.cli.main import main
from dtfl_private.cli.plan import PLAN_FIELDS
from dtfl_private.cli.profile import PROFILE_FIELDS
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.config import TrainConfig
from dtfl_private.experiments.config_files import read_toml
from dtfl_private.leakage.findings import findings_document
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.plugins.registry import GROUPS, installed
from dtfl_private.protocol.threat import ADVERSARIES
from dtfl_private.training.worker import Worker

SMALL = [
    *("--dataset", "digits:size=8", "--max-train-images", "40", "--clients", "4", "--rounds", "2"),
    *("--batch-size", "8", "--workers", "1"),
]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command line gave back."""

    status: int
    out: str
    err: str


@pytest.fixture
def dtfl(capsys, tmp_path, monkeypatch) -> Callable[..., Answer]:
    """Run a command in an empty folder: ``dtfl("train", "--rounds", 1)``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process

    def run(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Answer(status=left.value.code, out=out, err=err)

    return run


@pytest.fixture
def no_picture(monkeypatch):
    monkeypatch.setattr(training, "plot_training", lambda *_args, **_settings: None)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same_run(one: Path, other: Path) -> bool:
    """Whether two runs left the same weights and, wall times aside, the same rounds."""
    lines = [[json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()] for run in (one, other)]
    for line in [*lines[0], *lines[1]]:
        del line["wall_time_s"]
    models = [(run / "model.safetensors").read_bytes() for run in (one, other)]
    return lines[0] == lines[1] and models[0] == models[1]


@pytest.mark.usefixtures("no_picture")
def test_a_run_may_have_a_name_that_the_output_cannot_show(dtfl, tmp_path, monkeypatch):
    dtfl("--version")  # goes to the empty folder
    out = TextIOWrapper(BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as left:
        main(["train", *SMALL, "--rounds", "1", "--out", "прогон"])
    assert left.value.code == 0
    out.flush()
    assert r"run folder \u043f\u0440\u043e\u0433\u043e\u043d" in out.buffer.getvalue().decode("cp1252")
    assert (tmp_path / "прогон" / "model.safetensors").is_file()


# Wrong input: exit 2, one line, nothing written.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --dataset digit", "unknown dataset 'digit': did you mean 'digits'?"),
        ("train --dataset fashion_mnst", "unknown dataset 'fashion_mnst': did you mean 'fashion-mnist'?"),
        ("train --model resnet-9", "unknown model 'resnet-9': did you mean 'resnet-8'?"),
        ("train --method dtlf", "unknown method 'dtlf': did you mean 'dtfl'?"),
        ("train --scheduler dynamik", "unknown scheduler 'dynamik': did you mean 'dynamic'?"),
        ("train --partition idd", "unknown partition 'idd': did you mean 'iid'?"),
        ("train --defense identiti", "unknown defense 'identiti': did you mean 'identity'?"),
        ("train --profiles papr", "unknown set of profiles 'papr': did you mean 'paper'?"),
        ("train --profiles mine.toml", "profiles file 'mine.toml' does not exist"),
        ("train --dataset fashion-mnist --data-dir nowhere", "no Fashion-MNIST in nowhere: "),
        ("train --dataset cifar-10 --data-dir nowhere", "no CIFAR-10 in nowhere"),
        ("train --clients 50 --max-train-images 40", "clients 50 is more than the 40 training images"),
        ("train --max-train-images 2000", "max_train_images 2000 is more than the 1437 training images of digits"),
        ("train --tiers 5", "tiers 5 is above what resnet-8 has: its 5 modules make 4 tiers"),
        ("train --leakage-budget a.json", "leakage budget 'a.json' is refused: expected AUDIT.json:metric=NAME,max=X"),
        ("train --leakage-budget a.json:max=0.4", "audit a.json cannot be read: No such file"),
        ("train --leakage-budget a.json:metric=mse,max=0.4", "low values of mse expose, so give min=X, not max="),
        ("train --leakage-budget a.json:max=1 --allowed-tiers 1", "give one of them"),
        ("train --leakage-budget a.json:max=1 --method fedavg", "method fedavg has no tiers to choose from"),
        ("train --allowed-tiers 0", "allowed_tiers.0 '0' is refused"),
        ("train --allowed-tiers 2,5", "allowed tier 5 does not exist: the tiers of resnet-8 are 1..4"),
        ("plan --leakage-budget a.json:max=0.4", "audit a.json cannot be read: No such file"),
        ("plan --allowed-tiers 5", "allowed tier 5 does not exist"),
        ("train --scheduler static:5", "scheduler static:5 names a tier that is not allowed here: tiers 1..4 are"),
        ("train --tiers 2 --scheduler static:1", "tiers 3..4 are"),
        ("train --scheduler static", "scheduler 'static' needs a value for 'm': write static:m=VALUE"),
        ("train --scheduler static:m=1,n=2", "unknown setting of scheduler 'static' 'n'"),
        ("train --rounds 0", "rounds '0' is refused: input should be greater than or equal to 1"),
        ("train --rounds 2.5", "rounds '2.5' is refused: input should be a valid integer"),
        ("train --lr -0.1", "lr '-0.1' is refused: input should be greater than 0"),
        ("train --lr nan", "lr 'nan' is refused"),
        ("train --noise -1", "noise '-1' is refused"),
        ("train --weight-decay -1", "weight_decay '-1' is refused"),
        ("train --cpu-gmacs -2", "cpu_gmacs '-2' is refused"),
        ("train --dropout 1.5", "dropout '1.5' is refused: input should be less than or equal to 1"),
        ("train --fraction 0", "fraction '0' is refused"),
        ("train --batch-size 1", "batch_size '1' is refused"),
        ("train --partition dirichlet:0", "partition 'dirichlet': alpha=0 is refused"),
        ("train --partition dirichlet:-1", "alpha=-1 is refused"),
        ("train --optimizer adm", "unknown optimizer 'adm': did you mean 'adam'?"),
        ("train --device cuda:0", "unknown device 'cuda:0': did you mean 'cuda'?"),
        ("train --augment crop,flop", "unknown augment 'flop': did you mean 'flip'?"),
        ("train --defense identity:eps=1", "defense 'identity' takes no settings"),
        ("train nothing.toml", "configuration 'nothing.toml' does not exist"),
        ("train a.toml b.toml", "unexpected extra argument"),
        ("train --roundz 3", "No such option"),
        ("train --rounds", "requires an argument"),
        ("train --resume", "--resume needs --out RUN"),
        (f"train --out {'n' * 300}", "File name too long"),
        (f"train --profiles {'n' * 300}", "cannot be read"),
        (f"train --dataset fashion-mnist --data-dir {'n' * 300}", "File name too long"),
        ("train --dataset fashion-mnist --data-dir \udcff", "no Fashion-MNIST in"),
        (f"train --batch-size {10**29}", "is refused: input should be less than or equal to"),
        (f"train --local-epochs {10**29}", "is refused: input should be less than or equal to"),
        ("train --cpu-gmacs 1e-320", "is refused: input should be greater than or equal to"),
        ("plan --noise 1000", "noise '1000' is refused"),
        ("plan --input-shape ²x8x8", "is not CHANNELSxHEIGHTxWIDTH"),
        ("profile --input-shape 9999999999x32x32", "has more than 16,777,216 values"),
        ("train --resume --out gone --rounds 0", "rounds '0' is refused"),
        ("train --out .", "run folder '.' cannot be made: it needs a name of its own"),
        ("profile --model resnet-57", "unknown model 'resnet-57': did you mean 'resnet-56'?"),
        ("profile --input-shape 32x32", "input shape '32x32' is not CHANNELSxHEIGHTxWIDTH"),
        ("profile --input-shape 1x2x2 --repeats 0", "images of 2x2 are too small"),
        ("profile --repeats 0 --json nowhere/table.json", "'nowhere/table.json' cannot be written"),
        ("plan --clients 0", "clients '0' is refused"),
        ("plan --images-per-client 0", "Invalid value for '--images-per-client'"),
        ("plan --scheduler static:8", "static:8 names a tier that is not allowed here"),
        ("list modles", "unknown list 'modles': did you mean 'models'?"),
        ("list", "Missing argument"),
        ("trane", "unknown command 'trane': did you mean 'train'?"),
        ("--verbose", "No such option"),
    ],
)
def test_wrong_input_is_answered_in_one_line_and_writes_nothing(dtfl, tmp_path, arguments, said):
    answer = dtfl(*arguments.split())
    assert answer.status == 2
    assert answer.err.startswith("error: ")
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert answer.err.endswith("\n")
    assert answer.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("rouns = 3", "unknown key in my.toml: 'rouns': did you mean 'rounds'?"),
        ("[train]\nrounds = 3", "unknown key in my.toml: 'train'"),
        ("rounds = ", "configuration 'my.toml' cannot be read: "),
        ("rounds = 'many'", "rounds 'many' is refused"),
        ("dataset = 'digts'", "unknown dataset 'digts': did you mean 'digits'?"),
        ("model = 3", "model 3 is refused"),
        ("lr = -1.0", "lr -1.0 is refused"),
        ("lr = inf", "lr inf is refused"),
        ("profiles = []", "profiles is empty"),
        ("defense = ['identity', 'noize']", "unknown defense 'noize'"),
        ("dataset = 'object:Mine'", "dataset 'object:Mine' was an object passed from Python"),
    ],
)
def test_a_wrong_file_is_answered_in_one_line_and_nothing_is_written(dtfl, tmp_path, toml, said):
    (tmp_path / "my.toml").write_text(toml)
    answer = dtfl("train", "my.toml")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {said}")
    assert answer.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-7], "promises 7840 bytes of data, it holds only 7833"),
        (lambda data: b"\0\0\x0d" + data[3:], "starts with 00 00 0d 03"),
        (lambda data: data[:9], "is damaged"),
    ],
)
def test_a_damaged_idx_file_is_named(dtfl, tmp_path, damage, said):
    folder = tmp_path / "data"
    folder.mkdir()
    for part in ("train", "t10k"):
        images = bytes([0, 0, 8, 3, *b"\0\0\0\x0a", *b"\0\0\0\x1c", *b"\0\0\0\x1c"]) + bytes(7840)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images if part == "train" else damage(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 10]) + bytes(10))
    before = content(tmp_path)
    answer = dtfl("train", "--dataset", "fashion-mnist", "--data-dir", "data")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("error: data/t10k-images-idx3-ubyte is damaged: ")
    assert said in answer.err
    assert content(tmp_path) == before


# A run, from start to end.


def test_a_run_shows_its_rounds_and_leaves_the_folder_of_the_interface(dtfl, tmp_path):
    answer = dtfl("train", *SMALL, "--out", "runs/mine", "--target-accuracy", "0.01")
    assert (answer.status, answer.err) == (0, "")
    run = tmp_path / "runs" / "mine"
    assert sorted(path.name for path in run.iterdir()) == [
        *("checkpoint", "config.toml", "environment.json", "model.safetensors"),
        *("rounds.jsonl", "summary.json", "training.png"),
    ]
    assert (run / "training.png").read_bytes().startswith(b"\x89PNG")

    lines = answer.out.splitlines()
    assert lines[0] == "dtfl: resnet-8 on digits:size=8, 40 training images"
    assert lines[1].startswith("4 clients, iid, scheduler dynamic, tiers 1..4")
    assert "run folder runs/mine" in lines[2]
    assert lines[3:7] == [
        "norm: batch norm (no defense needs group norm)",
        "privacy: smashed data and labels are sent in clear",
        "privacy: weight updates are sent in clear",
        "privacy: each client's pixel count, sum and sum of squares per channel are sent once, in clear",
    ]
    records = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    for record, line in zip(records, lines[7:9], strict=True):
        assert line.startswith(f"round {record['round']}/2  accuracy {record['test_accuracy']:.4f}  loss ")
        assert "simulated" in line
        assert " tiers " in line
    summary = json.loads((run / "summary.json").read_text())
    for row in (
        f"final test accuracy   {summary['final_accuracy']:.4f}",
        f"best test accuracy    {summary['best_accuracy']:.4f} (round {summary['best_round']})",
        "target 0.01           round 1, after",
        "run folder            runs/mine",
    ):
        assert row in answer.out
    assert "picture: runs/mine/training.png" in answer.out


@pytest.mark.usefixtures("no_picture")
def test_the_saved_configuration_repeats_the_run_bit_for_bit(dtfl, tmp_path):
    chance = [
        "--scheduler",
        "random",
        "--dropout",
        "0.3",
        "--partition",
        "dirichlet:1",
        "--noise",
        "0.2",
        "--augment",
        "crop,cutout",
    ]
    assert dtfl("train", *SMALL, *chance, "--seed", "5", "--out", "first").status == 0
    assert dtfl("train", "first/config.toml", "--out", "again").status == 0
    assert same_run(tmp_path / "first", tmp_path / "again")
    assert (tmp_path / "first" / "config.toml").read_bytes() == (tmp_path / "again" / "config.toml").read_bytes()
    assert dtfl("train", "first/config.toml", "--seed", "6", "--out", "other").status == 0
    assert not same_run(tmp_path / "first", tmp_path / "other")


@pytest.mark.usefixtures("no_picture")
def test_an_option_wins_over_the_file_whose_keys_may_have_hyphens(dtfl, tmp_path):
    (tmp_path / "my.toml").write_text(
        'dataset = "Digits:size=8"\nmax-train-images = 40\nlocal_epochs = 2\nrounds = 7\nclients = 4\nworkers = 1\n'
    )
    assert dtfl("train", "my.toml", "--rounds", 1, "--batch_size".replace("_", "-"), 8, "--out", "run").status == 0
    saved = read_toml(tmp_path / "run" / "config.toml")
    assert saved["rounds"] == 1
    assert (saved["local_epochs"], saved["max_train_images"], saved["batch_size"]) == (2, 40, 8)
    assert saved["dataset"] == "digits:size=8"


@pytest.mark.usefixtures("no_picture")
def test_defenses_are_named_in_the_order_given(dtfl):
    answer = dtfl("train", *SMALL, "--rounds", 1, "--defense", "identity", "--defense", "Identity")
    assert answer.status == 0
    assert "defenses, in this order: identity, identity\n" in answer.out
    assert "privacy: smashed data and labels are sent in clear" in answer.out
    assert "runs/digits-resnet-8-dtfl-001" in answer.out


@pytest.mark.usefixtures("no_picture")
def test_brackets_in_a_path_are_shown_as_they_are(dtfl, tmp_path):
    answer = dtfl("train", *SMALL, "--rounds", 1, "--out", "odd [/b] :smile: [red]")
    assert answer.status == 0
    assert (tmp_path / "odd [" / "b] :smile: [red]").is_dir()
    assert answer.out.count("odd [/b] :smile: [red]") == 3


@pytest.mark.usefixtures("no_picture")
def test_an_existing_run_is_neither_overwritten_nor_resumed_as_another(dtfl, tmp_path):
    assert dtfl("train", *SMALL, "--rounds", 1, "--out", "run").status == 0
    before = content(tmp_path)
    answer = dtfl("train", *SMALL, "--rounds", 1, "--out", "run")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "error: run folder 'run' exists: add --resume to go on with it, or choose another --out\n"
    answer = dtfl("train", "--resume", "--out", "run", "--lr", "0.5", "--tiers", "2")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("error: run folder 'run' has another configuration (tiers: 4 -> 2; lr: 0.001 -> 0.5)")
    assert content(tmp_path) == before
    (tmp_path / "run" / "config.toml").write_text("rounds = 'x'")
    assert dtfl("train", "--resume", "--out", "run").err.startswith("error: rounds 'x' is refused")


# Interrupted, failed, resumed.


@pytest.fixture
def interrupted(dtfl, monkeypatch):
    """Start a run of four rounds and press Ctrl-C when client 1 is to train in round 3."""
    train = Worker.train

    def press(worker, task, weights):
        if (task.round, task.client) == (3, 1):
            raise KeyboardInterrupt
        return train(worker, task, weights)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "train", press)
        return dtfl("train", *SMALL, "--rounds", 4, "--out", "a run")


@pytest.mark.usefixtures("no_picture")
def test_after_ctrl_c_it_says_how_to_go_on_and_that_ends_like_the_uninterrupted_run(dtfl, interrupted, tmp_path):
    assert interrupted.status == 1
    assert interrupted.err == (
        "error: interrupted; 2 finished rounds are safe in a run; "
        "go on with: dtfl-private train --resume --out 'a run'\n"
    )
    assert interrupted.out.count("\nround ") == 2
    answer = dtfl("train", "--resume", "--out", "a run")
    assert (answer.status, answer.err) == (0, "")
    assert "note: going on after round 2 of 4\n" in answer.out
    assert dtfl("train", *SMALL, "--rounds", 4, "--out", "whole").status == 0
    assert same_run(tmp_path / "a run", tmp_path / "whole")
    answer = dtfl("train", "--resume", "--out", "a run", "--workers", 2)
    assert answer.status == 0
    assert "note: going on after round 4 of 4\n" in answer.out
    assert same_run(tmp_path / "a run", tmp_path / "whole")


@pytest.mark.usefixtures("no_picture")
def test_a_torn_line_and_a_damaged_checkpoint_are_said(dtfl, interrupted, tmp_path):
    assert interrupted.status == 1
    run = tmp_path / "a run"
    with (run / "rounds.jsonl").open("a") as file:
        file.write('{"round": 3, "test_acc')
    (run / "checkpoint" / "round-000002" / "manifest.json").unlink()
    answer = dtfl("train", "--resume", "--out", "a run")
    assert answer.status == 0
    assert "note: the last line of rounds.jsonl was torn and is dropped\n" in answer.out
    assert "note: checkpoint round-000002 is damaged and was not loaded: " in answer.out
    assert "note: going on after round 1 of 4\n" in answer.out
    assert [json.loads(line)["round"] for line in (run / "rounds.jsonl").read_text().splitlines()] == [1, 2, 3, 4]


def test_without_an_intact_checkpoint_the_run_fails_with_status_1(dtfl, interrupted, tmp_path):
    assert interrupted.status == 1
    for path in (tmp_path / "a run" / "checkpoint").glob("*/state.json"):
        path.write_text("")
    before = content(tmp_path)
    answer = dtfl("train", "--resume", "--out", "a run")
    assert answer.status == 1
    assert answer.err.startswith("error: no intact checkpoint is left in a run/checkpoint: ")
    assert answer.err.count("\n") == 1
    assert content(tmp_path) == before


@pytest.mark.usefixtures("no_picture")
def test_a_run_killed_before_its_folder_was_there_is_started_and_that_is_said(dtfl):
    answer = dtfl("train", *SMALL, "--rounds", 1, "--resume", "--out", "run")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("note: no checkpoint yet: starting from the beginning\n")
    assert "\nround 1/1  accuracy" in answer.out


def test_ctrl_c_before_the_run_began_leaves_nothing(dtfl, monkeypatch, tmp_path):
    def press(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("dtfl_private.experiments.partition.load_dataset", press)
    answer = dtfl("train", "--out", "run")
    assert answer.status == 1
    assert answer.err == "error: interrupted before the run began: nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_stops_the_run_with_round_and_client(dtfl):
    answer = dtfl("train", *SMALL, "--lr", "1e30", "--out", "run")
    assert answer.status == 1
    assert "loss of client 0 became" in answer.err
    assert "in round 1 (tier" in answer.err
    assert "start again with a lower --lr" in answer.err
    assert answer.err.count("\n") == 1


def test_a_run_with_objects_from_python_is_refused_on_the_command_line(
    dtfl, tmp_path, tiny_config, patterns, tiny_network
):
    network = tiny_network()
    dtfl_private.train(tiny_config(rounds=1), out=tmp_path / "run", dataset=patterns, model=network, defenses=[])
    for arguments in (["run/config.toml"], ["--resume", "--out", "run"]):
        answer = dtfl("train", *arguments)
        assert (answer.status, answer.out) == (2, "")
        assert answer.err.startswith("error: dataset 'object:ImageDataset' was an object passed from Python")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# The other commands.


@pytest.mark.parametrize("kind", LISTINGS)
def test_everything_that_can_be_chosen_is_listed(dtfl, kind):
    answer = dtfl("list", kind)
    assert (answer.status, answer.err) == (0, "")
    if kind == "profiles":
        assert "profiles 'paper'" in answer.out
        assert answer.out.count("Mbit/s") == 12
    elif kind == "adversaries":
        assert all(f" {name} " in answer.out for name in ADVERSARIES)
    elif kind.rstrip("s") in GROUPS and installed(kind.rstrip("s")):
        rows = answer.out.splitlines()
        assert all(any(row.startswith(f" {name} ") for row in rows) for name in installed(kind.rstrip("s")))
    else:
        assert kind == "measures"
        assert all(f" {name} " in answer.out for name in MEASURES)


def test_the_list_shows_settings_with_their_defaults(dtfl):
    assert "alpha=0.5, floor=2" in dtfl("list", "partitions").out


def test_profile_shows_and_writes_the_cost_table(dtfl, tmp_path):
    arguments = ["profile", "--input-shape", "1x8x8", "--batch-size", 8]
    table = dtfl(*arguments, "--repeats", 0, "--json", "costs.json")
    assert (table.status, table.err) == (0, "")
    assert "simulated time of a round of 500 images" in table.out
    words = " ".join(table.out.split())
    assert "nothing was measured" in words
    assert "measured" not in words.replace("nothing was measured", "")
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert [row["tier"] for row in costs["rows"]] == [1, 2, 3, 4]
    assert [row["client_step_s"] for row in costs["rows"]] == [None] * 4
    only = dtfl(*arguments, "--repeats", 0, "--json", "-")
    assert json.loads(only.out) == costs
    measured = dtfl(*arguments, "--repeats", 1, "--json", "-")
    assert all(row["client_step_s"] > 0 and row["server_step_s"] > 0 for row in json.loads(measured.out)["rows"])


@pytest.mark.usefixtures("no_picture")
def test_a_leakage_budget_limits_what_train_and_plan_may_name(dtfl, tmp_path, figure, findings_of):
    results = [figure(1, 0.9, cut=(16, 8, 8)), figure(2, 0.3, cut=(16, 8, 8)), figure(4, 0.2, cut=(64, 2, 2))]
    findings = findings_of(results, dataset="digits:size=8", model="resnet-8")
    (tmp_path / "audit.json").write_bytes(findings_document(findings))
    budget = ("--leakage-budget", "audit.json:max=0.4")

    said = f"tiers allowed: 2, 4, by the leakage budget ssim at most 0.4, as measured in {tmp_path / 'audit.json'}"
    run = dtfl("train", *SMALL, *budget, "--out", "run")
    assert run.status == 0
    assert "tiers 2, 4 (tier m = the client holds m modules)" in run.out
    assert "tier 3 is not measured in audit.json (ssim), hence not allowed" in run.out
    assert said in run.out
    tiers = [json.loads(line)["tiers"].values() for line in (tmp_path / "run/rounds.jsonl").read_text().splitlines()]
    assert {tier for row in tiers for tier in row} <= {2, 4}

    plan = dtfl("plan", "--rounds", 3, *budget)
    assert plan.status == 0
    assert re.search(r"^ dynamic +.* \d+\.\d% ", plan.out, re.MULTILINE)
    assert re.search(r"^ dynamic, all tiers .* - ", plan.out, re.MULTILINE)
    assert "tiers allowed: 2, 4, by the leakage budget ssim at most 0.4, as measured in audit.json" in plan.out
    assert re.search(r"this takes \d+\.\d\d times as long as with all tiers", plan.out)

    # The run repeats and resumes although the audit has gone; a change that the audit must know of asks for it.
    (tmp_path / "audit.json").unlink()
    assert said in dtfl("train", "run/config.toml", "--out", "again").out
    assert same_run(tmp_path / "run", tmp_path / "again")
    assert dtfl("train", *SMALL, *budget, "--out", "run", "--resume").status == 0
    changed = dtfl("train", "run/config.toml", "--norm", "group", "--out", "other")
    assert (changed.status, "audit.json cannot be read" in changed.err) == (2, True)
    assert dtfl("train", "run/config.toml", "--leakage-budget", "none", "--rounds", 1, "--out", "free").status == 0


def test_plan_shows_and_writes_every_round(dtfl, tmp_path):
    arguments = ["plan", "--input-shape", "1x8x8", "--clients", 20, "--rounds", 8, "--fraction", 0.5, "--dropout", 0.1]
    shown = dtfl(*arguments, "--json", "plan.json")
    assert (shown.status, shown.err) == (0, "")
    assert "20 clients, 8 rounds, resnet-8" in shown.out
    assert all(f"static:{tier}" in shown.out for tier in (1, 2, 3, 4))
    rounds = json.loads((tmp_path / "plan.json").read_text())
    assert [row["round"] for row in rounds] == list(range(1, 9))
    assert all(row["participants"] == sum(row["tier_counts"].values()) == 10 for row in rounds)
    assert json.loads(dtfl(*arguments, "--json", "-").out) == rounds
    alone = dtfl(*arguments, "--no-compare", "--rounds", 3)
    assert "static:" not in alone.out
    assert [line.split()[0] for line in alone.out.splitlines() if line[:2] in (" 1", " 2", " 3")] == ["1", "2", "3"]


# Help.


def test_without_a_command_the_help_is_shown(dtfl):
    bare, asked = dtfl(), dtfl("--help")
    assert (bare.status, bare.err) == (0, "")
    assert bare.out == asked.out == dtfl("-h").out
    assert all(f"  {command} " in bare.out for command in ("train", "profile", "plan", "list"))


@pytest.mark.parametrize(
    ("command", "fields"),
    [("train", tuple(TrainConfig.model_fields)), ("profile", PROFILE_FIELDS), ("plan", PLAN_FIELDS)],
)
def test_the_help_of_a_command_explains_every_option(dtfl, command, fields):
    answer = dtfl(command, "--help")
    assert answer.status == 0
    for name in fields:
        assert f"--{name.replace('_', '-')}" in answer.out
        assert TrainConfig.model_fields[name].description.split()[0] in answer.out
    assert "Examples:" in answer.out
    assert "\b" not in answer.out
    assert "\\b" not in answer.out


def test_the_version_is_the_packages(dtfl):
    assert dtfl("--version").out == "dtfl-private, version 0.1.0\n"


def test_the_package_can_be_run_as_a_module(capsys, monkeypatch):
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)
    monkeypatch.setattr(sys, "argv", ["dtfl-private", "list", "methods"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("dtfl_private", run_name="__main__")
    assert left.value.code == 0
    assert "dtfl" in capsys.readouterr().out


def test_a_file_to_write_may_be_a_link_or_a_pipe_and_stays_one(dtfl, tmp_path):
    link, target, pipe = tmp_path / "link.json", tmp_path / "target.json", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    assert dtfl("profile", "--repeats", 0, "--json", link).status == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["rows"]
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # a reader, so that writing does not wait
    assert dtfl("profile", "--repeats", 0, "--json", pipe).status == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(descriptor)

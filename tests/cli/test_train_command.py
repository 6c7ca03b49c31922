"""A training from start to end: files, lines, options, wrong files."""

import json
import re

import pytest
from command_line import SMALL, content, same_run

import dtfl_private
from dtfl_private.cli.train import train_config
from dtfl_private.errors import InputError
from dtfl_private.experiments import train_loop
from dtfl_private.experiments.config.toml_files import read_toml, to_toml
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.report.pictures.judged import plot_judged
from dtfl_private.report.pictures.training import plot_training
from dtfl_private.verdicts.findings_file import findings_document


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


def test_a_run_shows_its_rounds_and_leaves_the_folder_of_the_interface(dtfl, tmp_path, monkeypatch):
    monkeypatch.setattr(train_loop, "plot_training", plot_training)  # the real ones
    monkeypatch.setattr(train_loop, "plot_judged", plot_judged)
    answer = dtfl("train", *SMALL, "--out", "runs/mine", "--target-accuracy", "0.01")
    assert (answer.status, answer.err) == (0, "")
    run = tmp_path / "runs" / "mine"
    assert sorted(path.name for path in run.iterdir()) == [
        *("README.md", "checkpoint", "config.toml", "dataset.json", "environment.json", "model.safetensors"),
        *("rounds.jsonl", "summary.json", "test.png", "training.png"),
    ]
    for picture in ("test.png", "training.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
        assert f"picture: runs/mine/{picture}" in answer.out.splitlines()

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
    best = f"(round {summary['best_round']}; optimistic: chosen by it)"
    for row in (
        f"final test accuracy   {summary['final_accuracy']:.4f}",
        f"best test accuracy    {summary['best_accuracy']:.4f} {best}",
        "target 0.01           round 1, after",
        "run folder            runs/mine",
    ):
        assert row in answer.out
    assert "test records by class, model of round 2" in answer.out


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


def test_an_option_wins_over_the_file_whose_keys_may_have_hyphens(dtfl, tmp_path):
    (tmp_path / "my.toml").write_text(
        'dataset = "Digits:size=8"\nmax-train-images = 40\nlocal_epochs = 2\nrounds = 7\nclients = 4\nworkers = 1\n'
    )
    assert dtfl("train", "my.toml", "--rounds", 1, "--batch_size".replace("_", "-"), 8, "--out", "run").status == 0
    saved = read_toml(tmp_path / "run" / "config.toml")
    assert saved["rounds"] == 1
    assert (saved["local_epochs"], saved["max_train_images"], saved["batch_size"]) == (2, 40, 8)
    assert saved["dataset"] == "digits:size=8"


def test_defenses_are_named_in_the_order_given(dtfl):
    answer = dtfl("train", *SMALL, "--rounds", 1, "--defense", "identity", "--defense", "Identity")
    assert answer.status == 0
    assert "defenses, in this order: identity, identity\n" in answer.out
    assert "privacy: smashed data and labels are sent in clear" in answer.out
    assert "runs/digits-resnet-8-dtfl-001" in answer.out


def test_brackets_in_a_path_are_shown_as_they_are(dtfl, tmp_path):
    answer = dtfl("train", *SMALL, "--rounds", 1, "--out", "odd [/b] :smile: [red]")
    assert answer.status == 0
    assert (tmp_path / "odd [" / "b] :smile: [red]").is_dir()
    assert answer.out.count("odd [/b] :smile: [red]") == 4


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


@pytest.mark.parametrize(
    ("given", "allowed", "budget"),
    [
        ({}, [1, 3], "OLD"),
        ({"rounds": "5"}, [1, 3], "OLD"),
        ({"leakage_budget": "b.json:max=0.2"}, None, "b.json:metric=ssim,max=0.2"),
        ({"leakage_budget": "none"}, None, None),
        ({"allowed_tiers": "2,1"}, [1, 2], None),
        ({"allowed_tiers": "none"}, None, None),
        ({"norm": "group"}, None, "OLD"),
        ({"model": "resnet-20"}, None, "OLD"),
    ],
)
def test_an_option_wins_over_the_tiers_in_a_file(tmp_path, given, allowed, budget):
    old = "/x/a.json:metric=ssim,max=0.4"
    path = tmp_path / "config.toml"
    path.write_text(to_toml(make_config({"allowed_tiers": [3, 1], "leakage_budget": old})))
    config = train_config(str(path), None, False, given)
    assert config.allowed_tiers == allowed
    assert config.leakage_budget == (old if budget == "OLD" else budget)


def test_tiers_that_the_user_allowed_stay_with_another_network(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(to_toml(make_config({"allowed_tiers": [3, 1]})))
    assert train_config(str(path), None, False, {"model": "resnet-20"}).allowed_tiers == [1, 3]


def test_both_options_together_are_refused():
    with pytest.raises(InputError, match="give one of them"):
        train_config(None, None, False, {"allowed_tiers": "1", "leakage_budget": "a.json:max=1"})

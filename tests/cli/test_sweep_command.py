"""The sweep command from start to end."""

import json

import pytest

PRESET = """
title = "two runs"
seeds = [0]

[[grid]]
method = ["dtfl", "fedavg"]

[sizes.small]
dataset = "digits:size=8"
max_train_images = 30
batch_size = 8
rounds = 1
device = "cpu"
target_accuracy = 0.01
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("digits:size=8", "fashion-mnist", "no Fashion-MNIST in "),
        ('"cpu"', '"mps"', "device 'mps' is not available here"),
    ],
)
def test_a_sweep_that_no_run_of_could_start_is_refused_and_writes_nothing(dtfl, tmp_path, old, new, said):
    (tmp_path / "p.toml").write_text(PRESET.replace(old, new))
    status, out, err = dtfl("sweep", "p.toml", "--data-dir", "nowhere")
    assert (status, out) == (2, "two runs: 2 runs over 1 seed\n")
    assert err.startswith("error: ")
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]


@pytest.mark.usefixtures("no_comparison_pictures")
def test_sweep_shows_its_runs_trains_them_and_ends_with_the_table(dtfl, tmp_path):
    (tmp_path / "p.toml").write_text(PRESET)
    status, out, err = dtfl("sweep", "p.toml", "--dry-run")
    assert (status, err) == (0, "")
    assert out.startswith("two runs: 2 runs over 1 seed\n")
    assert "fedavg-seed0" in out
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]
    status, out, err = dtfl("sweep", "p.toml", "--parallel", "1")
    assert (status, err) == (0, "")
    assert "[2/2] fedavg-seed0  accuracy" in out
    assert "target accuracy 0.01" in out
    folder = tmp_path / "runs" / "p-small"
    assert {"compare.json", "dtfl-seed0.toml", "dtfl-seed0", "time-to-target.png"} <= {p.name for p in folder.iterdir()}
    assert "2 of 2 runs had ended before and are not repeated" in dtfl("sweep", "p.toml")[1]


TUNING = """
seeds = [0]

[tuning]
seeds = [9]
validation = 0.1

[[tuning.trials]]
method = ["dtfl", "fedavg"]
lr = 1e-9
"""


@pytest.mark.usefixtures("no_comparison_pictures")
def test_a_tuned_sweep_tries_settings_first_and_shows_those_that_were_chosen(dtfl, tmp_path):
    (tmp_path / "p.toml").write_text(PRESET.replace("\nseeds = [0]\n", TUNING))
    status, out, err = dtfl("sweep", "p.toml", "--dry-run")
    assert (status, err) == (0, "")
    assert out.startswith("two runs: 2 runs over 1 seed, untuned and tuned, after 2 trials of each method (4 runs)\n")
    assert "fedavg-trial2-seed9" in out
    status, out, err = dtfl("sweep", "p.toml", "--parallel", "1", "--markdown", "t.md")
    assert (status, err) == (0, "")
    assert "tuning: 4 trial runs, judged on validation images" in out
    assert "[4/4] fedavg-trial2-seed9  accuracy" in out
    assert "settings tuned" in out
    assert "chosen by trials: settings tuned" in out
    assert "| fedavg | lr" in (tmp_path / "t.md").read_text()
    folder = tmp_path / "runs" / "p-small"
    assert {"tuning", "tuning.json", "compare.json", "fedavg-seed0"} <= {path.name for path in folder.iterdir()}
    chosen = json.loads((folder / "tuning.json").read_text())["choices"]
    assert [len(choice["trials"]) for choice in chosen] == [2, 2]
    (folder / "tuning.json").write_text("{}")
    status, out, err = dtfl("sweep", "p.toml", "--parallel", "1")
    assert status == 2
    assert err.startswith("error: 'runs/p-small/tuning.json' is damaged (metric: Field required): remove it")

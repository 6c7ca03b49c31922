import json

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config, read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder


def test_every_value_of_the_saved_configuration_is_explicit(run_tiny, tmp_path):
    config = run_tiny(tmp_path / "run", partition="dirichlet", rounds=1).config
    assert config.max_train_images == 40
    assert config.norm == "batch"
    assert config.tiers == 3
    assert config.workers == 1
    assert config.memory_format == "channels-last"
    assert config.partition == "dirichlet:alpha=0.5,floor=2"
    assert len(config.profiles) == 5
    written = (tmp_path / "run" / "config.toml").read_text()
    assert all(f"\n{name} = " in f"\n{written}" or f"[[{name}]]" in written for name in TrainConfig.model_fields)


def test_a_run_repeats_from_its_own_configuration_and_resumes_without_the_audit(run_tiny, write_audit):
    audit = write_audit({1: 0.4, 2: 0.9, 3: 0.2})
    budget = f"{audit}:max=0.5"
    first = run_tiny("first", rounds=2, leakage_budget=budget)
    used = {tier for record in first.records for tier in record["tiers"].values()}
    assert used <= {1, 3}
    audit.unlink()
    written = read_toml(first.folder.config)
    assert (written["allowed_tiers"], written["leakage_budget"]) == ([1, 3], f"{audit}:metric=ssim,max=0.5")

    own = {key: value for key, value in written.items() if key not in ("dataset", "model")}
    again = run_tiny("again", **own)
    assert [record["tiers"] for record in again.records] == [record["tiers"] for record in first.records]
    assert to_toml(again.config) == to_toml(first.config)
    # The command that began the run resumes it, and so does one without the budget's text.
    assert run_tiny("first", resume=True, rounds=2, leakage_budget=budget).records == first.records
    assert run_tiny("first", resume=True, rounds=2, leakage_budget=budget, allowed_tiers=[1, 3]).records
    write_audit({1: 0.9, 2: 0.1, 3: 0.9})
    assert run_tiny("first", resume=True, rounds=2, leakage_budget=budget).records == first.records


def test_the_tier_of_the_whole_network_is_within_every_limit(run_tiny, write_audit):
    """It sends no activations; so the limit on record names cut tiers alone, and the run repeats from it."""
    budget = f"{write_audit({1: 0.9, 2: 0.9, 3: 0.2})}:max=0.5"
    first = run_tiny("first", rounds=3, method="dtfl-full", leakage_budget=budget)
    assert {tier for record in first.records for tier in record["tiers"].values()} == {3, 4}
    assert first.config.allowed_tiers == [3]
    own = {key: value for key, value in read_toml(first.folder.config).items() if key not in ("dataset", "model")}
    again = run_tiny("again", **own)
    assert [record["tiers"] for record in again.records] == [record["tiers"] for record in first.records]
    assert run_tiny("first", resume=True, rounds=3, method="dtfl-full", leakage_budget=budget).records == first.records


def test_a_resume_with_another_limit_is_refused(run_tiny, write_audit):
    audit = write_audit({1: 0.4, 2: 0.9, 3: 0.2})
    run_tiny("run", rounds=1, leakage_budget=f"{audit}:max=0.5")
    with pytest.raises(InputError, match=r"another configuration \(.*allowed_tiers: \[1, 3\] -> \[3\]"):
        run_tiny("run", resume=True, rounds=1, leakage_budget=f"{audit}:max=0.3")
    with pytest.raises(InputError, match=r"another configuration \(.*allowed_tiers: \[1, 3\] -> None"):
        run_tiny("run", resume=True, rounds=1)


def test_runs_from_before_there_were_limits_resume(run_tiny):
    run = run_tiny("run", rounds=1)
    lines = run.folder.config.read_text().splitlines()
    old = [line for line in lines if not line.startswith(("allowed_tiers", "leakage_budget"))]
    assert len(old) == len(lines) - 2
    run.folder.config.write_text("\n".join(old) + "\n")
    assert run_tiny("run", resume=True, rounds=1).records == run.records


def test_a_recorded_run_keeps_its_configuration_as_json_and_toml(run_tiny):
    run = run_tiny("run", rounds=1, allowed_tiers=[1, 2])
    assert read_run_config(RunFolder(path=run.folder.path)) == run.config
    assert json.loads(run.config.model_dump_json())["allowed_tiers"] == [1, 2]

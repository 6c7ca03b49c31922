"""Plug-ins of a file that the user allows run, and no others."""

from pathlib import Path

import pytest
from foreign_files import SMALL, dtfl, mark

from dtfl_private.attacking.parallel import NamedRun, open_once
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.train import train
from dtfl_private.runtime.in_process import InProcess


@pytest.fixture(scope="module")
def rounded(folder) -> Path:
    """A run with a defense of one's own, begun on the command line."""
    assert dtfl("train", *SMALL, "--rounds", 2, "--defense", "own:Rounding:step=0.25", "--out", "rounded").status == 0
    return folder / "rounded"


@pytest.mark.parametrize(
    "options",
    [["--allow-plugin", "own"], ["--allow-plugin", "own:Rounding"], ["--defense", "own:Rounding:step=0.25"]],
)
def test_a_run_with_an_object_goes_on_with_it_or_with_its_module(options, rounded, here):
    assert dtfl("train", "--resume", "--out", rounded).status == 2
    answer = dtfl("train", "--resume", "--out", rounded, *options)
    assert (answer.status, answer.err) == (0, "")
    assert dtfl("train", rounded / "config.toml", "--out", here / "never", "--rounds", "0").status == 2


@pytest.mark.usefixtures("here")
def test_an_interrupted_run_says_what_to_allow(monkeypatch):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(InProcess, "train", press)
    answer = dtfl("train", *SMALL, "--defense", "own:Rounding", "--out", "interrupted")
    assert answer.err.endswith("go on with: dtfl-private train --resume --out interrupted --allow-plugin own\n")


def test_attacks_and_audits_of_it_run_with_its_module(rounded, here):
    few = ("--victims", 8, "--aux-images", 60, "--tier", 1, "--seeds", 1)
    attack = ("--attack", "optimization:steps=2", "--out", here / "attacks")
    answer = dtfl("attack", rounded, *few, *attack)
    assert (answer.status, "--allow-plugin own " in answer.err) == (2, True)
    answer = dtfl("attack", rounded, *few, *attack, "--allow-plugin", "own")
    assert (answer.status, answer.err) == (0, "")


def test_a_run_in_this_process_is_attacked_as_it_was_trained(rounded):
    config = TrainConfig.model_validate(read_toml(rounded / "config.toml"))
    run = train(config, out=rounded, resume=True)
    assert open_run(run).prepared.config.defense == ["own:Rounding:step=0.25"]
    with pytest.raises(InputError, match="--allow-plugin own "):
        open_run(run.folder)


def test_processes_that_attack_are_told_what_is_allowed(rounded):
    opened = open_run(rounded, allow_plugins=["own"])
    assert open_once(NamedRun.of(opened)).prepared.config == opened.prepared.config


def test_the_allowance_is_no_key_of_a_file_and_no_part_of_a_configuration(here):
    config = make_config({"defense": ["own:Rounding"]}, allowed=frozenset({"own"}))
    assert config == make_config({"defense": ["own:Rounding"]})
    assert "own:Rounding" in to_toml(config)
    assert "allow" not in to_toml(config).replace("allowed_tiers", "")
    (here / "c.toml").write_text('allow_plugin = ["evil"]\ndefense = ["evil:thing"]\n')
    answer = dtfl("train", "c.toml", "--out", "new")
    assert (answer.status, mark(here)) == (2, None)
    assert "unknown key in c.toml: 'allow_plugin'" in answer.err

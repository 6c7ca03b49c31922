"""The help of the group and of commands."""

import pytest

from dtfl_private.cli.plan import PLAN_FIELDS
from dtfl_private.cli.profile import PROFILE_FIELDS
from dtfl_private.experiments.config.train_config import TrainConfig


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


@pytest.mark.parametrize("command", ["train", "attack", "audit", "sweep", "plan", "profile", "predict", "partition"])
def test_values_are_named_for_people(dtfl, command):
    shown = dtfl(command, "--help").out
    assert " RANGE" not in shown
    assert "INTEGER" not in shown


def test_the_version_is_the_packages(dtfl):
    assert dtfl("--version").out == "dtfl-private, version 0.1.0\n"

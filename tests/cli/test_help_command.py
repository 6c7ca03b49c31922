"""help TOPIC: passages of the documentation."""

import json

import pytest

from dtfl_private.cli.group import COMMANDS
from dtfl_private.cli.listed.topics import PASSAGES
from dtfl_private.verdicts.verdict import EXPOSED

ASKED = ["adversaries", "defenses", "tiers", "methods", "attacks", "verdicts", "files"]


def test_without_a_topic_all_are_named(dtfl):
    answer = dtfl("help")
    assert (answer.status, answer.err) == (0, "")
    assert sorted(ASKED) == sorted(PASSAGES) == [entry["name"] for entry in json.loads(dtfl("help", "--json").out)]
    assert all(f" {topic} " in answer.out for topic in ASKED)


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("topic", ASKED)
def test_a_topic_fits_the_terminal_and_has_no_markup_left(dtfl, monkeypatch, topic, columns):
    monkeypatch.setenv("COLUMNS", columns)
    answer = dtfl("help", topic)
    assert (answer.status, answer.err) == (0, "")
    assert max(map(len, answer.out.splitlines())) <= int(columns)
    assert not any(mark in answer.out for mark in ("](", "**", "|--", "…", "`"))
    assert f"the whole page: docs/{PASSAGES[topic].page}" in answer.out
    assert json.loads(dtfl("help", topic, "--json").out)["name"] == topic


def test_a_topic_says_what_it_is_about(dtfl):
    assert "not shown to leak" in dtfl("help", "verdicts").out
    assert EXPOSED == 0.5  # the passage says "at least half"
    assert "server-honest-but-curious" in dtfl("help", "adversaries").out
    assert "config.toml" in dtfl("help", "files").out
    assert "all of them: dtfl-private list defenses" in dtfl("help", "defenses").out


@pytest.mark.parametrize("command", COMMANDS)
def test_of_a_command_it_is_the_commands_own_help(dtfl, command):
    assert dtfl("help", command).out == dtfl(command, "--help").out


def test_an_unknown_topic_is_answered_with_the_nearest(dtfl):
    answer = dtfl("help", "verdict")
    assert (answer.status, answer.out) == (2, "")
    assert "unknown topic 'verdict': did you mean 'verdicts'?" in answer.err

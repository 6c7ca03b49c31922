"""How every command answers: -v, -q and --json; pipes."""

import json
import logging

import pytest
from command_line import SMALL

from dtfl_private.cli.group import COMMANDS, load_command
from dtfl_private.cli.lists import LISTINGS
from dtfl_private.data.dataset import load_dataset
from dtfl_private.experiments import partition

PLAN = ["plan", "--rounds", 2, "--no-compare"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_options(name):
    command = load_command(name)
    commands = command.commands.values() if hasattr(command, "commands") else [command]
    for one in commands:
        flags = {flag for parameter in one.params for flag in parameter.opts}
        assert flags >= {"-v", "--verbose", "-q", "--quiet", "--json"}, one.name


def test_json_of_a_training_is_its_summary_and_all_else_is_on_standard_error(dtfl, tmp_path):
    answer = dtfl("train", *SMALL, "--out", "run", "--json")
    assert answer.status == 0
    assert json.loads(answer.out) == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "round 2/2" in answer.err
    assert "privacy: smashed data and labels are sent in clear" in answer.err
    assert "final test accuracy" not in answer.err  # the document says so


def test_quiet_leaves_the_result_alone(dtfl):
    answer = dtfl("train", *SMALL, "--out", "run", "--quiet")
    assert (answer.status, answer.err) == (0, "")
    lines = [line.strip() for line in answer.out.splitlines() if line.strip()]
    assert lines[0].startswith("rounds ")
    assert lines[-1].startswith("privacy: ")
    assert "round 1/2" not in answer.out
    assert "picture" not in answer.out
    resumed = dtfl("train", "--resume", "--out", "run", "--quiet", "--json")
    assert json.loads(resumed.out)["rounds"] == 2
    assert resumed.err == "note: going on after round 2 of 2\n"  # what matters is said apart


def test_verbose_tells_what_happens_inside_once(dtfl):
    for _ in range(2):  # a second command of a process does not add to the first one's
        answer = dtfl("partition", "--dataset", "digits:size=8", "--verbose")
        assert answer.status == 0
        assert answer.err.count("debug experiments.partition: loaded data set digits:size=8 in ") == 1
    quiet = dtfl("partition", "--dataset", "digits:size=8")
    assert (quiet.out, quiet.err) == (answer.out, "")
    assert [type(handler) for handler in logging.getLogger("dtfl_private").handlers] == [logging.NullHandler]


def test_warnings_are_shown_with_any_option_and_do_not_steer_the_terminal(dtfl, monkeypatch):
    def load(*arguments, **settings):
        logging.getLogger("dtfl_private.data.files.cache").warning("evil %s", "\x1b[2J\nnext")
        return load_dataset(*arguments, **settings)

    monkeypatch.setattr(partition, "load_dataset", load)
    for option in ("-q", "-v", "--json"):
        answer = dtfl("partition", "--dataset", "digits:size=8", option)
        assert answer.status == 0
        assert answer.err.count(r"warning data.files.cache: evil \x1b[2J next") == 1
        assert "warning" not in answer.out


def test_what_contradicts_itself_is_refused(dtfl):
    answer = dtfl(*PLAN, "-v", "-q")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "error: --verbose and --quiet contradict each other: give one of them\n"
    answer = dtfl("compare", "a", "b", "--json", "--markdown", "-")
    assert (answer.status, answer.out) == (2, "")
    assert "--json writes one document to standard output" in answer.err


@pytest.mark.parametrize("kind", LISTINGS)
def test_a_list_for_programs_names_what_the_table_names(dtfl, kind):
    answer = dtfl("list", kind, "--json")
    names = [entry["name"] for entry in json.loads(answer.out)]
    assert (answer.status, answer.err) == (0, "")
    table = dtfl("list", kind).out
    assert names
    assert all(name in table for name in names)


def test_json_names_a_file_only_where_a_command_takes_no_arguments(dtfl, tmp_path):
    assert json.loads(dtfl(*PLAN, "--json").out) == json.loads(dtfl(*PLAN, "--json", "-").out)
    beside = dtfl(*PLAN, "--json", "plan.json")
    assert "simulated time of all rounds" in beside.out
    assert len(json.loads((tmp_path / "plan.json").read_text())) == 2


@pytest.mark.usefixtures("no_comparison_pictures")
def test_a_comparison_for_programs_is_its_file(dtfl, write_run, tmp_path):
    runs = [str(write_run(tmp_path / name, [0.5, 0.8], method=name)) for name in ("dtfl", "fedavg")]
    answer = dtfl("compare", *runs, "--json")
    assert json.loads(answer.out) == json.loads((tmp_path / "comparison" / "compare.json").read_text())
    assert "written: comparison/compare.json" in answer.err


@pytest.mark.parametrize(("columns", "most"), [("80", 80), ("100", 100), ("", 180), ("many", 180), ("3", 20)])
def test_a_pipe_is_as_wide_as_columns_says(dtfl, monkeypatch, columns, most):
    monkeypatch.setenv("COLUMNS", columns)
    lines = dtfl(*PLAN).out.splitlines()
    # Tables are; a sentence is one line, however long.
    sentences = ("tier:clients of this plan", "clients in the tier that the oracle")
    widest = max(len(line) for line in lines if not line.startswith(sentences))
    assert widest <= most
    assert widest > most // 2

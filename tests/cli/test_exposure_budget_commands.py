"""Exposure budgets from start to end: train, plan, resume, repeat, and options that win over a file."""

import json
import re

import pytest
from command_line import SMALL, same_run

from dtfl_private.cli.train import train_config
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.verdicts.findings_file import findings_document

OLD = "/x/a.json:metric=ssim"
LEAKAGE = "1=0.5,3=0.25"


def test_an_exposure_budget_is_kept_shown_recorded_and_resumed(dtfl, tmp_path, figure, findings_of):
    guess = {"baseline": 0.12, "baseline_name": "class-mean"}
    results = [figure(1, 0.98, cut=(16, 8, 8), **guess), figure(4, 0.32, cut=(64, 2, 2), **guess)]
    findings = findings_of(results, dataset="digits:size=8", model="resnet-8")
    (tmp_path / "audit.json").write_bytes(findings_document(findings))
    budget = ("--exposure-budget", 0.6, "--leakage-from", "audit.json")

    run = dtfl("train", *SMALL, *budget, "--out", "run")
    assert run.status == 0
    assert "tiers 1, 4 (tier m = the client holds m modules)" in run.out
    assert "tiers 2..3 are not measured in audit.json (ssim), hence not allowed" in " ".join(run.out.split())
    said = "exposure budget 0.6 for each client, paced; a release leaks tier 1: 1, tier 4: 0.25, by ssim as measured in"
    assert said in run.out
    assert re.search(r"^ exposure +0\.\d+ of 0\.6 \(client \d\); rests: \d+", run.out, re.MULTILINE)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert 0 < summary["exposure"]["highest"] <= 0.6
    lines = [json.loads(line) for line in (tmp_path / "run/rounds.jsonl").read_text().splitlines()]
    assert {tier for line in lines for tier in line["tiers"].values()} <= {1, 4}
    assert max(value for line in lines for value in line["exposure"].values()) == summary["exposure"]["highest"]

    plan = dtfl("plan", "--rounds", 3, "--no-compare", *budget)
    assert plan.status == 0
    assert said in plan.out
    assert re.search(r"exposure at the end: 0\.\d+ of 0\.6 the most exposed client, 0\.\d+ the median one; ", plan.out)
    assert re.search(r"this takes \d+\.\d\d times as long as without limits", plan.out)
    assert re.search(r"^ dynamic, no limits .* - ", plan.out, re.MULTILINE)

    # The run repeats and resumes although the audit has gone; a change that the audit must know of asks for it.
    (tmp_path / "audit.json").unlink()
    assert said in dtfl("train", "run/config.toml", "--out", "again").out
    assert same_run(tmp_path / "run", tmp_path / "again")
    assert dtfl("train", *SMALL, *budget, "--out", "run", "--resume").status == 0
    changed = dtfl("train", "run/config.toml", "--norm", "group", "--out", "other")
    assert (changed.status, "audit.json cannot be read" in changed.err) == (2, True)
    less = dtfl("train", "run/config.toml", "--exposure-budget", 0.2, "--out", "other")
    assert (less.status, "exposure budget 0.2 is too small for a single round" in less.err) == (2, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("given", "leakage", "source"),
    [
        ({}, LEAKAGE, OLD),
        ({"rounds": "5"}, LEAKAGE, OLD),
        ({"exposure_budget": "3"}, LEAKAGE, OLD),
        ({"leakage_from": "b.json"}, None, "b.json:metric=ssim"),
        ({"tier_leakage": "2=0.1"}, "2=0.1", None),
        ({"norm": "group"}, None, OLD),
        ({"wire": "int4"}, None, OLD),
    ],
)
def test_an_option_wins_over_what_a_file_says_of_leakage(tmp_path, given, leakage, source):
    path = tmp_path / "config.toml"
    values = {"exposure_budget": 2, "tier_leakage": LEAKAGE, "leakage_from": OLD}
    path.write_text(to_toml(make_config(values)))
    config = train_config(str(path), None, False, given)
    assert (config.tier_leakage, config.leakage_from) == (leakage, source)


def test_both_ways_to_say_what_tiers_leak_are_refused():
    with pytest.raises(InputError, match="--leakage-from and --tier-leakage both say what tiers leak: give one of"):
        train_config(None, None, False, {"tier_leakage": "1=1", "leakage_from": "a.json"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--exposure-budget 0", "exposure_budget '0' is refused: input should be greater than 0"),
        ("--exposure-budget inf", "exposure_budget 'inf' is refused"),
        ("--exposure-budget 1", "exposure_budget 1 needs to know what each tier leaks: add leakage_from"),
        ("--exposure-budget 1 --leakage-from a.json", "audit a.json cannot be read: No such file"),
        ("--exposure-budget 1 --tier-leakage 1=2", "tier_leakage '1=2' is refused: expected TIER=LEAKAGE,..."),
        ("--exposure-budget 1 --tier-leakage 9=1", "tier_leakage names tier 9, which does not exist"),
        ("--exposure-spending fast", "unknown exposure_spending 'fast': known: greedy, paced"),
    ],
)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_wrong_option_is_answered_in_one_line(dtfl, tmp_path, command, options, said):
    answer = dtfl(command, *options.split())
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {said}")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

"""Each object that a notebook shows, in lines and as a table."""

from pathlib import Path
from types import SimpleNamespace

import audit_samples
import pytest

from dtfl_private import AttackReport, Audit, Run, Sweep, TrainConfig
from dtfl_private.experiments.plan import plan
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.report.notebook.audit import audit_html, audit_text
from dtfl_private.report.notebook.comparison import comparison_text

SUMMARY = {
    "rounds": 7,
    "stopped": None,
    "final_accuracy": 0.9,
    "best_accuracy": 0.95,
    "best_round": 5,
    "virtual_time_s": 65.0,
    "bytes": {"up_smashed": 2_000_000, "up_labels": 10},
    "privacy": [{"sentence": "labels: 2-DP"}, {"sentence": "in clear"}, {"sentence": "in clear"}],
}
EVIL = "<script>alert(1)</script>\x1b[2J"


def a_run(**changes):
    config = TrainConfig(rounds=10, model="resnet-8")
    return Run(folder=RunFolder(path=Path("runs/mine")), config=config, records=[], summary={**SUMMARY, **changes})


def test_a_run_says_what_it_came_to_and_what_may_be_said_of_privacy():
    assert repr(a_run()).splitlines() == [
        "Run 'runs/mine': dtfl, resnet-8, digits; 7 of 10 rounds; test accuracy 0.9000 "
        "(best 0.9500 in round 5, chosen by it); simulated time 1 min 05 s",
        "privacy: labels: 2-DP; in clear",
    ]
    assert "7 of 10 rounds, ended early: enough;" in repr(a_run(stopped="enough"))
    html = a_run()._repr_html_()
    for part in (
        "runs/mine",
        "0.9000 (best 0.9500 in round 5, chosen by it)",
        "up smashed 2 MB, up labels 10 B",
        "2-DP; in clear",
    ):
        assert part in html


def test_a_run_says_which_images_it_was_judged_on_and_which_chose_its_round():
    chosen = {"chosen_on": "validation", "selected_accuracy": 0.91, "selected_round": 3}
    assert "; test accuracy of the round that is best on validation 0.9100 (round 3); " in repr(a_run(**chosen))
    tuned = Run(
        folder=RunFolder(path=Path("runs/mine")),
        config=TrainConfig(rounds=10, validation=0.1, judged_on="validation"),
        records=[],
        summary={**SUMMARY, **chosen},
    )
    assert "; validation accuracy 0.9000 (best 0.9500 in round 5, chosen by it); simulated" in repr(tuned)
    assert "test accuracy" not in repr(tuned)


def test_a_run_without_a_finished_round_is_shown_too():
    run = Run(folder=RunFolder(path=Path("runs/mine")), config=TrainConfig(rounds=10), records=[], summary={})
    assert repr(run) == "Run 'runs/mine': dtfl, resnet-8, digits; 0 of 10 rounds"
    assert "0 of 10 rounds" in run._repr_html_()


@pytest.mark.parametrize(
    "spoilt",
    [{"best_accuracy": [], "bytes": 3}, {"privacy": "no"}, {"virtual_time_s": None}, {"final_accuracy": float("nan")}],
)
def test_a_run_whose_summary_is_anybody_s_is_shown_all_the_same(spoilt):
    for text in (repr(a_run(**spoilt)), a_run(**spoilt)._repr_html_()):
        assert "summary.json is damaged" in text


def test_a_run_of_a_version_that_told_less_is_shown_as_far_as_it_told():
    run = a_run()
    for key in ("stopped", "privacy"):
        del run.summary[key]
    assert "7 of 10 rounds; test accuracy 0.9000" in repr(run)
    assert repr(run).endswith("privacy: nothing is known of it")


def an_audit(findings):
    return Audit(findings=findings, path=Path("audit.json"), report=Path("audit/report.html"), pictures=[])


def test_an_audit_shows_of_each_tier_a_badge_and_the_sentence():
    findings = audit_samples.full()
    assert repr(an_audit(findings)) == audit_text(findings, Path("audit/report.html"))
    assert len(repr(an_audit(findings)).splitlines()) == 2
    html = an_audit(findings)._repr_html_()
    for verdict in findings.verdict:
        assert f">{verdict.level}</span>" in html
        assert verdict.sentence in html
    assert html.count("<tr>") == 1 + len(findings.verdict)


def test_an_invalid_audit_says_so_in_lines_and_in_its_table():
    for text in (repr(an_audit(audit_samples.invalid())), an_audit(audit_samples.invalid())._repr_html_()):
        assert "This audit is invalid: it says nothing about how much leaks." in text


def test_what_a_file_says_is_shown_as_text():
    findings = audit_samples.full(run=EVIL)
    html, text = audit_html(findings, Path(EVIL)), audit_text(findings, Path(EVIL))
    assert "<script" not in html
    assert "\x1b" not in html + text
    assert "<script" not in a_run(stopped=EVIL)._repr_html_()
    assert "\x1b" not in repr(a_run(stopped=EVIL))


def test_attacks_show_their_figures_with_interval_and_guess(figure):
    results = [figure(1, 0.8), figure(2, 0.4)]
    report = AttackReport(results=results, verdicts=[], path=Path("attack.json"), pictures=[], remarks=[])
    name = results[0].source
    assert repr(report).splitlines()[0] == f"AttackReport: {name} at tiers 1 and 2, 2 results"
    html = report._repr_html_()
    assert html.count("<tr>") == 3
    assert "0.800" in html


def test_a_plan_says_how_long_it_takes_and_what_it_is_compared_with():
    made = plan(TrainConfig(clients=3, rounds=2, model="resnet-8"), compare_static=True, compare_schedulers=True)
    first, second = repr(made).splitlines()
    assert first.startswith("Plan: 2 rounds in ")
    assert second.startswith("compared: all in tier 1 ")
    assert "oracle " in second
    assert made._repr_html_().count("<tr>") == 3


@pytest.mark.parametrize("failed", [{}, {"<third>": "it went wrong"}])
def test_a_comparison_and_a_sweep_show_each_group(comparison, failed):
    assert repr(comparison) == ("Comparison: final test accuracy: dtfl 0.7000 (3 runs), fedavg 0.6500 (2 runs)")
    html = comparison._repr_html_()
    assert html.count("<tr>") == 3
    assert "Mean ± half the 95% interval" in html
    sweep = Sweep(folder=Path("runs/sweep"), runs=[Path("a"), Path("b")], failed=failed, comparison=comparison)
    assert repr(sweep) == f"Sweep 'runs/sweep': 2 runs ended, {len(failed)} failed\n{comparison!r}"
    assert ("&lt;third&gt;" in sweep._repr_html_()) == bool(failed)
    assert html in sweep._repr_html_()


def test_of_many_settings_the_first_is_shown_and_the_others_are_counted(comparison):
    (setting,) = comparison.settings
    many = SimpleNamespace(settings=[setting] * 4)
    assert comparison_text(many).splitlines()[1] == "and 3 other settings"

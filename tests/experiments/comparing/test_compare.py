import json
import math
import re

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.report.comparison.means import mean_of, mean_to_target
from dtfl_private.report.comparison.runs import AXES
from dtfl_private.report.comparison.speedups import speedup
from dtfl_private.verdicts.findings_file import findings_document

# Student's t with one and with two degrees of freedom, 97.5 % (any table).
T1, T2 = 12.7062, 4.3027


@pytest.fixture
def runs(write_run, tmp_path):
    """Two seeds of DTFL and two of FedAvg, target 0.7."""

    def written(**settings):
        common = {"target_accuracy": 0.7, **settings}
        return [
            write_run(tmp_path / "dtfl-0", [0.5, 0.7, 0.8], seed=0, **common),
            write_run(tmp_path / "dtfl-1", [0.6, 0.65, 0.9], seed=1, **common),
            write_run(tmp_path / "avg-0", [0.5, 0.6, 0.75], seed=0, method="fedavg", round_s=80.0, **common),
            write_run(tmp_path / "avg-1", [0.5, 0.75, 0.72], seed=1, method="fedavg", round_s=80.0, **common),
        ]

    return written


def by_name(comparison):
    (setting,) = comparison.settings
    return setting, {group.name: group for group in setting.groups}


def test_expenses_to_the_target_are_those_of_the_first_round_that_reaches_it(runs):
    _, groups = by_name(compare(runs()))
    first, second = groups["dtfl"].runs
    assert first.course.to_target(0.7) == {"time_s": 16.0, "rounds": 2, "bytes": 20, "macs": 22}
    assert second.course.to_target(0.7) == {"time_s": 24.0, "rounds": 3, "bytes": 30, "macs": 33}
    assert groups["fedavg"].runs[1].course.to_target(0.7)["rounds"] == 2
    assert (first.final_accuracy, groups["fedavg"].runs[1].best_accuracy) == (0.8, 0.75)


def test_means_and_intervals_over_seeds_are_students(runs):
    _, groups = by_name(compare(runs()))
    time = groups["dtfl"].to_target("time_s")
    half = T1 * 4 * math.sqrt(2) / math.sqrt(2)  # of 16 and 24: deviation 4 sqrt(2), over sqrt(n)
    assert time.mean == 20
    assert (time.ci_low, time.ci_high) == (pytest.approx(20 - half, rel=1e-4), pytest.approx(20 + half, rel=1e-4))
    final = groups["dtfl"].accuracy("final_accuracy")
    assert (final.mean, final.half_width) == (pytest.approx(0.85), pytest.approx(T1 * 0.05, rel=1e-4))


def test_the_interval_of_three_values_and_of_one():
    # Deviation of 1, 2, 3 is 1.
    assert mean_of([1.0, 2.0, 3.0]).half_width == pytest.approx(T2 / math.sqrt(3), rel=1e-4)
    assert (mean_of([5.0]).mean, mean_of([5.0]).half_width, mean_of([5.0]).ci_low) == (5.0, None, None)


def test_a_speed_up_is_the_ratio_of_mean_times_with_its_range_over_equal_seeds(runs):
    setting, groups = by_name(compare(runs()))
    assert setting.baseline is groups["fedavg"]
    found = speedup(groups["dtfl"], setting.baseline)
    # FedAvg needs 240 and 160 s, DTFL 16 and 24 s.
    assert (found.value, found.low, found.high) == (200 / 20, pytest.approx(160 / 24), 15)
    assert speedup(groups["fedavg"], setting.baseline).value == 1


def test_idle_seconds_are_what_is_left_of_the_round_after_the_clients_own_time(runs):
    _, groups = by_name(compare(runs()))
    run = groups["dtfl"].runs[0]
    assert (run.idle_s, run.busy_s) == ({"0": 18.0, "1": 0.0}, {"0": 6.0, "1": 24.0})
    assert (run.idle_s_per_client, run.idle_share) == (9.0, 18 / 48)


def test_a_client_that_dropped_out_waits_for_nobody(write_run, tmp_path):
    path = write_run(tmp_path / "run", [0.5])
    line = json.loads((path / "rounds.jsonl").read_text())
    (path / "rounds.jsonl").write_text(json.dumps({**line, "dropped": [0]}) + "\n")
    assert compare([path]).settings[0].groups[0].runs[0].idle_s == {"1": 0.0}


def test_regret_is_what_the_rounds_lasted_beyond_the_oracles(write_run, tmp_path):
    path = write_run(tmp_path / "run", [0.5, 0.6])
    lines = [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]

    def with_oracle(*times_s):
        texts = [json.dumps({**line, "oracle_time_s": s}) for line, s in zip(lines, times_s, strict=True)]
        (path / "rounds.jsonl").write_text("\n".join(texts) + "\n")
        return compare([path]).settings[0].groups[0].regret.mean

    assert with_oracle(8.0, 2.0) == 16 / 10 - 1
    assert with_oracle(8.0, None) is None


def test_a_run_that_never_reached_the_target_turns_means_into_bounds(runs):
    setting, groups = by_name(compare(runs(), target=0.78))
    dtfl, fedavg = groups["dtfl"], groups["fedavg"]
    assert (dtfl.reached, fedavg.reached) == (2, 0)
    assert (fedavg.to_target("time_s").mean, fedavg.to_target("time_s").at_least) == (None, 240)
    assert speedup(dtfl, fedavg).at_least == 240 / 24
    assert speedup(fedavg, dtfl).at_most == 24 / 240
    assert speedup(fedavg, fedavg) == speedup(dtfl, None)
    assert setting.target == 0.78
    # At 0.85 only one run of DTFL arrives, after 24 s; the other had spent 24 s without.
    _, groups = by_name(compare([run.run for run in dtfl.runs], target=0.85))
    assert (groups["dtfl"].reached, groups["dtfl"].to_target("time_s").at_least) == (1, 24)


def test_a_bound_counts_runs_that_arrived_with_what_they_needed_and_others_with_all_they_spent():
    mean = mean_to_target([10.0, None, 30.0], [100.0, 200.0, 300.0])
    assert (mean.mean, mean.ci_low, mean.at_least) == (None, None, (10 + 200 + 30) / 3)


def test_without_a_target_there_is_neither_time_nor_speed_up(runs):
    setting, groups = by_name(compare(runs(target_accuracy=None)))
    assert all(groups["dtfl"].to_target(axis).mean is None for axis in AXES)
    assert all(groups["dtfl"].to_target(axis).at_least is None for axis in AXES)
    assert speedup(groups["dtfl"], setting.baseline).value is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "resnet-20"),
        ("dataset", "mnist"),
        ("max_train_images", 41),
        ("partition", "dirichlet:0.5"),
        ("clients", 11),
        ("profiles", "uniform"),
        ("link_unit", "mbyte"),
        ("noise", 0.1),
        ("server_workers", 1),
        ("target_accuracy", 0.8),
    ],
)
def test_runs_on_different_footings_are_refused_by_the_key_or_set_apart(runs, write_run, tmp_path, key, value):
    other = write_run(tmp_path / "other", [0.9], **{"target_accuracy": 0.7, "seed": 2, key: value})
    with pytest.raises(InputError, match=f"runs differ in {key}: .* add --apart"):
        compare([*runs(), other])
    comparison = compare([*(run for run in tmp_path.iterdir())], apart=True)
    assert sorted(len(setting.groups) for setting in comparison.settings) == [1, 2]
    assert all(key.replace("_", " ") in setting.name for setting in comparison.settings)


def test_a_period_of_changes_that_never_happen_is_no_difference(write_run, tmp_path):
    paths = [write_run(tmp_path / str(every), [0.5], seed=every, drift_every=every) for every in (2, 3)]
    assert len(compare(paths).settings) == 1


def test_a_given_target_replaces_those_of_the_runs(write_run, tmp_path):
    paths = [write_run(tmp_path / str(seed), [0.5], seed=seed, target_accuracy=0.1 + seed / 10) for seed in (0, 1)]
    assert compare(paths, target=0.4).settings[0].target == 0.4


def test_runs_are_grouped_by_all_that_differs_but_the_seed_and_what_changes_no_figure(write_run, tmp_path):
    paths = [
        write_run(tmp_path / "a", [0.5], seed=0, workers=1),
        write_run(tmp_path / "b", [0.5], seed=1, workers=2, device="cpu"),
        write_run(tmp_path / "c", [0.5], scheduler="static:m=2"),
        write_run(tmp_path / "d", [0.5], scheduler="static:m=2", lr=0.01),
        write_run(tmp_path / "e", [0.5], method="fedavg"),
    ]
    _, groups = by_name(compare(paths))
    assert {name: len(group.runs) for name, group in groups.items()} == {
        "dtfl (dynamic, lr 0.001)": 2,
        "dtfl (static:m=2, lr 0.001)": 1,
        "dtfl (static:m=2, lr 0.01)": 1,
        "fedavg (lr 0.001)": 1,
    }


def test_runs_of_different_versions_of_the_code_are_noted(write_run, tmp_path):
    paths = [write_run(tmp_path / name, [0.5], seed=seed) for seed, name in enumerate("abc")]
    assert not compare(paths).notes
    for path, commit, torch in zip(paths, ("1a", "1a", "1a-dirty"), ("2.9", "2.9", "2.10"), strict=True):
        told = json.loads((path / "environment.json").read_text())
        (path / "environment.json").write_text(json.dumps({**told, "commit": commit, "versions": {"torch": torch}}))
    assert not compare(paths[:2]).notes
    for note, what in zip(compare(paths).notes, ("commits", "versions of torch"), strict=True):
        assert note.startswith(f"the runs are of 2 {what} (see their environment.json)")
    (paths[0] / "environment.json").write_text("[]")
    with pytest.raises(InputError, match=r"environment.json is missing or damaged"):
        compare(paths)


def test_a_scheduler_is_named_by_its_settings_only_where_they_say_something(write_run, tmp_path):
    def names(*schedulers: str) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        paths = [write_run(folder / str(n), [0.5], scheduler=text) for n, text in enumerate(schedulers)]
        return [group.name for group in compare(paths).settings[0].groups]

    usual = "efficient:rounds_ratio=1.0"
    assert names(usual, "dynamic") == ["dtfl (efficient)", "dtfl (dynamic)"]
    assert names("efficient:rounds_ratio=1.6", "dynamic")[0] == "dtfl (efficient:rounds_ratio=1.6)"
    assert names(usual, "efficient:rounds_ratio=1.6")[0] == f"dtfl ({usual})"
    assert names("nobody.has:This", "dynamic")[0] == "dtfl (nobody.has:This)"
    paths = [write_run(tmp_path / f"b{n}", [0.5], scheduler=text) for n, text in enumerate((usual, "dynamic"))]
    assert compare(paths, baseline="efficient").settings[0].baseline.name == "dtfl (efficient)"


@pytest.mark.parametrize("name", ["dtfl (static:m=2)", "static:m=2", "static:2", "Static"])
def test_a_baseline_is_named_by_table_method_or_scheduler(write_run, tmp_path, name):
    paths = [write_run(tmp_path / scheduler[:3], [0.5], scheduler=scheduler) for scheduler in ("random", "static:m=2")]
    assert compare(paths).settings[0].baseline is None
    assert compare(paths, baseline=name).settings[0].baseline.name == "dtfl (static:m=2)"
    with pytest.raises(InputError, match=r"baseline 'dtfl' is not one group but 2"):
        compare(paths, baseline="dtfl")
    with pytest.raises(InputError, match=r"unknown baseline 'sttic'"):
        compare(paths, baseline="sttic")


def test_one_sample_is_not_counted_twice(write_run, tmp_path):
    paths = [write_run(tmp_path / name, [0.5]) for name in ("one", "two")]
    with pytest.raises(InputError, match=r"one' and '.*two' are one sample, not two"):
        compare(paths)


def test_other_data_under_the_same_name_are_refused(write_run, tmp_path):
    paths = [
        write_run(tmp_path / "one", [0.5]),
        write_run(tmp_path / "two", [0.5], method="fedavg", data="others"),
    ]
    with pytest.raises(InputError, match="name the same data, but had different ones"):
        compare(paths)


def test_what_a_reader_must_know_is_noted(write_run, tmp_path):
    paths = [
        write_run(tmp_path / "one", [0.5], rounds=3, seed=0),
        write_run(tmp_path / "two", [0.5], method="fedavg", rounds=1, seed=1),
    ]
    notes = "; ".join(compare(paths).notes)
    assert "one' has not ended (1 of 3 rounds)" in notes
    assert "different seeds" in notes
    assert "different numbers of rounds" in notes


@pytest.fixture
def audited(write_run, findings_of, figure, tmp_path):
    """A run of 2 rounds with an audit in its folder; keywords replace what the audit says."""

    def written(**values):
        path = write_run(tmp_path / "audited", [0.4, 0.5], target_accuracy=0.45)
        strongest = (figure(2, 0.6), figure(1, 0.9), figure(1, 20.0, metric="psnr"))
        training = {"dataset": "digits", "model": "resnet-8", "scheduler": "dynamic", "clients": 10, "rounds": 2}
        said = {**training, "test_accuracy": 0.5, "strongest": strongest, **values}
        (path / "audit").mkdir()
        (path / "audit" / "audit.json").write_bytes(findings_document(findings_of(**said)))
        return path

    return written


def test_the_leakage_of_a_run_is_what_its_audit_says_of_the_strongest_attacks(audited):
    comparison = compare([audited()])
    leakage = comparison.settings[0].groups[0].runs[0].leakage
    assert [(result.tier, result.value) for result in leakage.strongest] == [(1, 0.9), (2, 0.6)]
    assert (leakage.low, leakage.high, leakage.metric, comparison.notes) == (0.6, 0.9, "ssim", [])


def test_a_run_without_an_audit_has_no_leakage_and_no_note(write_run, tmp_path):
    comparison = compare([write_run(tmp_path / "run", [0.5], target_accuracy=0.4)])
    assert comparison.settings[0].groups[0].runs[0].leakage is None
    assert comparison.notes == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"valid": False}, r"audit.json is invalid \(sanity check not passed: unnamed\)"),
        ({"seed": 1}, r"is of another run \(seed 1 there, 0 here\): it is not used"),
        ({"rounds": 3}, r"is of another run \(rounds 3 there, 2 here\)"),
        ({"test_accuracy": 0.51}, r"is of another run \(test accuracy 0.51 there, 0.5 here\)"),
        ({"defense": ("quantize",)}, r"is of another run \(defense quantize there, none here\)"),
        ({"strongest": ()}, "audit.json has no SSIM of an attack"),
    ],
)
def test_an_audit_that_says_nothing_of_this_run_is_not_used_which_a_note_says(audited, values, said):
    comparison = compare([audited(**values)])
    assert comparison.settings[0].groups[0].runs[0].leakage is None
    (note,) = comparison.notes
    assert re.search(said, note)


def test_a_damaged_audit_is_not_used_and_impossible_values_are_not_shown(audited, figure):
    path = audited(strongest=(figure(1, 1e300, ci_low=0.0, ci_high=1e301),))
    assert compare([path]).notes == [f"{path / 'audit' / 'audit.json'} is damaged: an SSIM in it is beyond 1"]
    (path / "audit" / "audit.json").write_text("{")
    comparison = compare([path])
    assert comparison.settings[0].groups[0].runs[0].leakage is None
    assert comparison.notes[0].startswith(f"audit {path / 'audit' / 'audit.json'}: ")


# A run folder may be anybody's.


def line_with(**changes):
    def change(path):
        line = json.loads((path / "rounds.jsonl").read_text())
        (path / "rounds.jsonl").write_text(json.dumps({**line, **changes}) + "\n")

    return change


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: (path / "config.toml").unlink(), "is no run with a finished round: it has no config.toml"),
        (lambda path: (path / "rounds.jsonl").write_text(""), "is no run with a finished round: its rounds.jsonl"),
        (lambda path: (path / "rounds.jsonl").write_text("{}\n"), "is damaged in line 1"),
        (lambda path: (path / "environment.json").write_text("[]"), "environment.json is missing or damaged"),
        (lambda path: (path / "config.toml").write_text("rouns = 1"), "unknown key in .*'rouns'"),
        (lambda path: (path / "config.toml").write_bytes(b"#" * 5_000_000), "cannot be read: larger than 1 MiB"),
        (line_with(test_accuracy=1.5), "its figures are impossible"),
        (line_with(virtual_time_s=-1.0), "its figures are impossible"),
        (line_with(bytes={"up_weights": -1}), "its figures are impossible"),
        (line_with(macs={"client": 10**400}), "its figures are impossible|is damaged in line 1"),
        (line_with(test_accuracy="much"), "is damaged in line 1"),
    ],
)
def test_a_folder_that_is_no_intact_run_is_refused_in_one_line(write_run, tmp_path, spoil, said):
    path = write_run(tmp_path / "run", [0.5])
    spoil(path)
    with pytest.raises(InputError, match=said) as refused:
        compare([path])
    assert "\n" not in str(refused.value)


def test_nothing_to_compare_and_impossible_targets_are_refused(write_run, tmp_path):
    with pytest.raises(InputError, match="no runs to compare"):
        compare([])
    with pytest.raises(InputError, match=r"target 1\.5 is refused"):
        compare([write_run(tmp_path / "run", [0.5])], target=1.5)

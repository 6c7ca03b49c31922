import json
from dataclasses import replace

import pytest

from dtfl_private.experiments.compare import compare
from dtfl_private.report.comparison import Leakage, Mean, Speedup
from dtfl_private.report.comparison_files import comparison_files
from dtfl_private.report.comparison_json import as_json
from dtfl_private.report.pictures.comparison import COLOURS, group_styles
from dtfl_private.report.tables.comparison import (
    COLUMNS,
    cells,
    latex,
    leakage_text,
    legend,
    markdown,
    speedup_text,
    terminal_tables,
    with_spread,
)


@pytest.fixture
def comparison(write_run, tmp_path):
    """Three runs of DTFL, all of which reach 0.7; of two of FedAvg only one does."""
    paths = [write_run(tmp_path / f"dtfl-{seed}", [0.5, 0.7], seed=seed) for seed in (0, 1, 2)]
    paths += [
        write_run(tmp_path / f"avg-{seed}", [0.5, 0.6 + seed / 10], seed=seed, method="fedavg", round_s=80.0)
        for seed in (0, 1)
    ]
    return compare(paths, target=0.7)


def row(comparison, name: str) -> dict[str, str]:
    setting = comparison.settings[0]
    (group,) = (group for group in setting.groups if group.name == name)
    return dict(zip(COLUMNS, cells(group, setting), strict=True))


def test_a_row_says_what_was_reached_and_at_what_expense(comparison):
    assert row(comparison, "dtfl") == {
        "method": "dtfl",
        "runs": "3",
        "final accuracy": "0.7000 ± 0.0000",
        "best": "0.7000",
        "reached": "3 of 3",
        "rounds": "2 ± 0",
        "time, s": "16 ± 0",
        "speed-up": "> 10x",
        "bytes": "20 B",
        "MACs": "22",
        "idle, s": "6",
        "idle": "38%",
        "regret": "-",
        "SSIM": "-",
    }


def test_a_row_with_a_run_that_fell_short_has_bounds_and_says_how_many_arrived(comparison):
    found = row(comparison, "fedavg")
    assert (found["reached"], found["rounds"], found["time, s"]) == ("1 of 2", "> 2", "> 160")
    assert (found["speed-up"], found["bytes"], found["MACs"]) == ("-", "> 20 B", "> 22")


@pytest.mark.parametrize(
    ("mean", "text"),
    [
        (Mean(mean=12.3456), "12.3"),
        (Mean(mean=12345.6), "12346"),
        (Mean(mean=12.3456, ci_low=12.2222, ci_high=12.4690), "12.35 ± 0.12"),
        (Mean(mean=1234.56, ci_low=1200.0, ci_high=1269.12), "1235 ± 35"),
        (Mean(mean=3.0, ci_low=3.0, ci_high=3.0), "3 ± 0"),
        (Mean(mean=42.9989, ci_low=42.9989, ci_high=42.9989 + 2e-14), "43 ± 0"),
        (Mean(mean=None, at_least=1234.5), "> 1234"),
        (Mean(mean=None), "-"),
    ],
)
def test_a_mean_has_the_digits_that_its_interval_supports(mean, text):
    assert with_spread(mean) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Speedup(value=5.1234, low=4.9, high=5.6), "5.12x (4.9-5.6)"),
        (Speedup(value=2.0, low=2.0, high=2.0), "2x"),
        (Speedup(at_least=3.21), "> 3.21x"),
        (Speedup(at_most=0.5), "< 0.5x"),
        (Speedup(), "-"),
    ],
)
def test_a_speed_up_is_a_value_with_its_range_or_a_bound(found, text):
    assert speedup_text(found) == text


def test_compare_json_holds_the_promised_keys(comparison):
    found = as_json(comparison)
    first = found["runs"][0]
    assert {
        key: first[key]
        for key in (
            *("method", "seed", "target_accuracy", "time_to_target_s", "rounds_to_target"),
            *("bytes_to_target", "macs_to_target", "final_accuracy", "best_accuracy"),
        )
    } == {
        "method": "dtfl",
        "seed": 0,
        "target_accuracy": 0.7,
        "time_to_target_s": 16.0,
        "rounds_to_target": 2,
        "bytes_to_target": 20,
        "macs_to_target": 22,
        "final_accuracy": 0.7,
        "best_accuracy": 0.7,
    }
    dtfl, fedavg = found["methods"]
    assert dtfl["time_to_target_s"] == {"mean": 16.0, "ci_low": 16.0, "ci_high": 16.0, "at_least": None}
    assert fedavg["time_to_target_s"] == {"mean": None, "ci_low": None, "ci_high": None, "at_least": 160.0}
    assert (dtfl["speedup"], dtfl["speedup_at_least"], fedavg["speedup"]) == (None, 10.0, None)
    assert (fedavg["reached"], fedavg["n"], fedavg["seeds"], dtfl["baseline"]) == (1, 2, [0, 1], "fedavg")
    assert found["runs"][3]["time_to_target_s"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_leakage_is_shown_from_the_least_to_the_most_exposed_tier_with_the_number_of_audited_runs(comparison, figure):
    (setting,) = comparison.settings
    dtfl, fedavg = setting.groups
    found = [Leakage(strongest=(figure(1, 0.97), figure(4, 0.7))), Leakage(strongest=(figure(2, 0.62),))]
    runs = [replace(run, leakage=leakage) for run, leakage in zip(dtfl.runs, [*found, None], strict=True)]
    audited = replace(dtfl, runs=runs)
    assert (leakage_text(audited), leakage_text(fedavg)) == ("0.62-0.97 (2 of 3)", "-")
    assert leakage_text(replace(audited, runs=runs[1:2])) == "0.62"
    some = replace(comparison, settings=[replace(setting, groups=[audited, fedavg], baseline=fedavg)])
    told = as_json(some)
    assert told["runs"][0]["leakage"] == {
        "metric": "ssim",
        "low": 0.7,
        "high": 0.97,
        "by_tier": {
            "1": {"attack": "decoder", "value": 0.97, "ci_low": 0.95, "ci_high": 0.99},
            "4": {"attack": "decoder", "value": 0.7, "ci_low": 0.7 - 0.02, "ci_high": 0.7 + 0.02},
        },
    }
    assert [told["runs"][2]["leakage"], told["methods"][1]["leakage"]] == [None, None]
    assert told["methods"][0]["leakage"] == {"metric": "ssim", "low": 0.62, "high": 0.97, "audited": 2}
    assert any("strongest attack" in sentence for sentence in legend(some))
    assert not any("strongest attack" in sentence for sentence in legend(comparison))


def test_markdown_and_latex_hold_every_cell_with_their_special_characters_escaped(comparison):
    text = markdown(comparison)
    assert text.splitlines()[2].count("|") == len(COLUMNS) + 1
    assert "| fedavg | 2 | 0.6500 ± 0.6353 | 0.6500 | 1 of 2 | \\> 2 |" in text
    tex = latex(comparison)
    assert r"dtfl & 3 & 0.7000 $\pm$ 0.0000 & 0.7000 & 3 of 3 & 2 $\pm$ 0 & 16 $\pm$ 0 & $>$ 10x &" in tex
    assert r"38\% & - & - \\" in tex
    assert tex.count(" & ") == 3 * (len(COLUMNS) - 1)


def test_names_of_unknown_origin_steer_neither_terminal_nor_markup(write_run, tmp_path):
    evil = "object:\x1b[31m|$x_1$"
    paths = [
        write_run(tmp_path / "evil", [0.5], scheduler=evil),
        write_run(tmp_path / "good", [0.5], scheduler="random"),
    ]
    found = compare(paths)
    assert found.settings[0].groups[0].name == r"dtfl (object:\x1b[31m|$x_1$)"
    assert r"\[31m\|$x\_1$" in markdown(found)
    assert r"[31m|\$x\_1\$" in latex(found)
    assert set(comparison_files(found)) == {"compare.json", "accuracy.png"}


def test_pictures_are_drawn_for_each_setting_and_groups_keep_their_colours(write_run, tmp_path):
    paths = [
        write_run(tmp_path / f"{method}-{noise}-{seed}", [0.3, 0.6 + seed / 10], method=method, noise=noise, seed=seed)
        for method in ("dtfl", "fedavg")
        for noise in (0.0, 0.1)
        for seed in (0, 1)
    ]
    found = compare(paths, target=0.65, apart=True)
    files = comparison_files(found)
    assert set(files) == {"compare.json", "accuracy-1.png", "accuracy-2.png", "time-to-target.png"}
    assert all(data.startswith(b"\x89PNG") for name, data in files.items() if name.endswith(".png"))
    as_svg = comparison_files(found, "svg")
    assert set(as_svg) == {"compare.json", "accuracy-1.svg", "accuracy-2.svg", "time-to-target.svg"}
    assert all(b"<svg" in data for name, data in as_svg.items() if name.endswith(".svg"))
    assert comparison_files(found, "svg") == as_svg
    assert group_styles(found) == {"dtfl": (COLOURS[0], "-"), "fedavg": (COLOURS[1], "-")}


def test_each_setting_has_a_table_and_notes_stand_in_the_legend(write_run, tmp_path):
    paths = [write_run(tmp_path / str(noise), [0.5], noise=noise, rounds=2) for noise in (0.0, 0.1)]
    found = compare(paths, apart=True)
    tables = terminal_tables(found, 165)
    assert [table.title.split("; ")[1] for table in tables] == ["noise 0", "noise 0.1"]
    assert sum("has not ended (1 of 2 rounds)" in sentence for sentence in legend(found)) == 2


def test_a_narrow_terminal_gets_the_columns_in_two_tables(comparison):
    first, second = terminal_tables(comparison, 100)
    columns = [[column.header for column in table.columns] for table in (first, second)]
    assert columns[0] + columns[1][1:] == list(COLUMNS)
    assert columns[1][0] == COLUMNS[0]

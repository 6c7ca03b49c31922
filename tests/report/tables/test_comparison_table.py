from dataclasses import replace

import pytest

from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.report.comparison.document import as_json
from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.comparison.runs import Leakage
from dtfl_private.report.comparison.speedups import Speedup
from dtfl_private.report.comparison.written_files import comparison_files
from dtfl_private.report.tables.comparison import (
    COLUMNS,
    cells,
    leakage_text,
    legend,
    speedup_text,
    terminal_tables,
    with_spread,
)
from dtfl_private.report.tables.comparison_markup import latex, markdown


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


def test_each_setting_has_a_table_and_notes_stand_in_the_legend(write_run, tmp_path):
    paths = [write_run(tmp_path / str(noise), [0.5], noise=noise, rounds=2) for noise in (0.0, 0.1)]
    found = compare(paths, apart=True)
    tables = terminal_tables(found)
    assert [table.title.split("; ")[1] for table in tables] == ["noise 0", "noise 0.1"]
    assert sum("has not ended (1 of 2 rounds)" in sentence for sentence in legend(found)) == 2

"""The table of what each method leaks, in the terminal, as Markdown and as LaTeX; and its picture."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from dtfl_private.report.comparison import written_files
from dtfl_private.report.comparison.exposure import Exposure
from dtfl_private.report.comparison.written_files import comparison_files
from dtfl_private.report.pictures.comparison import group_styles
from dtfl_private.report.pictures.method_leakage import method_leakage_picture
from dtfl_private.report.tables.comparison_markup import latex, markdown
from dtfl_private.report.tables.method_leakage import (
    COLUMNS,
    labels_text,
    leakage_cells,
    method_leakage_legend,
    method_leakage_tables,
)


@pytest.fixture
def audited(comparison, figure):
    """The comparison with every run of DTFL audited, and none of FedAvg."""
    goals = {"ssim": figure(1, 0.9, baseline=0.3), "auc": figure(2, 0.75, metric="auc")}
    exposure = Exposure(
        accuracy=0.7,
        goals=goals,
        labels=None,
        labels_in_clear=False,
        sent=("weights", "smashed data"),
        level="partly exposed",
        converged=True,
        terms={"victims": "64"},
    )
    (setting,) = comparison.settings
    dtfl, fedavg = setting.groups
    worst = replace(exposure, level="exposed")
    runs = [replace(run, exposure=one) for run, one in zip(dtfl.runs, (exposure, worst, exposure), strict=True)]
    return replace(comparison, settings=[replace(setting, groups=[replace(dtfl, runs=runs), fedavg])])


def test_a_row_sets_accuracy_cost_what_is_sent_and_each_goal_side_by_side(audited):
    found = dict(zip(COLUMNS, leakage_cells(audited.settings[0].groups[0]), strict=True))
    assert found == {
        "method": "dtfl",
        "audited": "3 of 3",
        "accuracy": "0.7000",
        "time, s": "16 ± 0",
        "bytes": "20 B",
        "sent": "weights, smashed data",
        "images: SSIM": "0.90 (0.88 to 0.92), tier 1",
        "guess": "0.30",
        "told apart": "-",
        "members: AUC": "0.75 (0.73 to 0.77), tier 2",
        "labels": "not sent in clear, not attacked",
        "verdict": "exposed",
    }


def test_labels_that_are_not_sent_are_what_attacks_on_them_reach(audited, figure):
    exposure = audited.settings[0].groups[0].exposures[0]
    counted = figure(5, 0.95, metric="accuracy", source="label-counts", baseline=0.4)
    assert labels_text([replace(exposure, labels=counted)]) == "0.95 (0.93 to 0.97, guess 0.40) by label-counts"
    assert labels_text([replace(exposure, labels=counted, labels_in_clear=True)]) == "in clear"


def test_names_from_a_file_neither_steer_the_terminal_nor_are_markup(audited, figure):
    setting = audited.settings[0]
    dtfl = setting.groups[0]
    evil = replace(dtfl.exposures[0], labels=figure(1, 0.9, metric="accuracy", source="label-[red]evil\x1b[2J"))
    runs = [replace(run, exposure=evil) for run in dtfl.runs]
    told = replace(setting, groups=[replace(dtfl, runs=runs)])
    (table,) = method_leakage_tables(replace(audited, settings=[told]))
    console = Console(file=StringIO(), width=300, color_system=None)
    console.print(table)
    assert r"label-[red]evil\x1b[2J" in console.file.getvalue()


def test_only_audited_groups_have_a_row(audited, comparison):
    (table,) = method_leakage_tables(audited)
    assert table.row_count == 1
    assert method_leakage_tables(comparison) == []
    assert method_leakage_legend(comparison) == []
    assert any("tier that clients were in" in sentence for sentence in method_leakage_legend(audited))


def test_markdown_and_latex_have_the_table_too(audited, comparison):
    assert "| dtfl | 3 of 3 | 0.7000 | 16 ± 0 | 20 B | weights, smashed data | 0.90 (0.88 to 0.92), tier 1 |" in (
        markdown(audited)
    )
    assert latex(audited).count(r"\begin{table}") == 2 * latex(comparison).count(r"\begin{table}")
    assert "images: SSIM" not in markdown(comparison)


def test_the_picture_is_drawn_where_runs_were_audited(audited, comparison, monkeypatch):
    for other in ("accuracy_picture", "target_picture"):  # which have tests of their own
        monkeypatch.setattr(written_files, other, lambda *_: b"a picture")
    drawn = comparison_files(audited, "svg")["method-leakage.svg"]
    assert "method-leakage.png" not in comparison_files(comparison)
    assert drawn == method_leakage_picture(audited.settings[0], group_styles(audited), "svg")
    with pytest.raises(ValueError, match="no run was audited"):
        method_leakage_picture(comparison.settings[0], group_styles(comparison))

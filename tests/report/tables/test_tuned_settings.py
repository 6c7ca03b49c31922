from dataclasses import replace

import pytest
from table_lines import lines, row

from dtfl_private.report.comparison.tuned_settings import TrialOutcome, TunedSettings
from dtfl_private.report.tables.comparison_markup import latex, markdown
from dtfl_private.report.tables.tuned_settings import tuned_settings_legend, tuned_settings_tables

TRIALS = [
    TrialOutcome(settings={"lr": 0.001, "server_lr": "0.03"}, accuracy=None, time_to_target_s=None),
    TrialOutcome(settings={"lr": 0.0025, "server_lr": "0.1"}, accuracy=0.71239, time_to_target_s=12.345),
]


@pytest.fixture
def tuned(comparison):
    """The comparison with one group whose settings were chosen, of a name that must be escaped."""
    first, *others = comparison.settings[0].groups
    chosen = replace(first, name="my_method", tuned=TunedSettings(trials=TRIALS, chosen=1))
    setting = replace(comparison.settings[0], name="settings tuned", groups=[chosen, *others])
    return replace(comparison, settings=[setting])


def test_a_row_has_the_chosen_settings_and_what_they_reached_beside_the_untuned(tuned):
    (table,) = tuned_settings_tables(tuned)
    assert lines(table)[0] == "chosen by trials: settings tuned"
    found = row(table, "my_method")
    assert found == ["lr 0.0025, server_lr 0.1", "2 of 2", "0.7124", "diverged", "12.3", "-"]
    assert table.row_count == 1  # others were not tuned


def test_chosen_settings_are_in_markdown_and_latex(tuned):
    assert r"| my\_method | lr 0.0025, server\_lr 0.1 | 2 of 2 | 0.7124 | diverged | 12.3 | - |" in markdown(tuned)
    assert r"my\_method & lr 0.0025, server\_lr 0.1 & 2 of 2 & 0.7124 & diverged & 12.3 & - \\" in latex(tuned)
    assert latex(tuned).count(r"\begin{table}") == latex(tuned).count(r"\end{table}") == 2


def test_where_nothing_was_chosen_nothing_is_said(comparison):
    assert tuned_settings_tables(comparison) == []
    assert tuned_settings_legend(comparison) == []
    assert "chosen by trials" not in markdown(comparison) + latex(comparison)


def test_names_of_settings_do_not_steer_the_terminal(tuned):
    setting = tuned.settings[0]
    hostile = TrialOutcome(settings={"[bold]\x1b[31m": "x"}, accuracy=0.5, time_to_target_s=None)
    group = replace(setting.groups[0], tuned=TunedSettings(trials=[hostile], chosen=0))
    (table,) = tuned_settings_tables(replace(tuned, settings=[replace(setting, groups=[group])]))
    assert "\x1b" not in "".join(lines(table))
    assert "[bold]" in "".join(lines(table))

"""Time, accuracy and leakage side by side: of compared runs, and of what attacks on them reached."""

from dataclasses import replace

import pytest

from dtfl_private.report.client_sweep import ClientPoint
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.pictures.side_by_side import side_by_side_picture
from dtfl_private.report.side_by_side import SideBySide, TierLeakage, side_by_side, tier_leakage
from dtfl_private.report.tables.side_by_side import side_by_side_markdown, side_by_side_tables


def leakage(run: str, tier: int, value: float, **given: str) -> TierLeakage:
    facts = {"attack": "decoder", "aux": "same", "metric": "ssim", **given}
    return TierLeakage(run=run, tier=tier, value=value, guess=0.1 * tier, **facts)


LEAKAGE = [
    *(leakage(f"dtfl-{seed}", 1, 0.8 + seed / 10) for seed in (0, 1, 2)),
    *(leakage(f"dtfl-{seed}", 2, 0.4) for seed in (0, 1)),
    leakage("dtfl-0", 1, 0.2, attack="hybrid"),
    leakage("elsewhere", 1, 0.0),
]


def point(client: int, n: int, value: float, **given: object) -> ClientPoint:
    facts = {"group": "dtfl", "seed": 0, "attack": "decoder", "tier": 1, "aux": "same", "metric": "ssim"}
    traits = {"recovered": 0.0, "records": 50, "label_entropy": 1.0, "oddness": 0.2}
    return ClientPoint(client=client, n=n, value=value, guess=value / 2, **{**facts, **traits, **given})


def test_leakage_of_a_run_is_the_mean_over_the_records_of_its_clients():
    points = [point(0, 16, 0.4), point(1, 8, 0.7), point(0, 16, 0.1, tier=2), point(0, 4, 0.3, group="all", seed=7)]
    first, second, other = tier_leakage(points)
    assert (first.run, first.tier, second.tier, other.run) == ("dtfl-seed0", 1, 2, "seed7")
    assert (first.value, first.guess) == (pytest.approx(0.5), pytest.approx(0.25))
    assert (second.value, other.value) == (pytest.approx(0.1), pytest.approx(0.3))


@pytest.fixture
def found(comparison: Comparison) -> list[SideBySide]:
    return side_by_side(comparison, LEAKAGE)


def test_a_row_is_a_group_of_runs_and_a_mean_over_its_runs_tier_by_tier(found):
    decoder, hybrid = found
    assert ((decoder.attack, decoder.targets), hybrid.attack) == (("decoder", [0.7]), "hybrid")
    dtfl, fedavg = decoder.rows
    assert ([row.name for row in decoder.rows], dtfl.runs, fedavg.runs) == (["dtfl", "fedavg"], 3, 2)
    # Student's t with two degrees of freedom: 4.303 standard errors of 0.1 / sqrt(3).
    assert dtfl.leakage[1].mean == pytest.approx(0.9)
    assert dtfl.leakage[1].half_width == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert (dtfl.leakage[2].mean, dtfl.leakage[2].half_width) == (pytest.approx(0.4), pytest.approx(0.0))
    assert dtfl.guess == {1: pytest.approx(0.1), 2: pytest.approx(0.2)}
    assert (fedavg.leakage, fedavg.time_s.mean) == ({}, None)
    assert decoder.tiers == [1, 2]
    assert (hybrid.tiers, hybrid.rows[0].leakage[1].mean) == ([1], pytest.approx(0.2))


def test_times_are_to_the_target_or_without_one_of_the_whole_run(comparison, found):
    (setting,) = comparison.settings
    group = setting.groups[0]
    assert found[0].rows[0].time_s == group.to_target("time_s")
    (untargeted, _) = side_by_side(replace(comparison, settings=[replace(setting, target=None)]), LEAKAGE)
    whole = [run.course.total["time_s"] for run in group.runs]
    assert untargeted.rows[0].time_s.mean == pytest.approx(sum(whole) / 3)
    assert untargeted.targets == []


def test_a_setting_of_one_group_names_its_row_and_others_name_settings_and_groups(comparison):
    (setting,) = comparison.settings
    settings = [replace(setting, name="model a", groups=setting.groups[:1]), replace(setting, name="model b")]
    rows = side_by_side(replace(comparison, settings=settings), LEAKAGE)[0].rows
    assert [row.name for row in rows] == ["model a", "model b: dtfl", "model b: fedavg"]


def test_tables_have_a_blank_where_nothing_was_attacked_and_bounds_where_the_target_was_missed(found):
    table, _ = side_by_side_tables(found)
    headers = [str(column.header) for column in table.columns]
    assert headers == ["runs", "n", "time to 0.7, s", "accuracy", "tier 1", "tier 2", "guess"]
    text = side_by_side_markdown(found)
    dtfl, fedavg = (line.split(" | ") for line in text.splitlines()[4:6])
    assert dtfl[-3:] == ["0.90 ± 0.25", "0.40 ± 0.00", "0.20 |"]
    assert fedavg[-3:] == ["-", "-", "- |"]
    assert fedavg[2].startswith(r"\> ")
    assert "SSIM that hybrid reaches with auxiliary data 'same'" in text


def test_the_picture_has_a_cell_for_each_attacked_tier(found):
    text = side_by_side_picture(found[0], form="svg").decode()
    assert text == side_by_side_picture(found[0], form="svg").decode()
    assert text != side_by_side_picture(found[1], form="svg").decode()
    assert "(the best guess: 0.10 to 0.20)" in text
    assert side_by_side_picture(found[0]).startswith(b"\x89PNG")

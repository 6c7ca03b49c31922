from dataclasses import replace
from io import StringIO

import numpy as np
from rich.console import Console

from dtfl_private.report.tables.costs import cost_table, round_time_table, step_time_table
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.tables.profiles import profiles_table
from dtfl_private.report.tables.summary import summary_table
from dtfl_private.simulation.clients.profiles import PROFILE_SETS, ResourceProfile
from dtfl_private.simulation.costs.table import TierTable


def lines(table) -> list[str]:
    file = StringIO()
    Console(file=file, width=200, color_system=None).print(table)
    return [line.strip() for line in file.getvalue().splitlines() if line.strip()]


def row(table, start: str) -> list[str]:
    """Return the cells of the row that starts with this text, without it."""
    (line,) = [line for line in lines(table) if line.startswith(f"{start} ")]
    return [cell.strip() for cell in line.removeprefix(start).split("  ") if cell.strip()]


def test_the_costs_of_a_tier_are_in_its_row(four_tiers: TierTable):
    first, second, *others = four_tiers.rows
    whole = replace(four_tiers, rows=(replace(first, server_params=10_202 - first.client_params), second, *others))
    table = cost_table(whole, title="made up", batch_size=100)
    assert lines(table)[0] == "made up"
    assert row(table, "2") == [
        "16384",
        "5,101",
        "50.0%",
        f"{second.client_forward_macs / 1e6:.2f}",
        "41.9%",
        "15.70",
        "21.30",
        "6.55 MB",
        "20.4 kB",
    ]


def test_step_times_are_modelled_from_macs_and_measured_where_that_was_done(four_tiers: TierTable):
    modelled = step_time_table(four_tiers, batch_size=32, cpu_macs_per_s=1e9, server_macs_per_s=8e9)
    # 32 images x 26.9 MMAC at 1 GMAC/s; x 9.9 MMAC at 8 GMAC/s.
    assert row(modelled, "3") == ["860.80", "20.53", "39.60"]
    assert "measured" not in " ".join(lines(modelled)[:2])

    steps = [(0.001, 0.004), (0.002, 0.003), (0.003, 0.002), (0.005, 0.001)]
    rows = tuple(
        replace(cost, client_step_s=client, server_step_s=server)
        for cost, (client, server) in zip(four_tiers.rows, steps, strict=True)
    )
    timed = step_time_table(replace(four_tiers, rows=rows), batch_size=10, cpu_macs_per_s=1e9, server_macs_per_s=1e9)
    assert row(timed, "3")[-3:] == ["30.00", "3.00", "20.00"]


def test_the_fastest_tier_of_each_profile_is_marked():
    profiles = PROFILE_SETS["paper"][:2]
    times = np.array([[3.0, 2.0, 75.0], [1.0, 5.0, 4.0]])
    table = round_time_table(times, np.array([2, 3, 4]), profiles, title="times")
    assert row(table, "4 CPU, 100 Mbps") == ["3 s", "2 s *", "1 min 15 s"]
    assert row(table, "2 CPU, 30 Mbps") == ["1 s *", "5 s", "4 s"]


def test_profiles_show_units_and_shares():
    profiles = [
        ResourceProfile(name="phone", cpus=0.5, up_mbit_s=10, down_mbit_s=50, latency_ms=40, share=3),
        ResourceProfile(name="desk", cpus=8, up_mbit_s=100, down_mbit_s=100),
    ]
    table = profiles_table("mine", profiles, "mbit")
    assert row(table, "phone") == ["0.5", "10 Mbit/s", "50 Mbit/s", "40 ms", "75%"]
    assert row(table, "desk") == ["8", "100 Mbit/s", "100 Mbit/s", "0 ms", "25%"]
    assert row(profiles_table("mine", profiles, "mbyte"), "phone")[1:3] == ["80 Mbit/s", "400 Mbit/s"]


SUMMARY = {
    "rounds": 12,
    "final_accuracy": 0.875,
    "best_accuracy": 0.9,
    "best_round": 11,
    "target_accuracy": 0.8,
    "rounds_to_target": 7,
    "time_to_target_s": 125.0,
    "virtual_time_s": 3725.0,
    "wall_time_s": 61.2,
    "bytes": {"down_weights": 1_500_000, "up_labels": 80},
    "macs": {"client": 2_000_000_000, "server": 5},
}


def test_the_closing_table_holds_the_figures_of_the_run():
    table = summary_table(SUMMARY, "runs/mine")
    assert lines(table) == [
        "rounds                12",
        "final test accuracy   0.8750",
        "best test accuracy    0.9000 (round 11)",
        "target 0.8            round 7, after 2 min 05 s simulated",
        "simulated time        1 h 02 min",
        "wall time of rounds   1 min 01 s",
        "sent                  down weights 1.5 MB, up labels 80 B",
        "MACs                  client 2 G, server 5",
        "run folder            runs/mine",
    ]


def test_a_target_that_was_missed_or_not_set_is_said_so():
    missed = SUMMARY | {"rounds_to_target": None, "time_to_target_s": None}
    assert "target 0.8            not reached" in lines(summary_table(missed, "r"))
    assert not any("target" in line for line in lines(summary_table(missed | {"target_accuracy": None}, "r")))


def test_numbers_stand_to_the_right_and_names_to_the_left():
    table = plain_table("title", "name", "count", "note")
    table.add_row("a", "1", "x")
    assert [column.justify for column in table.columns] == ["left", "right", "right"]
    assert [column.justify for column in plain_table("", "a", "b", right=False).columns] == ["left", "left"]

from dataclasses import replace

import numpy as np
from table_lines import lines, row

from dtfl_private.report.tables.costs import cost_table, round_time_table, step_time_table
from dtfl_private.simulation.clients.profiles import PROFILE_SETS
from dtfl_private.simulation.costs.table import TierTable


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

from table_lines import row

from dtfl_private.report.tables.profiles import profiles_table
from dtfl_private.simulation.clients.profiles import ResourceProfile


def test_profiles_show_units_and_shares():
    profiles = [
        ResourceProfile(name="phone", cpus=0.5, up_mbit_s=10, down_mbit_s=50, latency_ms=40, share=3),
        ResourceProfile(name="desk", cpus=8, up_mbit_s=100, down_mbit_s=100),
    ]
    table = profiles_table("mine", profiles, "mbit")
    assert row(table, "phone") == ["0.5", "10 Mbit/s", "50 Mbit/s", "40 ms", "75%"]
    assert row(table, "desk") == ["8", "100 Mbit/s", "100 Mbit/s", "0 ms", "25%"]
    assert row(profiles_table("mine", profiles, "mbyte"), "phone")[1:3] == ["80 Mbit/s", "400 Mbit/s"]

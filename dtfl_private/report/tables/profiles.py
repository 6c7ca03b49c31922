"""The table of a set of resource profiles."""

from collections.abc import Sequence

from rich.table import Table

from dtfl_private.report.tables.plain import plain_table
from dtfl_private.simulation.clients.profiles import BYTES_PER_S, LinkUnit, ResourceProfile


def profiles_table(name: str, profiles: Sequence[ResourceProfile], link_unit: LinkUnit) -> Table:
    """Return the resource profiles of a set."""
    table = plain_table(f"profiles '{name}'", "name", "CPUs", "up", "down", "latency", "share")
    total = sum(profile.share for profile in profiles)
    scale = BYTES_PER_S[link_unit] / BYTES_PER_S["mbit"]
    for profile in profiles:
        table.add_row(
            profile.name,
            f"{profile.cpus:g}",
            f"{profile.up_mbit_s * scale:g} Mbit/s",
            f"{profile.down_mbit_s * scale:g} Mbit/s",
            f"{profile.latency_ms:g} ms",
            f"{profile.share / total:.0%}",
        )
    return table

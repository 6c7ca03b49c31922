"""The table of a set of resource profiles."""

import math
from collections.abc import Sequence
from typing import get_args

from rich.table import Table

from dtfl_private.printable import one_line, short_name
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import si
from dtfl_private.simulation.clients.engines import Engine, OperatorClass
from dtfl_private.simulation.clients.profiles import BYTES_PER_S, LinkUnit, ResourceProfile


def profiles_table(name: str, profiles: Sequence[ResourceProfile], link_unit: LinkUnit) -> Table:
    """Return the resource profiles of a set."""
    table = plain_table(f"profiles '{name}'", "name", "CPUs", "up", "down", "latency", "share")
    total = sum(profile.share for profile in profiles)
    scale = BYTES_PER_S[link_unit] / BYTES_PER_S["mbit"]
    for profile in profiles:
        table.add_row(
            short_name(profile.name),
            f"{profile.cpus:.3g}",
            f"{profile.up_mbit_s * scale:g} Mbit/s",
            f"{profile.down_mbit_s * scale:g} Mbit/s",
            f"{profile.latency_ms:g} ms",
            f"{profile.share / total:.0%}",
        )
    return table


def engines_table(profiles: Sequence[ResourceProfile]) -> Table:
    """Return the engines of the profiles that describe some, each with what they are from."""
    table = plain_table("engines", "profile", "engine", "peak, MAC/s", "memory, B/s", "launch", "memory", right=False)
    for profile in profiles:
        for name, engine in profile.engines.items():
            table.add_row(
                short_name(profile.name),
                name,
                _peaks(engine),
                _limit(engine.bytes_per_s, "B/s"),
                f"{engine.launch_s * 1e6:g} us",
                _limit(engine.memory_bytes, "B"),
            )
    sources = dict.fromkeys(f"{profile.name}: {profile.source}" for profile in profiles if profile.source)
    table.caption = "\n".join(map(one_line, sources))
    table.caption_justify = "left"
    return table


def shares_table(profile: ResourceProfile) -> Table:
    """Return the share of its roofline that each engine of a profile reaches, by class of operators."""
    table = plain_table("share of the roofline that is reached", "operators", *profile.engines)
    for kind in get_args(OperatorClass):
        table.add_row(kind, *(f"{engine.efficiency.get(kind, 1.0):.3g}" for engine in profile.engines.values()))
    return table


def _peaks(engine: Engine) -> str:
    """Return an engine's peaks; cpus without any compute at the speed of the profile's CPUs."""
    if engine.macs_per_s is None:
        return "as its CPUs"
    return ", ".join(f"{name} {si(peak, '')}" for name, peak in engine.macs_per_s.items())


def _limit(value: float, unit: str) -> str:
    return "no limit" if math.isinf(value) else si(value, unit)

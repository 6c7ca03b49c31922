"""Tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.report.words import bytes_text, duration, si
from dtfl_private.simulation.clients.profiles import BYTES_PER_S, LinkUnit, ResourceProfile
from dtfl_private.simulation.costs.table import TierTable


def plain_table(title: str, *columns: str, right: bool = True) -> Table:
    """Return an empty table in the house style; all columns but the first are right-aligned unless told otherwise."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if right and position else "left")
    return table


def cost_table(costs: TierTable, *, title: str, batch_size: int) -> Table:
    """Return the parameters, MACs (per image) and bytes of every tier, by analysis."""
    columns = ("tier m", "cut", "client params", "share", "client MMAC", "share", "train", "server train")
    table = plain_table(title, *columns, f"z of {batch_size}", "weights")
    whole = costs.rows[0].client_params + costs.rows[0].server_params
    for row in costs.rows:
        table.add_row(
            str(row.tier),
            "x".join(map(str, row.cut_shape)),
            f"{row.client_params:,}",
            f"{row.client_params / whole:.1%}",
            f"{row.client_forward_macs / 1e6:.2f}",
            f"{row.client_forward_macs / costs.forward_macs:.1%}",
            f"{row.client_train_macs / 1e6:.2f}",
            f"{row.server_train_macs / 1e6:.2f}",
            si(row.smashed_bytes * batch_size, "B"),
            si(row.weight_bytes, "B"),
        )
    table.caption = (
        "client params without the auxiliary head; MMAC forward, train = forward and backward with the head, in 10^6 "
        "MAC per image; z: smashed data of a batch; weights: one transfer, with head and buffers"
    )
    table.caption_justify = "left"
    return table


def step_time_table(costs: TierTable, *, batch_size: int, cpu_macs_per_s: float, server_macs_per_s: float) -> Table:
    """Return the milliseconds of a batch: modelled from MACs, and measured on this host where that was done."""
    measured = costs.rows[0].client_step_s is not None
    columns = ["tier m", "client, modelled", "ratio", "server, modelled"]
    columns += ["client, measured", "ratio", "server, measured"] if measured else []
    table = plain_table(f"milliseconds per training step of {batch_size} images", *columns)
    first = costs.rows[0]
    for row in costs.rows:
        cells = [
            str(row.tier),
            f"{row.client_train_macs * batch_size / cpu_macs_per_s * 1e3:.2f}",
            f"{row.client_train_macs / first.client_train_macs:.2f}",
            f"{row.server_train_macs * batch_size / server_macs_per_s * 1e3:.2f}",
        ]
        if row.client_step_s is not None and row.server_step_s is not None and first.client_step_s is not None:
            cells += [
                f"{row.client_step_s * batch_size * 1e3:.2f}",
                f"{row.client_step_s / first.client_step_s:.2f}",
                f"{row.server_step_s * batch_size * 1e3:.2f}",
            ]
        table.add_row(*cells)
    here = "measured: here, optimiser included" if measured else "nothing was measured"
    table.caption = f"modelled: one reference CPU, one server worker; {here}"
    table.caption_justify = "left"
    return table


def round_time_table(
    times_s_PM: FloatArray, tiers_M: IntArray, profiles: Sequence[ResourceProfile], *, title: str
) -> Table:
    """Return the simulated seconds of a round for each profile and tier, the fastest tier in bold."""
    table = plain_table(title, "profile", *(f"tier {tier}" for tier in tiers_M.tolist()))
    for profile, times_M in zip(profiles, times_s_PM, strict=True):
        best = int(times_M.argmin())
        cells = [Text(duration(seconds)) for seconds in times_M.tolist()]
        cells[best] = cells[best].append(" *")
        cells[best].stylize("bold")
        table.add_row(profile.name, *cells)
    table.caption = "* fastest; T = max(client, server) + transfers"
    table.caption_justify = "left"
    return table


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


def summary_table(summary: Mapping[str, Any], run: str) -> Table:
    """Return the closing table of a run."""
    table = plain_table("", "", "", right=False)
    table.show_header = False
    target = summary["target_accuracy"]
    table.add_row("rounds", str(summary["rounds"]))
    table.add_row("final test accuracy", f"{summary['final_accuracy']:.4f}")
    table.add_row("best test accuracy", f"{summary['best_accuracy']:.4f} (round {summary['best_round']})")
    if target is not None:
        reached = summary["rounds_to_target"]
        when = f"round {reached}, after {duration(summary['time_to_target_s'])} simulated" if reached else "not reached"
        table.add_row(f"target {target:g}", when)
    table.add_row("simulated time", duration(summary["virtual_time_s"]))
    table.add_row("wall time of rounds", duration(summary["wall_time_s"]))
    table.add_row("sent", bytes_text(summary["bytes"]))
    table.add_row("MACs", ", ".join(f"{side} {si(macs, '')}" for side, macs in summary["macs"].items()))
    table.add_row("run folder", run)
    return table

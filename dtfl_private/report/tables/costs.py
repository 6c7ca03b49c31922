"""Tables of what a tier costs: parameters, MACs, bytes and time."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import duration, si
from dtfl_private.simulation.clients.profiles import ResourceProfile
from dtfl_private.simulation.costs.table import TierTable


def cost_table(costs: TierTable, *, title: str, batch_size: int) -> Table:
    """Return the parameters, MACs (per image) and bytes of every tier, by analysis."""
    frozen = any(row.client_frozen or row.server_frozen for row in costs.rows)
    columns = ("tier m", "cut", "client params", "share", "client MMAC", "share", "train", "server train")
    table = plain_table(title, *columns, f"z of {batch_size}", "weights", *(["client frozen"] if frozen else []))
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
            *([f"{row.client_frozen:,}"] if frozen else []),
        )
    table.caption = (
        "client params without the auxiliary head; MMAC forward, train = forward and backward with the head, in 10^6 "
        "MAC per image; z: smashed data of a batch; weights: one transfer, with head and buffers"
        + ("; client frozen: weights that are neither trained nor sent" if frozen else "")
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

"""The picture of what each tier of a network costs."""

from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.report.pictures.saving import literal, picture_bytes
from dtfl_private.simulation.costs.table import TierTable


def cost_picture(
    tables: Mapping[str, TierTable], *, title: str, batch_size: int, cpu_macs_per_s: float, server_macs_per_s: float
) -> bytes:
    """Return a PNG picture of the costs per tier: MACs, parameters, bytes and time, of the client and of the server.

    Args:
        tables: costs by the name for the legend; times are measured ones if all tables have them, otherwise modelled.
        title: heading of the picture.
        batch_size: images per step in the picture of time.
        cpu_macs_per_s: speed of one reference CPU, for modelled times.
        server_macs_per_s: speed of one server worker, likewise.
    """
    measured = all(row.client_step_s is not None for table in tables.values() for row in table.rows)
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        macs, params, sent, step = figure.subplots(1, 4)
        for number, (name, table) in enumerate(tables.items()):
            tiers, colour = table.tiers_M, f"C{number}"
            client_macs, server_macs = table.column("client_train_macs"), table.column("server_train_macs")
            if measured:
                client_s, server_s = table.column("client_step_s"), table.column("server_step_s")
            else:
                client_s, server_s = client_macs / cpu_macs_per_s, server_macs / server_macs_per_s
            _both(macs, tiers, client_macs / 1e6, server_macs / 1e6, name, colour)
            _both(params, tiers, table.column("client_params") / 1e6, table.column("server_params") / 1e6, name, colour)
            sent.plot(tiers, table.column("smashed_bytes") / 1e3, color=colour, marker=".", label=literal(name))
            _both(step, tiers, client_s * batch_size * 1e3, server_s * batch_size * 1e3, name, colour)
        macs.set(title="training MACs per image, 10^6")
        params.set(title="parameters, 10^6")
        sent.set(title="smashed data per image, kB")
        step.set(title=f"step of {batch_size}, ms, {'measured here' if measured else 'modelled'}")
        for axes in (macs, params, sent, step):
            axes.set(xlabel="tier m (client modules)", ylim=(0, None))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
        figure.legend(handles=macs.lines, loc="outside lower center", ncols=len(macs.lines))
        figure.suptitle(literal(title))
        return picture_bytes(figure, "png")


def _both(axes: Axes, tiers: IntArray, client: FloatArray, server: FloatArray, name: str, colour: str) -> None:
    axes.plot(tiers, client, color=colour, marker=".", label=f"client, {literal(name)}")
    axes.plot(tiers, server, "--", color=colour, marker=".", label=f"server, {literal(name)}")

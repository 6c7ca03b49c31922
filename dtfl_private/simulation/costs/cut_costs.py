"""Automatic cuts, compared with a network's own: from the cost table of all places where it could be cut."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dtfl_private.models.cutting.cuts import choose_cuts, cut_cost
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.simulation.costs.table import TierTable

Measure = Literal["macs", "seconds"]
"""What the stages should be even in: forward MACs, or measured seconds of a training step on this host."""


@dataclass(frozen=True, kw_only=True)
class CutChoice:
    """The automatic cuts of a network, out of all C places where it can be cut.

    Attributes:
        names_C: the submodules behind which it can be cut.
        table: the cost of every place; its row c - 1 is tier c, of a client that holds all before place c.
        chosen: places of the automatic cuts, ascending, from 0.
        own: places of the network's own cuts, where they are among the places.
        measure: what the stages were made even in.
    """

    names_C: tuple[str, ...]
    table: TierTable
    chosen: tuple[int, ...]
    own: tuple[int, ...]
    measure: Measure

    def cost(self, places: Sequence[int]) -> float:
        """Return the objective of `dtfl_private.models.cutting.cuts` for a choice of places."""
        work_C, total = _work(self.table, self.measure)
        return cut_cost(work_C.tolist(), self.table.column("smashed_bytes").tolist(), total, places)

    def tiers(self, places: Sequence[int]) -> TierTable:
        """Return the table of a network that is cut at these places only, its tiers counted from 1."""
        rows = [replace(self.table.rows[place], tier=tier) for tier, place in enumerate(places, start=1)]
        module_macs = np.diff([0, *(row.client_forward_macs for row in rows), self.table.forward_macs])
        return replace(
            self.table, rows=tuple(rows), modules=len(rows) + 1, module_macs=tuple(int(macs) for macs in module_macs)
        )


def choose(
    table: TierTable, names_C: Sequence[str], own: Sequence[int], count: int, measure: Measure = "macs"
) -> CutChoice:
    """Choose ``count`` cuts out of the places that a table gives the cost of.

    Args:
        table: one row for each place.
        names_C: what to call the places.
        own: places of the network's own cuts.
        count: number of cuts.
        measure: what the stages should be even in; seconds need a measured table.

    Raises:
        InputError: fewer places than cuts.
    """
    work_C, total = _work(table, measure)
    chosen = choose_cuts(work_C.tolist(), table.column("smashed_bytes").tolist(), total, count)
    return CutChoice(names_C=tuple(names_C), table=table, chosen=tuple(chosen), own=tuple(own), measure=measure)


def _work(table: TierTable, measure: Measure) -> tuple[FloatArray, float]:
    """Return the work up to each place, ascending, and that of the whole network."""
    if measure == "macs":
        return table.column("client_forward_macs"), float(table.forward_macs)
    # Noise must not make a longer prefix the faster one. The two halves of a step take about the same in all tiers.
    work_C = np.maximum.accumulate(table.column("client_step_s"))
    whole = float(np.median(table.column("client_step_s") + table.column("server_step_s")))
    return work_C, max(whole, float(work_C[-1]))

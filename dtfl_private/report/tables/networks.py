"""The table of places where a network can be cut."""

from rich.table import Table

from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import number_of, si
from dtfl_private.simulation.costs.cut_costs import CutChoice


def cuts_table(choice: CutChoice, *, title: str) -> Table:
    """Return all places where a network can be cut: which it has by hand, and which are chosen automatically."""
    table = plain_table(title, "cut behind", "tensor", "z of one", "MMAC before", "share", "own tier", "automatic tier")
    own = {place: tier for tier, place in enumerate(choice.own, start=1)}
    chosen = {place: tier for tier, place in enumerate(choice.chosen, start=1)}
    for place, (name, row) in enumerate(zip(choice.names_C, choice.table.rows, strict=True)):
        table.add_row(
            name,
            "x".join(map(str, row.cut_shape)),
            si(row.smashed_bytes, "B"),
            f"{row.client_forward_macs / 1e6:.2f}",
            f"{row.client_forward_macs / choice.table.forward_macs:.1%}",
            str(own.get(place, "")),
            str(chosen.get(place, "")),
        )
    costs = [f"automatic {choice.cost(choice.chosen):.3f}"]
    costs += [f"own {choice.cost(choice.own):.3f} ({number_of(len(choice.own), 'cut')})"] if choice.own else []
    table.caption = f"objective (unevenness in {choice.measure} + width, less is better): {', '.join(costs)}"
    table.caption_justify = "left"
    return table

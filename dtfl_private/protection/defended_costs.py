"""What defenses add to the cost table: work on the client, bytes on the wire."""

from dataclasses import replace

from dtfl_private.errors import InputError
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.simulation.costs.table import TierCost, TierTable


def cut_of(row: TierCost, input_shape: tuple[int, ...], batch_size: int) -> Cut:
    """Return the cut of a tier as defenses see it."""
    return Cut(
        tier=row.tier,
        input_shape=input_shape,
        cut_shape=row.cut_shape,
        smashed_bytes=row.smashed_bytes,
        forward_macs=row.client_forward_macs,
        batch_size=batch_size,
    )


def defended(table: TierTable, defense: DefenseChain, input_shape: tuple[int, ...], batch_size: int) -> TierTable:
    """Return the table of the tiers that the clients accept, with the defenses' work and bytes in it.

    Where clients of one tier differ by their profiles in what acts, those that need most count for all.

    Raises:
        InputError: a defense refuses a cut, or accepts none of the tiers.
    """
    rows = []
    for row in table.rows:
        if row.tier < defense.tier_floor:
            continue
        if not row.smashed_bytes:  # who holds the whole network has no cut to defend
            rows.append(row)
            continue
        cut = cut_of(row, input_shape, batch_size)
        for one in (acting := _acting(defense, row.tier)):
            one.check(cut)
        rows.append(
            replace(
                row,
                client_train_macs=row.client_train_macs + max(one.extra_macs(cut) for one in acting),
                release_macs=row.release_macs + (cut.forward_macs if defense.releases_apart else 0),
                smashed_bytes=max(one.wire_bytes(cut) for one in acting),
            )
        )
    if not rows:
        raise InputError(
            f"tier floor {defense.tier_floor} leaves no tier: the tiers in use are {table.tiers_M.tolist()}; lower it"
        )
    return replace(table, rows=tuple(rows))


def _acting(defense: DefenseChain, tier: int) -> list[DefenseChain]:
    """Return what may act at the clients of a tier, by their profiles."""
    profiles = dict.fromkeys(case.profile for case in defense.cases)
    return [defense.at(tier, profile) for profile in profiles]

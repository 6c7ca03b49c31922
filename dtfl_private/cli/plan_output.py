"""What the plan command shows: some rounds, and the time of all under this and other schedulers."""

from collections.abc import Sequence

from rich.table import Table

from dtfl_private.cli.output import output
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.planned_rounds import Plan, PlannedExposure, PlannedRound, total_tier_counts
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import duration, number_of, si, tier_counts_text


def show_plan(config: TrainConfig, planned: Plan) -> None:
    """Show a plan."""
    answer = output()
    answer.show(rounds_table(config, planned), times_table(config, planned))
    answer.show_line(f"tier:clients of this plan, summed over rounds: {counts_of_all_rounds(planned)}")
    if planned.tier_accuracy is not None:
        answer.show_line(f"clients in the tier that the oracle would have given them: {planned.tier_accuracy:.1%}")
    for line in planned_lines(planned):
        answer.show_line(line)


def counts_of_all_rounds(planned: Plan) -> str:
    """Return how often clients took part in each tier."""
    return tier_counts_text(total_tier_counts(planned.rounds))


def planned_lines(planned: Plan) -> list[str]:
    """Return what to say of the limits of a plan, and what they cost in time and in participation."""
    free_s, exposure = planned.unlimited_time_s, planned.exposure
    if free_s is None:
        return [*planned.notes]
    without = "with all tiers" if exposure is None else "without limits"
    return [
        *planned.notes,
        *([] if planned.allowed is None else [planned.allowed]),
        *([] if exposure is None else _exposure_lines(planned.rounds, exposure)),
        f"this takes {planned.virtual_time_s / free_s:.2f} times as long as {without}",
    ]


def _exposure_lines(rounds: Sequence[PlannedRound], exposure: PlannedExposure) -> list[str]:
    took_part, rested = sum(row.participants for row in rounds), sum(row.rested for row in rounds)
    return [
        exposure.rule,
        f"exposure at the end: {exposure.highest:.4g} of {exposure.budget:g} the most exposed client, "
        f"{exposure.median:.4g} the median one; clients took part {took_part:,} times and rested {rested:,} times",
    ]


def rounds_table(config: TrainConfig, planned: Plan) -> Table:
    """Return the table of the first rounds and the last."""
    rounds = planned.rounds
    size = f"{number_of(config.clients, 'client')}, {number_of(len(rounds), 'round')}"
    table = plain_table(
        f"{size}, {config.model}, link unit {config.link_unit}",
        *("round", "participants", "dropped", "this round", "simulated", "server wait", "sent up", "tier:clients"),
        *(["format:clients"] if config.wire == "scheduled" else []),
    )
    for column in table.columns[7:]:  # lists of figures
        column.justify = "left"
    for row in [*rounds[:5], *rounds[-1:]] if len(rounds) > 6 else rounds:
        table.add_row(
            str(row.round),
            f"{row.participants:,}",
            str(row.dropped),
            duration(row.round_time_s),
            duration(row.virtual_time_s),
            duration(row.server_wait_s),
            si(sum(sent for kind, sent in row.bytes.items() if kind.startswith("up_")), "B"),
            tier_counts_text(row.tier_counts),
            *([" ".join(f"{name}:{count}" for name, count in row.wire_counts.items())] if row.wire_counts else []),
        )
    return table


def times_table(config: TrainConfig, planned: Plan) -> Table:
    """Return the table of the time of all rounds: of this plan, other schedulers, fixed tiers, all tiers."""
    table = plain_table("simulated time of all rounds", "scheduler", "time", "regret", "speed-up of this plan")
    chosen = len(planned.table.rows) > 1 or planned.unlimited_time_s is not None
    what = config.scheduler if chosen else config.method
    rows = [(what, planned.virtual_time_s)]
    rows += [(name, seconds) for name, seconds in planned.scheduler_time_s.items() if name != what]
    for tier, seconds in planned.static_time_s.items():
        deepest = " (least offloading)" if tier == planned.table.tiers_M[-1] else ""
        rows.append((f"static:{tier}{deepest}", seconds))
    for name, seconds in rows:
        regret = planned.regret(seconds)
        above = "-" if regret is None else f"{regret:.1%}"
        table.add_row(name, duration(seconds), above, _speed_up(planned, seconds))
    if (free := planned.unlimited_time_s) is not None:
        # The oracle knows the allowed tiers only, so that there is no regret here.
        without = "all tiers" if planned.exposure is None else "no limits"
        table.add_row(f"{what}, {without}", duration(free), "-", _speed_up(planned, free))
    return table


def _speed_up(planned: Plan, seconds: float) -> str:
    return f"{seconds / planned.virtual_time_s:.2f}x"

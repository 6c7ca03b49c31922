"""The plan command: reads options, calls the function, shows the schedule."""

import dataclasses
from typing import Any

import click
from rich.console import Console

from dtfl_private.cli.options import GroupedCommand, config_options, data_options, typed_config
from dtfl_private.cli.terminal import check_targets, open_console, write_json
from dtfl_private.experiments.config import TrainConfig
from dtfl_private.experiments.plan import Plan, planned_lines, total_tier_counts
from dtfl_private.experiments.plan import plan as make_plan
from dtfl_private.experiments.settings import parse_shape
from dtfl_private.report.tables.plain import (
    plain_table,
)
from dtfl_private.report.words.numbers import duration, si, tier_counts_text

PLAN_FIELDS = (
    *(
        "normalization",
        "model",
        "norm",
        "method",
        "scheduler",
        "tiers",
        "allowed_tiers",
        "leakage_budget",
        "first_tier",
        "ema",
    ),
    *("clients", "fraction", "rounds"),
    *("batch_size", "local_epochs", "profiles", "link_unit", "cpu_gmacs", "drift_share", "drift_every", "noise"),
    *("profile_error", "dropout", "absent", "leave", "join", "server_workers", "server_cpus"),
    *("defense", "on_budget", "precision", "seed"),
)


@click.command(cls=GroupedCommand)
@config_options(PLAN_FIELDS)
@data_options
@click.option(
    "--compare/--no-compare", default=True, show_default=True, help="also play other schedulers and fixed tiers"
)
@click.option("--json", "json_file", metavar="FILE", help="also write every round as JSON; - for standard output")
def plan(
    input_shape: str,
    classes: int,
    images_per_client: int,
    compare: bool,
    json_file: str | None,
    **options: Any,
) -> None:
    """Schedule without training, for any number of clients.

    \b
    Examples:
      dtfl-private plan --model resnet-56 --clients 200 --rounds 300 --fraction 0.1
      dtfl-private plan --clients 1000000 --rounds 1 --no-compare
      dtfl-private plan --model bert-base --input-shape 512 --rounds 10
      dtfl-private plan --defense dp-weights:noise_multiplier=1 --dropout 0.1
      dtfl-private plan --leakage-budget runs/mine/audit/audit.json:metric=ssim,max=0.4
    """
    check_targets(json_file)
    config = typed_config(options)
    planned = make_plan(
        config,
        input_shape=parse_shape(input_shape),
        classes=classes,
        images_per_client=images_per_client,
        compare_static=compare,
        compare_schedulers=compare,
    )
    if json_file is not None:
        write_json(json_file, [dataclasses.asdict(round_) for round_ in planned.rounds])
    if json_file != "-":
        _print_plan(open_console(), config, planned)


def _print_plan(console: Console, config: TrainConfig, planned: Plan) -> None:
    rounds = planned.rounds
    table = plain_table(
        f"{config.clients:,} clients, {len(rounds)} rounds, {config.model}, link unit {config.link_unit}",
        *(
            "round",
            "participants",
            "dropped",
            "this round",
            "simulated",
            "server wait",
            "sent up",
            "tier:clients",
        ),
    )
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
        )
    console.print(table)
    result = plain_table(
        "simulated time of all rounds", "scheduler", "time", "regret", "speed-up of this plan", "tier:participations"
    )

    def add_row(name: str, seconds: float, counts: str = "", *, limited: bool = True) -> None:
        regret = planned.regret(seconds) if limited else None  # the oracle knows the allowed tiers only
        above = "-" if regret is None else f"{regret:.1%}"
        result.add_row(name, duration(seconds), above, f"{seconds / planned.virtual_time_s:.2f}x", counts)

    chosen = len(planned.table.rows) > 1 or planned.unlimited_time_s is not None
    what = config.scheduler if chosen else config.method
    add_row(what, planned.virtual_time_s, tier_counts_text(total_tier_counts(rounds)))
    for name, seconds in planned.scheduler_time_s.items():
        if name != what:
            add_row(name, seconds)
    for tier, seconds in planned.static_time_s.items():
        deepest = " (least offloading)" if tier == planned.table.tiers_M[-1] else ""
        add_row(f"static:{tier}{deepest}", seconds)
    if planned.unlimited_time_s is not None:
        add_row(f"{what}, all tiers", planned.unlimited_time_s, limited=False)
    console.print(result)
    for line in planned_lines(planned):
        console.print(line, soft_wrap=True, highlight=False)

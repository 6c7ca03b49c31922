"""The plan command."""

import dataclasses
from typing import Any

import click

from dtfl_private.cli.command import GroupedCommand
from dtfl_private.cli.config_options import config_options, typed_config
from dtfl_private.cli.shared_options import data_options, json_file_option
from dtfl_private.cli.targets import check_targets, write_json

PLAN_FIELDS = (
    *(
        "normalization",
        "model",
        "norm",
        "head",
        "method",
        "scheduler",
        "tiers",
        "allowed_tiers",
        "leakage_budget",
        "exposure_budget",
        "leakage_from",
        "tier_leakage",
        "exposure_spending",
        "first_tier",
        "ema",
    ),
    *("clients", "fraction", "rounds"),
    *("batch_size", "local_epochs", "profiles", "link_unit", "cpu_gmacs", "traces"),
    *("drift", "drift_share", "drift_every", "noise"),
    *("profile_error", "dropout", "absent", "leave", "join", "server_workers", "server_cpus"),
    *("defense", "on_budget", "deadline", "wire", "send_every", "precision", "seed"),
)


@click.command(cls=GroupedCommand)
@config_options(PLAN_FIELDS)
@data_options
@click.option(
    "--compare/--no-compare", default=True, show_default=True, help="also play other schedulers and fixed tiers"
)
@json_file_option("every round")
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
      dtfl-private plan --drift day-night --drift-share 0.6 --drift-every 20
      dtfl-private plan --leakage-budget runs/mine/audit/audit.json:metric=ssim,max=0.4
      dtfl-private plan --exposure-budget 20 --leakage-from runs/mine/audit/audit.json
    """
    from dtfl_private.cli.plan_output import show_plan
    from dtfl_private.experiments.plan import plan as make_plan
    from dtfl_private.experiments.setup.input_shape import parse_shape

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
    show_plan(config, planned)

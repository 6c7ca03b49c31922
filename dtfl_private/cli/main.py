"""The command line. Commands are a few lines each: they read options, call a function and show the result."""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource
from rich.console import Console

from dtfl_private.cli import attack as cli_attack
from dtfl_private.cli import audit as cli_audit
from dtfl_private.cli import experiments as cli_experiments
from dtfl_private.cli import plan as cli_plan
from dtfl_private.cli.listed_attacks import listed_attacks
from dtfl_private.cli.listed_models import listed_models
from dtfl_private.cli.options import (
    COMMAND_LINE_DEFAULTS,
    Commands,
    GroupedCommand,
    config_options,
    data_options,
    given_options,
    plugin_option,
    typed_config,
)
from dtfl_private.cli.terminal import check_targets, never_fail_on_characters, open_console, write_file, write_json
from dtfl_private.cli.training_listener import InterruptedRunError, TrainingListener
from dtfl_private.data.facts import facts_of
from dtfl_private.errors import DtflError, GateCrossedError, InputError, unknown_name
from dtfl_private.experiments.allowed_tiers import DEPENDS_ON, allowed_line
from dtfl_private.experiments.config import NOTHING, TrainConfig, make_config, named_objects
from dtfl_private.experiments.config_files import read_toml
from dtfl_private.experiments.norm import resolved_norm
from dtfl_private.experiments.partition import partition as make_partition
from dtfl_private.experiments.profile import automatic_cuts, round_times_s
from dtfl_private.experiments.profile import profile as make_profile
from dtfl_private.experiments.run_folder import RunFolder
from dtfl_private.experiments.settings import parse_shape
from dtfl_private.experiments.train import read_run_config
from dtfl_private.experiments.train import train as run_training
from dtfl_private.files.writing import output_path
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.models.build import build_description, build_model
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed, allowance
from dtfl_private.plugins.registry import GROUPS, create, described, find
from dtfl_private.printable import one_line
from dtfl_private.protection.base import Defense
from dtfl_private.report.live.training import TrainingDisplay
from dtfl_private.report.pictures.costs import cost_picture
from dtfl_private.report.pictures.distribution import distribution_picture
from dtfl_private.report.tables.attacks import adversaries_table, attacks_table
from dtfl_private.report.tables.costs import cost_table, round_time_table, step_time_table
from dtfl_private.report.tables.datasets import datasets_table
from dtfl_private.report.tables.distribution import distribution_table, spread_table
from dtfl_private.report.tables.measures import measures_table
from dtfl_private.report.tables.networks import cuts_table, models_table
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.tables.privacy import defenses_table, sentences
from dtfl_private.report.tables.profiles import profiles_table
from dtfl_private.report.tables.summary import summary_table
from dtfl_private.runtime.allocator import tune_allocator
from dtfl_private.runtime.device import choose_numerics
from dtfl_private.simulation.clients.profiles import PROFILE_SETS, load_profiles
from dtfl_private.simulation.costs.cut_costs import CutChoice, Measure
from dtfl_private.simulation.costs.table import TierTable

COMMAND_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}

LISTED = (
    "models",
    "datasets",
    "partitions",
    "methods",
    "schedulers",
    "profiles",
    "defenses",
    "attacks",
    "adversaries",
    "measures",
)

PROFILE_FIELDS = (
    *("model", "norm", "batch_size", "profiles", "link_unit", "cpu_gmacs", "server_cpus"),
    *("device", "precision", "memory_format", "seed"),
)
PARTITION_FIELDS = ("dataset", "data_dir", "download", "max_train_images", "partition", "clients", "seed")


@click.group(cls=Commands, invoke_without_command=True, context_settings=COMMAND_SETTINGS)
@click.version_option(package_name="dtfl-private")
@click.pass_context
def cli(context: click.Context) -> None:
    """Tiered split federated learning (DTFL), with its leakage in view.

    Start with `dtfl-private train`: it needs no data and no options.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(cli_attack.attack)
cli.add_command(cli_audit.audit)
cli.add_command(cli_experiments.compare)
cli.add_command(cli_plan.plan)
cli.add_command(cli_experiments.sweep)


@cli.command(cls=GroupedCommand)
@click.argument("config_file", required=False, metavar="[CONFIG.toml]")
@config_options(tuple(TrainConfig.model_fields))
@click.option("--out", metavar="RUN", help="run folder to make; by default a fresh one below runs/")
@click.option(
    "--resume", is_flag=True, help="go on with the run in --out, by its own configuration; start it if there is none"
)
@plugin_option
def train(
    config_file: str | None, out: str | None, resume: bool, allow_plugins: tuple[str, ...], **options: Any
) -> None:
    """Train a network federatedly; leave a run folder.

    Without any option: DTFL with dynamic tiers, ten uneven clients, the digits images that scikit-learn ships, about
    a minute on two cores. Every option but --out, --resume and --allow-plugin is also a key of CONFIG.toml; an option
    wins over the file.

    \b
    Examples:
      dtfl-private train
      dtfl-private train --dataset fashion-mnist --max-train-images 10000 --rounds 30
      dtfl-private train --partition dirichlet:0.5 --scheduler static:2 --noise 0.2 --out runs/mine
      dtfl-private train --resume --out runs/mine
    """
    out = None if out is None else str(output_path(out))
    config = _train_config(config_file, out, resume, given_options(options), allowance(allow_plugins))
    console = open_console()
    with TrainingDisplay(console, config.rounds) as display:
        listener = TrainingListener(console, display)
        try:
            run = run_training(config, out=out, resume=resume, listener=listener)
        except KeyboardInterrupt:
            raise InterruptedRunError(listener.how_to_go_on()) from None
    console.print(summary_table(run.summary, str(run.folder.path)))
    if (line := allowed_line(run.config)) is not None:
        console.print(line, soft_wrap=True, highlight=False)
    for sentence in sentences(run.summary["privacy"]):
        console.print(f"privacy: {sentence}", soft_wrap=True, highlight=False)
    console.print(f"picture: {run.folder.plot}", soft_wrap=True, highlight=False)


def _train_config(
    config_file: str | None,
    out: str | None,
    resume: bool,
    given: dict[str, object],
    allowed: Allowed = NOTHING_ALLOWED,
) -> TrainConfig:
    """Return the configuration: the file's, or on resume the run's own, with the given options on top.

    It may name by its module what is ``allowed``, and what the options name.
    """
    base: dict[str, object] = {}
    source = "CONFIG.toml"
    if config_file is not None:
        base, source = read_toml(Path(config_file)), config_file
    elif resume and out is not None and RunFolder(path=Path(out)).config.is_file():
        base = read_run_config(RunFolder(path=Path(out))).model_dump()
    values = {**COMMAND_LINE_DEFAULTS, **_without_old_tiers(base, given), **given}
    return make_config(values, source, allowed=allowed | named_objects(given))


def _without_old_tiers(base: dict[str, object], given: dict[str, object]) -> dict[str, object]:
    """Return a file's keys without allowed tiers that no longer follow from its leakage budget and the options.

    Raises:
        InputError: both ways to say which tiers are allowed are given as options.
    """
    if "leakage_budget" in given and "allowed_tiers" in given:
        raise InputError("--leakage-budget and --allowed-tiers both say which tiers are allowed: give one of them")
    stale: tuple[str, ...] = ()
    if "allowed_tiers" in given:
        stale = ("leakage_budget",)
    elif "leakage_budget" in given or (base.get("leakage_budget") not in (None, NOTHING) and {*DEPENDS_ON} & {*given}):
        stale = ("allowed_tiers",)  # the audit is asked anew
    return {key: value for key, value in base.items() if key not in stale}


@cli.command(cls=GroupedCommand)
@config_options(PROFILE_FIELDS)
@data_options
@click.option(
    "--repeats",
    default=5,
    show_default=True,
    type=click.IntRange(min=0),
    help="timed steps per tier; 0: no measuring",
)
@click.option(
    "--cuts", type=click.IntRange(min=1), metavar="M", help="also choose M cuts automatically, beside the network's own"
)
@click.option(
    "--cuts-by", type=click.Choice(["macs", "seconds"]), default="macs", show_default=True, help="what to cut evenly"
)
@click.option("--plot", metavar="FILE.png", help="also draw the costs as a PNG picture")
@click.option("--json", "json_file", metavar="FILE", help="also write the costs as JSON; - for standard output")
def profile(
    input_shape: str,
    classes: int,
    repeats: int,
    images_per_client: int,
    cuts: int | None,
    cuts_by: Measure,
    plot: str | None,
    json_file: str | None,
    **options: Any,
) -> None:
    """Show what each tier of a network costs.

    Parameters, MACs and bytes by analysis; the time of a training step modelled on the reference CPU, and measured on
    one thread of this machine; the simulated time of a round for each kind of device. A large network is
    built and measured only if --repeats asks for it: its costs follow from the shapes.

    \b
    Examples:
      dtfl-private profile --model resnet-56 --batch-size 100
      dtfl-private profile --model resnet-56 --repeats 0 --cuts 7 --plot costs.png
      dtfl-private profile --model gpt2-xl --input-shape 1024
    """
    check_targets(json_file, picture=plot)
    config = typed_config(options)
    norm = resolved_norm(config)
    shape = parse_shape(input_shape)
    numerics = choose_numerics(config.device, config.precision, config.memory_format, norm)
    building: dict[str, Any] = {"input_shape": shape, "classes": classes, "norm": norm, "seed": config.seed}
    building |= {"allowed": config.allowed}
    model = build_description(config.model, **building)
    if repeats and next(model.parameters()).is_meta:
        if click.get_current_context().get_parameter_source("repeats") is ParameterSource.DEFAULT:
            repeats = 0
            click.echo(
                f"note: {config.model} is large and was not measured; --repeats N builds and measures it", err=True
            )
        else:
            model = build_model(config.model, **building)
    settings: dict[str, Any] = {"input_shape": shape, "classes": classes, "numerics": numerics}
    settings |= {"batch_size": config.batch_size, "repeats": repeats}
    choice = None if cuts is None else automatic_cuts(model, count=cuts, measure=cuts_by, **settings)
    costs = make_profile(model, **settings)
    if plot is not None:
        write_file(plot, _cost_picture(config, costs, choice))
    if json_file is not None:
        write_json(json_file, dataclasses.asdict(costs))
    if json_file != "-":
        _print_profile(open_console(), config, costs, input_shape, images_per_client)
        if choice is not None:
            open_console().print(cuts_table(choice, title=f"where {config.model} can be cut"))


def _cost_picture(config: TrainConfig, costs: TierTable, choice: CutChoice | None) -> bytes:
    tables = {"own cuts": costs}
    if choice is not None:
        tables["automatic cuts"] = choice.tiers(choice.chosen)
    return cost_picture(
        tables,
        title=config.model,
        batch_size=config.batch_size,
        cpu_macs_per_s=config.cpu_gmacs * 1e9,
        server_macs_per_s=config.cpu_gmacs * 1e9 * config.server_cpus,
    )


def _print_profile(console: Console, config: TrainConfig, costs: TierTable, input_shape: str, images: int) -> None:
    cpu, server = config.cpu_gmacs * 1e9, config.cpu_gmacs * 1e9 * config.server_cpus
    title = f"{config.model}, inputs {input_shape}, {config.precision}"
    console.print(cost_table(costs, title=title, batch_size=config.batch_size))
    console.print(step_time_table(costs, batch_size=config.batch_size, cpu_macs_per_s=cpu, server_macs_per_s=server))
    profiles = load_profiles(config.profiles)
    times = round_times_s(
        costs,
        profiles,
        link_unit=config.link_unit,
        images=images,
        cpu_macs_per_s=cpu,
        server_macs_per_s=server,
    )
    title = f"simulated time of a round of {images} images, link unit {config.link_unit}"
    console.print(round_time_table(times, costs.tiers_M, profiles, title=title))


@cli.command(cls=GroupedCommand)
@config_options(PARTITION_FIELDS)
@click.option("--plot", metavar="FILE.png", help="also draw the distribution as a PNG picture")
@click.option("--json", "json_file", metavar="FILE", help="also write the counts as JSON; - for standard output")
def partition(plot: str | None, json_file: str | None, **options: Any) -> None:
    """Show who gets which training images, as `train` would deal them out.

    Images per client and class; the effective number of classes (exp of the labels' entropy); the distance of each
    client's labels to those of all images (total variation).

    \b
    Examples:
      dtfl-private partition --partition dirichlet:0.3 --clients 20
      dtfl-private partition --dataset fashion-mnist --partition shards:2 --clients 100 --plot shards.png
    """
    check_targets(json_file, picture=plot)
    config = typed_config(options)
    spread = make_partition(config)
    title = (
        f"{config.dataset}, {spread.sizes_K.sum():,} training images, {config.clients:,} clients, {config.partition}"
    )
    for note in spread.notes:
        click.echo(f"note: {one_line(note)}", err=True)
    if plot is not None:
        write_file(plot, distribution_picture(spread.counts_KC, spread.classes, title=title))
    if json_file is not None:
        counts = {"classes": spread.classes, "counts": spread.counts_KC.tolist()}
        write_json(json_file, {"dataset": config.dataset, "partition": config.partition, "seed": config.seed, **counts})
    if json_file != "-":
        console = open_console()
        figures = (spread.effective_classes_K, spread.distance_K)
        console.print(distribution_table(spread.counts_KC, *figures, spread.classes, title=title))
        console.print(spread_table(spread.sizes_K, *figures))


@cli.command(name="list", cls=GroupedCommand)
@click.argument("kind", metavar="|".join(LISTED))
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="where to look for data sets' files")
def list_(kind: str, data_dir: Path | None) -> None:
    """List models, data sets, schedulers and all else there is to choose.

    Built in, or installed by other packages as entry points.
    """
    if kind not in LISTED:
        raise unknown_name("list", kind, LISTED)
    console = open_console()
    if kind == "profiles":
        for name in PROFILE_SETS:
            console.print(profiles_table(name, load_profiles(name), "mbit"))
        return
    if kind == "models":
        console.print(models_table(listed_models()))
        return
    if kind == "datasets":
        rows = described("dataset")
        facts = {name: facts_of(find("dataset", name).load()) for name, _, _ in rows}
        console.print(datasets_table(rows, facts, data_dir))
        return
    if kind == "defenses":
        rows = described("defense")
        console.print(defenses_table(rows, _defenses_by_default(name for name, _, _ in rows)))
        return
    if kind == "adversaries":
        console.print(adversaries_table())
        return
    if kind == "attacks":
        console.print(attacks_table(listed_attacks()))
        return
    if kind == "measures":
        console.print(measures_table(MEASURES))
        return
    rows = described(kind.rstrip("s")) if kind.rstrip("s") in GROUPS else []
    if not rows:
        console.print(f"no {kind} in this release, and no installed package offers any")
        return
    table = plain_table(kind, "name", "settings", "what it is", right=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _defenses_by_default(names: Iterable[str]) -> dict[str, Defense]:
    """Return the defenses that need no settings, by name."""
    found = {}
    for name in names:
        with suppress(InputError):  # it has a setting without a default
            found[name] = create("defense", name)
    return found


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit status: 0 done, 1 the run failed, 2 wrong input, 3 a gate was crossed."""
    tune_allocator()
    never_fail_on_characters()
    try:
        cli.main(args=arguments, prog_name="dtfl-private", standalone_mode=False)
    except click.ClickException as error:
        _leave(error.format_message(), InputError.exit_status)
    except GateCrossedError as error:
        for line in error.lines:
            click.echo(line, err=True)
        sys.exit(error.exit_status)
    except DtflError as error:
        _leave(str(error), error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        _leave("interrupted", DtflError.exit_status)
    except MemoryError as error:
        _leave(f"not enough memory: {error}", DtflError.exit_status)
    except (OSError, UnicodeEncodeError) as error:
        # Paths of the user that the system refuses; a run turns its own into RunError.
        _leave(f"a file or folder cannot be used: {error}", InputError.exit_status)
    sys.exit(0)


def _leave(message: str, status: int) -> NoReturn:
    click.echo("error: " + one_line(message), err=True)
    sys.exit(status)

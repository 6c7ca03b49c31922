"""The profile command."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dtfl_private.cli.command import GroupedCommand
from dtfl_private.cli.config_options import config_options, typed_config
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import data_options, json_file_option, require_only
from dtfl_private.cli.targets import check_targets, write_file, write_json
from dtfl_private.errors import InputError

if TYPE_CHECKING:
    from dtfl_private.experiments.config.train_config import TrainConfig
    from dtfl_private.simulation.costs.cut_costs import Measure

PROFILE_FIELDS = (
    *("model", "norm", "head", "batch_size", "profiles", "link_unit", "cpu_gmacs", "server_cpus"),
    *("device", "precision", "memory_format", "seed"),
)


@click.command(cls=GroupedCommand)
@config_options(PROFILE_FIELDS)
@data_options
@click.option(
    "--repeats",
    default=5,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="timed steps per tier; 0: no measuring",
)
@click.option(
    "--cuts",
    type=click.IntRange(min=1),
    metavar="M",
    help="also choose M cuts automatically, in addition to the network's own",
)
@click.option(
    "--cuts-by", type=click.Choice(["macs", "seconds"]), default="macs", show_default=True, help="what to cut evenly"
)
@click.option("--plot", metavar="FILE.png", help="also draw the costs as a PNG picture")
@click.option(
    "--calibrate",
    is_flag=True,
    help="measure this host instead: write a profile of its engines, and show how well it predicts training steps",
)
@click.option(
    "--out",
    default="host-profile.toml",
    show_default=True,
    metavar="FILE.toml",
    help="with --calibrate: where to write the profile, for --profiles",
)
@json_file_option("the costs")
def profile(
    input_shape: str,
    classes: int,
    repeats: int,
    images_per_client: int,
    cuts: int | None,
    cuts_by: "Measure",
    plot: str | None,
    calibrate: bool,
    out: str,
    json_file: str | None,
    **options: Any,
) -> None:
    """Show what each tier of a network costs.

    Parameters, MACs and bytes by analysis; the time of a training step modelled on the reference CPU, and measured on
    one thread of this machine; the simulated time of a round for each kind of device. A large network is
    built and measured only if --repeats asks for it: its costs follow from the shapes.

    --calibrate measures peaks, bandwidth, launch times and shares by class of operators on large products, copies, tiny
    networks and single layers, of the CPU by one thread, and of CUDA where it is there. Then it compares predicted and
    measured training steps of all built-in networks that are measured (or of --model) in all their tiers.

    \b
    Examples:
      dtfl-private profile --model resnet-56 --batch-size 100
      dtfl-private profile --model resnet-56 --repeats 0 --cuts 7 --plot costs.png
      dtfl-private profile --model gpt2-xl --input-shape 1024
      dtfl-private profile --calibrate --out host-profile.toml
    """
    from dtfl_private.cli.profile_output import drawn_costs, show_profile
    from dtfl_private.experiments.config.norm import resolved_norm
    from dtfl_private.experiments.profile import automatic_cuts
    from dtfl_private.experiments.profile import profile as make_profile
    from dtfl_private.experiments.setup.input_shape import parse_shape
    from dtfl_private.models.build import build_description, build_model
    from dtfl_private.runtime.device import choose_numerics

    check_targets(json_file, *([out] if calibrate else []), picture=plot)
    config = typed_config(options)
    if calibrate:
        _calibrate(config, options["model"], input_shape, classes, repeats, out, json_file)
        return
    if _typed("out"):
        raise InputError("--out is where --calibrate writes its profile: add --calibrate, or leave it out")
    norm = resolved_norm(config)
    shape = parse_shape(input_shape)
    numerics = choose_numerics(config.device, config.precision, config.memory_format, norm)
    building: dict[str, Any] = {"input_shape": shape, "classes": classes, "norm": norm, "seed": config.seed}
    building |= {"allowed": config.allowed}
    model = build_description(config.model, **building)
    if repeats and next(model.parameters()).is_meta:
        if _asked_for_repeats(config.model):
            model = build_model(config.model, **building)
        else:
            repeats = 0
    settings: dict[str, Any] = {"input_shape": shape, "classes": classes, "numerics": numerics}
    settings |= {"batch_size": config.batch_size, "repeats": repeats}
    choice = None if cuts is None else automatic_cuts(model, count=cuts, measure=cuts_by, **settings)
    costs = make_profile(model, head=config.head, **settings)
    if plot is not None:
        write_file(plot, drawn_costs(config, costs, choice))
    if json_file is not None:
        write_json(json_file, dataclasses.asdict(costs))
    show_profile(config, costs, input_shape, images_per_client, choice)


CALIBRATED = ("model", "norm", "batch_size", "cpu_gmacs", "device", "precision", "memory_format")
CALIBRATING = frozenset({*CALIBRATED, "input_shape", "classes", "repeats", "calibrate", "out", "json_file"})
STEPS_TIMED = 3


def _calibrate(
    config: "TrainConfig",
    model: str | None,
    input_shape: str,
    classes: int,
    repeats: int,
    out: str,
    json_file: str | None,
) -> None:
    """Measure this host, write its profile, and show how well that predicts."""
    from dtfl_private.cli.calibrate_output import show_calibration
    from dtfl_private.experiments.calibration.host import calibrate_host
    from dtfl_private.experiments.setup.input_shape import parse_shape

    require_only(CALIBRATING, "has no meaning with --calibrate")
    if _typed("repeats") and not repeats:
        raise InputError("--calibrate times training steps: let --repeats be 1 or more")
    calibration = calibrate_host(
        config,
        models=None if model is None else [model],
        input_shape=parse_shape(input_shape) if _typed("input_shape") else None,
        classes=classes,
        repeats=repeats if _typed("repeats") else STEPS_TIMED,
        say=output().say,
    )
    write_file(out, calibration.toml.encode()) if out != "-" else click.echo(calibration.toml, nl=False)
    if json_file is not None:
        write_json(json_file, [dataclasses.asdict(step) for step in calibration.steps])
    show_calibration(config, calibration, out)


def _typed(parameter: str) -> bool:
    """Whether the user wrote an option."""
    return click.get_current_context().get_parameter_source(parameter) is not ParameterSource.DEFAULT


def _asked_for_repeats(model: str) -> bool:
    """Whether the user wants a large network measured; if nothing was said, it is not, and the user is told."""
    if _typed("repeats"):
        return True
    click.echo(f"note: {model} is large and was not measured; --repeats N builds and measures it", err=True)
    return False

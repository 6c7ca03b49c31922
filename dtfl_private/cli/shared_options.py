"""Options that several commands share and no configuration has."""

from collections.abc import Callable, Collection
from typing import Any

import click
from click.core import ParameterSource

from dtfl_private.cli.command import GroupedOption
from dtfl_private.cli.completion import of_keys
from dtfl_private.cli.output import note_file
from dtfl_private.errors import InputError


def plugin_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option by which the user allows what files name by its module."""
    return click.option(
        "--allow-plugin",
        "allow_plugins",
        multiple=True,
        metavar="MODULE",
        help="let files name objects of this module (package.module:function), which runs its code; repeat for several",
    )(command)


def which_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that chooses between a run's networks."""
    return click.option(
        "--which",
        type=click.Choice(["last", "best"]),
        default="last",
        show_default=True,
        help="network after the last round, or after the best one, of runs that keep it",
    )(command)


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe data in place of a data set, for commands that train nothing."""
    count = click.IntRange(min=1)
    shown: Any = {"show_default": True}
    described = "shape of one image, or number of tokens"
    for add in (
        click.option(
            "--images-per-client", default=500, type=count, metavar="N", **shown, help="training images of each"
        ),
        click.option(
            "--classes", default=10, type=click.IntRange(min=2), metavar="N", **shown, help="number of classes"
        ),
        click.option("--input-shape", default="3x32x32", metavar="CxHxW|T", **shown, help=described),
    ):
        command = add(command)
    return command


def form_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that chooses the form of the pictures."""
    return click.option(
        "--form", type=click.Choice(["png", "svg"]), default="png", show_default=True, help="of the pictures"
    )(command)


def json_file_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what adds --json to a command without arguments, which may then write a file besides its tables."""
    return click.option(
        "--json",
        "json_file",
        cls=GroupedOption,
        group="Output",
        is_flag=False,
        flag_value="-",
        callback=note_file,
        metavar="[FILE]",
        help=f"{what} as JSON: on standard output in place of the tables, or in FILE besides them",
    )


def set_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that sets a key of the configuration."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=of_keys,
        help="set a key of CONFIG.toml, the value as its option takes it or as TOML; repeat for several",
    )(command)


def require_only(kept: Collection[str], why: str) -> None:
    """Refuse what the command line gives beside the parameters that an option goes with.

    Args:
        kept: names of these parameters.
        why: others are refused, after the name of one, as "changes what --resume goes on with".

    Raises:
        InputError: there is another one; the first is named.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in kept and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            shown = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.make_metavar(context)
            raise InputError(f"{shown} {why}: leave one out")

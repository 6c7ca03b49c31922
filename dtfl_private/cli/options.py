"""How the command line's options come about: one for each field of the configuration, shown under headings."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from dtfl_private.errors import unknown_name
from dtfl_private.experiments.config import AUTOMATIC, TrainConfig, choices_of, make_config, named_objects
from dtfl_private.plugins.documentation import documentation


class GroupedOption(click.Option):
    """An option that knows under which heading its help stands."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def _with_help(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a command's settings with its function's docstring as help, which click misses under ``python -OO``."""
    callback = settings.get("callback")
    return settings if callback is None else {**settings, "help": settings.get("help") or documentation(callback)}


class DocumentedCommand(click.Command):
    """A command whose help is its function's docstring, also under ``python -OO``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_with_help(kwargs))


class GroupedCommand(DocumentedCommand):
    """A command whose help shows its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "group", "Command"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Commands(click.Group):
    """The group of all commands; an unknown one is answered with the nearest."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **_with_help(kwargs))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown_name("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def config_options(names: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add one option per named field of `TrainConfig`; what the user leaves out is not passed on."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = _config_option(name)(command)
        return command

    return add


def plugin_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option by which the user allows what files name by its module."""
    return click.option(
        "--allow-plugin",
        "allow_plugins",
        multiple=True,
        metavar="MODULE",
        help="let files name objects of this module (package.module:function), which runs its code; repeat for several",
    )(command)


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe data in place of a data set, for commands that train nothing."""
    count = click.IntRange(min=1)
    described = "shape of one image, or number of tokens"
    for add in (
        click.option("--images-per-client", default=500, show_default=True, type=count, help="training images of each"),
        click.option("--classes", default=10, show_default=True, type=click.IntRange(min=2), help="number of classes"),
        click.option("--input-shape", default="3x32x32", show_default=True, metavar="CxHxW|T", help=described),
    ):
        command = add(command)
    return command


def _config_option(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    field = TrainConfig.model_fields[name]
    extra = field.json_schema_extra
    group = str(extra["group"]) if isinstance(extra, dict) else ""
    flag = "--" + name.replace("_", "-")
    shared: dict[str, Any] = {"cls": GroupedOption, "group": group, "default": None}
    default = COMMAND_LINE_DEFAULTS.get(name, field.default)
    shown = "" if default in (None, []) else f"  [default: {_shown(default)}]"
    if isinstance(field.default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", help=f"{field.description}", **shared)
    choices = choices_of(field.annotation)
    metavar = "|".join(choices) if choices and name != "augment" else METAVARS.get(name, _kind(field.default))
    return click.option(
        flag, name, help=f"{field.description}{shown}", metavar=metavar, multiple=name == "defense", **shared
    )


# Where the command line's default is another than the library's: processes of its own may start processes, a script or
# notebook that calls `train` need not be prepared for that.
COMMAND_LINE_DEFAULTS: dict[str, object] = {"workers": AUTOMATIC}

METAVARS = {
    "data_dir": "DIR",
    "max_train_images": "N",
    "normalization": "client-sums|constants[:mean=X,std=Y]|pooled",
    "augment": "NAMES",
    "tiers": "M",
    "allowed_tiers": "M,M,...",
    "leakage_budget": "AUDIT.json:key=value,...",
    "target_accuracy": "A",
    "defense": "NAME[:key=value,...]",
    "profiles": "NAME|FILE",
    "record_rounds": "N,N,...|last",
    "record_clients": "N,N,...",
    "workers": "N|auto",
}


def _kind(default: object) -> str:
    return {int: "N", float: "X"}.get(type(default), "NAME[:key=value,...]")


def _shown(default: object) -> str:
    return f"{default:.3g}" if isinstance(default, float) else str(default)


def typed_config(options: dict[str, Any]) -> TrainConfig:
    """Return the configuration that options of the command line make; what they name by its module is allowed."""
    given = given_options(options)
    return make_config(given, allowed=named_objects(given))


def given_options(options: dict[str, Any]) -> dict[str, object]:
    """Return the options that the user wrote."""
    return {name: value for name, value in options.items() if value is not None and value != ()}

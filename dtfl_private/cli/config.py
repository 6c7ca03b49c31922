"""The config command: a configuration, and where its values come from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtfl_private.cli.command import CommandGroup, GroupedCommand
from dtfl_private.cli.completion import of_configurations
from dtfl_private.cli.config_options import COMMAND_LINE_DEFAULTS, config_options, typed_layers
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import plugin_option, set_option
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import Layer, file_layers, flattened, origins
from dtfl_private.experiments.config.field_kinds import AUTOMATIC, NOTHING
from dtfl_private.experiments.config.plugin_fields import named_objects
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.config.value_words import shown
from dtfl_private.plugins.own_objects import allowance
from dtfl_private.simulation.clients.profiles import ResourceProfile

if TYPE_CHECKING:
    from rich.table import Table

DEFAULT = "default"


@click.group(cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def config(context: click.Context) -> None:
    """Show a configuration with where each of its values comes from."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@config.command(name="show", cls=GroupedCommand)
@click.argument("source", required=False, metavar="[CONFIG.toml|RUN]", shell_complete=of_configurations)
@set_option
@click.option("--changed", is_flag=True, help="only what differs from the defaults")
@click.option("--toml", is_flag=True, help="as TOML, as `train` would write it to the run folder")
@config_options(tuple(TrainConfig.model_fields))
@plugin_option
def show_config(
    source: str | None,
    settings: tuple[str, ...],
    changed: bool,
    toml: bool,
    allow_plugins: tuple[str, ...],
    **options: Any,
) -> None:
    """Show the configuration that `train` would use, each value with where it comes from.

    From the defaults, the files that CONFIG.toml extends, CONFIG.toml, --set, and options, of which later ones win. Of
    a run folder its own configuration. Nothing is written, no data are read.

    \b
    Examples:
      dtfl-private config show
      dtfl-private config show runs/mine --changed
      dtfl-private config show mine.toml --set rounds=30 --defense patch-shuffle:patch=4
    """
    if toml and output().as_json:
        raise InputError("--toml and --json contradict each other: give one of them")
    layers = layers_of(source, settings, options)
    given = flattened(typed_layers(settings, options))
    made = make_config(flattened(layers), source or "option", allowed=allowance(allow_plugins) | named_objects(given))
    keys = [key for key in TrainConfig.model_fields if not changed or _differs(made, key)]
    if toml:
        _show_toml(made, keys)
        return
    found = origins(layers)
    answer = output()
    answer.show(config_table(made, {key: found.get(key, DEFAULT) for key in keys}))
    values = made.model_dump(mode="json")
    answer.document({key: {"value": values[key], "from": found.get(key, DEFAULT)} for key in keys})


def layers_of(source: str | None, settings: tuple[str, ...], options: dict[str, Any]) -> list[Layer]:
    """Return the layers of a configuration: defaults of commands, files or a run's own, --set, options."""
    files: list[Layer] = []
    if source is not None:
        files = _of_run(Path(source)) if Path(source).is_dir() else file_layers(Path(source))
    return [Layer(source="default of commands", values=COMMAND_LINE_DEFAULTS), *files, *typed_layers(settings, options)]


def _of_run(path: Path) -> list[Layer]:
    from dtfl_private.experiments.config.toml_files import read_run_config
    from dtfl_private.experiments.run_folder.folder import RunFolder

    folder = RunFolder(path=path)
    return [Layer(source=str(folder.config), values=read_run_config(folder).model_dump())]


def _differs(made: TrainConfig, key: str) -> bool:
    return bool(getattr(made, key) != TrainConfig.model_fields[key].default)


def _show_toml(made: TrainConfig, keys: list[str]) -> None:
    from dtfl_private.experiments.config.toml_files import to_toml
    from dtfl_private.printable import printable_lines

    click.echo(printable_lines(to_toml(made, keys)), nl=False)


def config_table(made: TrainConfig, sources: dict[str, str]) -> "Table":
    """Return a row for each of the keys in ``sources``, under the headings of their groups."""
    from dtfl_private.report.tables.plain import as_printed, plain_table

    table = plain_table("", "key", "value", "from", right=False)
    groups = [_group(key) for key in sources]
    for key, group, following in zip(sources, groups, [*groups[1:], ""], strict=True):
        text = AUTOMATIC if key == "workers" and made.workers is None else _text(getattr(made, key))
        table.add_row(key, as_printed(text), as_printed(sources[key]), end_section=group != following)
    return table


def _group(key: str) -> str:
    extra = TrainConfig.model_fields[key].json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def _text(value: Any) -> str:
    """Return a value as options take it, but for lists and numbers of many digits, which are as people read them."""
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or NOTHING
    if isinstance(value, ResourceProfile):
        return value.name
    return str(value).lower() if isinstance(value, bool) else shown(value)

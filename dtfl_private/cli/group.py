"""The group of all commands. A command's module is imported when the command is named, and not before."""

from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from dtfl_private.cli.command import with_help
from dtfl_private.errors import unknown_name

COMMAND_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}

# The first line of each command's help, so that the list of them is shown without importing any.
COMMANDS: Mapping[str, str] = {
    "attack": "Attack a finished run: what the server, or another party, can reconstruct.",
    "audit": "Audit a finished run: what leaks at each tier, in one page to show to others.",
    "compare": "Compare runs: accuracy, and what it took to reach a target.",
    "config": "Show a configuration with where each of its values comes from.",
    "deploy": "Train over a real network, between processes that do not trust each other.",
    "export": "Export a run's trained network to a file for use elsewhere.",
    "help": "Explain a topic, as adversaries, defenses or tiers; or a command.",
    "list": "List models, data sets, schedulers and all else there is to choose.",
    "partition": "Show who gets which training images, as `train` would deal them out.",
    "plan": "Schedule without training, for any number of clients.",
    "predict": "Predict the classes of images or texts by a run's trained network.",
    "profile": "Show what each tier of a network costs.",
    "sweep": "Train all runs of a preset, over several seeds, and compare them.",
    "train": "Train a network federatedly; leave a run folder.",
    "tune": "Search for the configuration within limits on leakage, accuracy and time.",
}


def load_command(name: str) -> click.Command:
    """Return a command, a key of `COMMANDS`; its module is imported here."""
    command: click.Command
    match name:
        case "attack":
            from dtfl_private.cli.attack import attack as command
        case "audit":
            from dtfl_private.cli.audit import audit as command
        case "compare":
            from dtfl_private.cli.compare import compare as command
        case "config":
            from dtfl_private.cli.config import config as command
        case "deploy":
            from dtfl_private.cli.deploy import deploy as command
        case "export":
            from dtfl_private.cli.export import export as command
        case "help":
            from dtfl_private.cli.help import help_ as command
        case "list":
            from dtfl_private.cli.lists import list_ as command
        case "partition":
            from dtfl_private.cli.partition import partition as command
        case "plan":
            from dtfl_private.cli.plan import plan as command
        case "predict":
            from dtfl_private.cli.predict import predict as command
        case "profile":
            from dtfl_private.cli.profile import profile as command
        case "sweep":
            from dtfl_private.cli.sweep import sweep as command
        case "train":
            from dtfl_private.cli.train import train as command
        case "tune":
            from dtfl_private.cli.tune import tune as command
        case _:
            raise unknown_name("command", name, COMMANDS)
    return command


def _described(name: str) -> click.Command:
    """Return a command that has a name and the first line of its help, and does nothing."""
    return click.Command(name, help=COMMANDS[name])


class Commands(click.Group):
    """The group of all commands; an unknown one is answered with the nearest."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **with_help(kwargs))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None if there is none."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first line of its help."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl([(name, _described(name).get_short_help_str(limit)) for name in sorted(COMMANDS)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what a shell may complete the last word to: names of commands, and options of the group."""
        named = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=Commands, invoke_without_command=True, context_settings=COMMAND_SETTINGS)
@click.version_option(package_name="dtfl-private")
@click.pass_context
def cli(context: click.Context) -> None:
    """Tiered split federated learning (DTFL), with its leakage in view.

    Start with `dtfl-private train`: it needs no data and no options.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())

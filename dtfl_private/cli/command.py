"""Kinds of commands: their function's docstring is their help, their options stand under headings.

Every command has the options -v, -q and --json; its function asks `dtfl_private.cli.output.output` what to do.
"""

import os
from typing import Any

import click

from dtfl_private.cli.output import note_flag, output
from dtfl_private.errors import unknown_name
from dtfl_private.plugins.documentation import documentation


class GroupedOption(click.Option):
    """An option that knows under which heading its help stands."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def with_help(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a command's settings with its function's docstring as help, which click misses under ``python -OO``."""
    callback = settings.get("callback")
    return settings if callback is None else {**settings, "help": settings.get("help") or documentation(callback)}


def output_options() -> list[GroupedOption]:
    """Return the options by which the user says how a command is to answer."""
    shared: dict[str, Any] = {"group": "Output", "is_flag": True, "expose_value": False, "callback": note_flag}
    return [
        GroupedOption(["-v", "--verbose"], help="also what happens inside, as log lines on standard error", **shared),
        GroupedOption(["-q", "--quiet"], help="the result alone; warnings and errors on standard error", **shared),
        GroupedOption(
            ["--json", "as_json"],
            help="the result as one JSON document on standard output, all else on standard error",
            **shared,
        ),
    ]


class DocumentedCommand(click.Command):
    """A command whose help is its function's docstring, also under ``python -OO``; with options for its output."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **with_help(kwargs))
        own = {flag for parameter in self.params for flag in parameter.opts}
        self.params += [option for option in output_options() if not own & {*option.opts}]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command's arguments; from here on as many log lines are shown as the user wants."""
        import logging

        from dtfl_private.runtime.logs import logs_shown

        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            ctx.with_resource(logs_shown(logging.DEBUG if output().verbose else logging.WARNING))
            logging.getLogger("dtfl_private.cli").debug("dtfl-private %s, process %d", ctx.info_name, os.getpid())
        return rest


class CommandGroup(click.Group):
    """A command that has commands of its own; an unknown one is answered with the nearest."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **with_help(kwargs))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown_name(f"command of {self.name}", args[0], self.commands)
        return super().resolve_command(ctx, args)


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

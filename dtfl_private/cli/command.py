"""Kinds of commands: with their function's docstring as help, and with options under headings."""

from typing import Any

import click

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


class DocumentedCommand(click.Command):
    """A command whose help is its function's docstring, also under ``python -OO``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **with_help(kwargs))


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

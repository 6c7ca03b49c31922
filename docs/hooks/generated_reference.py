"""Write the reference of commands and of Python names into their pages, while mkdocs builds the site.

Both come from the code itself: help texts from click, docstrings by mkdocstrings.
"""

from collections.abc import Callable
from typing import Any

import click
from click.testing import CliRunner
from mkdocs.exceptions import PluginError

import dtfl_private
from dtfl_private.cli.group import cli, load_command

HELP_COLUMNS = 100


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page's text with each placeholder replaced by the generated part."""
    for marker, generated in GENERATED.items():
        if marker in markdown:
            markdown = markdown.replace(marker, generated())
    return markdown


def commands() -> str:
    """Return the help of the program, and a section with the help of each command."""
    names = cli.list_commands(click.Context(cli))
    return "\n\n".join([_help_of(), *(f"## {name}\n\n{_with_inner(name)}" for name in names)])


def _with_inner(name: str) -> str:
    """Return the help of a command, and below it that of each of its own commands, if it has any."""
    command = load_command(name)
    inner = sorted(command.commands) if isinstance(command, click.Group) else []
    return "\n\n".join([_help_of(name), *(f"### {name} {one}\n\n{_help_of(name, one)}" for one in inner)])


def _help_of(*command: str) -> str:
    """Return what ``dtfl-private COMMAND --help`` prints, as a block.

    Raises:
        PluginError: the command has no help.
    """
    shown = CliRunner().invoke(cli, [*command, "--help"], prog_name="dtfl-private", terminal_width=HELP_COLUMNS)
    if shown.exit_code != 0:
        raise PluginError(f"dtfl-private {' '.join(command)} --help: {shown.output}")
    return f"```text\n{shown.output.rstrip()}\n```"


def functions() -> str:
    """Return the entries of all public functions."""
    return _entries(lambda name: name[0].islower())


def classes() -> str:
    """Return the entries of all public classes."""
    return _entries(lambda name: name[0].isupper())


def _entries(wanted: Callable[[str], bool]) -> str:
    """Return a mkdocstrings entry for every public name that is wanted."""
    return "\n\n".join(f"::: dtfl_private.{name}" for name in dtfl_private.__all__ if wanted(name))


GENERATED = {"<!-- commands -->": commands, "<!-- functions -->": functions, "<!-- classes -->": classes}

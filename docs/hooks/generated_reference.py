"""Write the reference of commands and of Python names into their pages, while mkdocs builds the site.

Both come from the code itself: help texts from click, docstrings by mkdocstrings.
"""

from collections.abc import Callable
from typing import Any

import click

import dtfl_private
from dtfl_private.cli.group import cli

HELP_COLUMNS = 100


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page's text with what stands for a generated part replaced by that part."""
    for marker, generated in GENERATED.items():
        if marker in markdown:
            markdown = markdown.replace(marker, generated())
    return markdown


def commands() -> str:
    """Return a section for each command, with the help that it prints."""
    root = click.Context(cli, info_name="dtfl-private", terminal_width=HELP_COLUMNS)
    return "\n\n".join(
        f"## {name}\n\n```text\n{_help_text(cli.get_command(root, name), name, root)}\n```"
        for name in cli.list_commands(root)
    )


def _help_text(command: click.Command | None, name: str, root: click.Context) -> str:
    """Return what ``dtfl-private NAME --help`` prints."""
    assert command is not None, f"the group lists '{name}' and does not have it"
    return command.get_help(click.Context(command, info_name=name, parent=root, terminal_width=HELP_COLUMNS))


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

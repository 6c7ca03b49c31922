"""How a command answers: what it shows, how much, and where. Every command has the options -v, -q and --json for it.

A command shows its result with `Output.show`, says what else there is to know with `Output.say`, warns with
`Output.warn`, gives a display of its progress `Output.progress`, and gives the same result to programs with
`Output.document`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtfl_private.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Of what programs write for programs.
LARGEST_DOCUMENT_BYTES = 2**26

_KEY = "dtfl_private.output"


@dataclass
class Output:
    """How a command answers.

    Attributes:
        quiet: the result alone.
        verbose: log lines too, on standard error.
        as_json: the result is one JSON document on standard output; all else goes to standard error.
        apart: what people read goes to standard error, for something else has gone to standard output.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    apart: bool = False

    @cached_property
    def console(self) -> "Console":
        """Where what people read goes."""
        from dtfl_private.cli.terminal import open_console

        return open_console(stderr=self.as_json or self.apart)

    @cached_property
    def _apart(self) -> "Console":
        """Where warnings go if they are not to be mixed with the result."""
        from dtfl_private.cli.terminal import open_console

        return open_console(stderr=True) if self.quiet else self.console

    @property
    def progress(self) -> "Console":
        """Where a display shows progress; give it `quiet` too, with which it shows notes alone."""
        return self._apart

    def show(self, *things: "RenderableType") -> None:
        """Show the result: tables, sentences. With --json the document stands for it."""
        if not self.as_json:
            for thing in things:
                self.console.print(thing, highlight=False)

    def show_line(self, text: str) -> None:
        """Show a sentence that belongs to the result."""
        from dtfl_private.report.lines import print_line

        if not self.as_json:
            print_line(self.console, text)

    def say(self, text: str) -> None:
        """Say what else there is to know, in a line: where files are, what columns mean."""
        from dtfl_private.report.lines import print_line

        if not self.quiet:
            print_line(self.console, text)

    def warn(self, text: str) -> None:
        """Say what must not be overlooked, in a line."""
        from dtfl_private.report.lines import print_line

        print_line(self._apart, text, style="bold yellow")

    def require_stdout_free(self, *targets: str | None) -> None:
        """Check that nothing else is to go where the document goes.

        Raises:
            InputError: a target is ``-``.
        """
        if self.as_json and "-" in targets:
            raise InputError("--json writes one document to standard output: name a file for the other output, not -")

    def document(self, value: Mapping[str, Any] | Sequence[Any] | Path) -> None:
        """Write the result for programs, if it was asked for: a value, or what a JSON file of the run's holds."""
        if not self.as_json:
            return
        if isinstance(value, Path):
            from dtfl_private.files import reading

            value = reading.read_json(value, most_bytes=LARGEST_DOCUMENT_BYTES)
        click.echo(json.dumps(value, indent=2))


def output() -> Output:
    """Return how the command that runs is to answer."""
    context = click.get_current_context(silent=True)
    return Output() if context is None else _of(context)


def _of(context: click.Context) -> Output:
    found = context.meta.setdefault(_KEY, Output())
    assert isinstance(found, Output)
    return found


def note_flag(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Note an option that is called like an attribute of `Output`.

    Raises:
        InputError: it contradicts another.
    """
    settings = _of(context)
    if value:
        setattr(settings, str(parameter.name), True)
    if settings.quiet and settings.verbose:
        raise InputError("--verbose and --quiet contradict each other: give one of them")


def note_file(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Note whether the JSON document goes to standard output, which is written "-"."""
    if value == "-":
        _of(context).as_json = True
    return value

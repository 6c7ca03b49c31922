"""The command line's entry: run a command and leave with its exit status.

Every failure is answered in one line. Modules are imported in the functions that need them, so that Ctrl-C is answered
while they load, and ``--help`` loads none but its own.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell: 128 and the signal's number."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit status.

    0 done, 1 the run failed, 2 wrong input, 3 a gate was crossed, 130 interrupted where nothing had begun.
    """
    try:
        from dtfl_private.cli.encoding import never_fail_on_characters
        from dtfl_private.cli.group import cli
        from dtfl_private.runtime.allocator import collect_rarely, tune_allocator

        collect_rarely()
        tune_allocator()
        never_fail_on_characters()
        cli.main(args=arguments, prog_name="dtfl-private", standalone_mode=False)
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(INTERRUPTED)
    except Exception as error:  # what is no known failure is raised again there
        sys.exit(_answer(error))
    sys.exit(0)


def _answer(error: Exception) -> int:
    """Say in one line why a command failed, and return the exit status; what is no known failure is raised again."""
    import click

    from dtfl_private.errors import DtflError, GateCrossedError, InputError
    from dtfl_private.printable import one_line

    match error:
        case GateCrossedError():
            for line in error.lines:
                click.echo(line, err=True)
            return error.exit_status
        case click.ClickException():
            message, status = error.format_message(), InputError.exit_status
        case DtflError():
            message, status = str(error), error.exit_status
        case click.Abort():  # what click makes of Ctrl-C
            message, status = "interrupted", INTERRUPTED
        case MemoryError():
            message, status = f"not enough memory: {error}", DtflError.exit_status
        case OSError() | UnicodeEncodeError():
            # Paths of the user that the system refuses; a run turns its own into RunError.
            message, status = f"a file or folder cannot be used: {error}", InputError.exit_status
        case _:
            raise error
    click.echo("error: " + one_line(message), err=True)
    return status

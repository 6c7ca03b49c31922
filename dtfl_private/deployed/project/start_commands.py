"""The commands by which a project's parts are started, wherever they are written: instructions, units, compose file."""

import shlex
from collections.abc import Sequence

from dtfl_private.deployed.project.layout import CredentialFolder

PROGRAM = "dtfl-private"


def serve_command(*, config: str, listen: str, out: str, credentials: CredentialFolder) -> list[str]:
    """Return the arguments of the server's start; a run that was interrupted is gone on with."""
    return [
        *("deploy", "serve", config, "--listen", listen, "--out", out, "--resume"),
        *credential_options(credentials),
    ]


def join_command(*, address: str, credentials: CredentialFolder, store: str, data: str | None) -> list[str]:
    """Return the arguments of a client's start.

    Args:
        address: of the server, HOST:PORT.
        credentials: its files.
        store: the folder in which it keeps what it must not forget, as its privacy ledger.
        data: the folder of its data; None for data sets that read none.
    """
    own = ["--data-dir", data] if data is not None else []
    return ["deploy", "join", address, *credential_options(credentials), "--store", store, *own]


def credential_options(credentials: CredentialFolder) -> list[str]:
    """Return the options that name the files of a side's credentials."""
    files = {"--ca": credentials.authority, "--cert": credentials.certificate, "--key": credentials.key}
    return [word for option, path in files.items() for word in (option, str(path))]


def as_typed(arguments: Sequence[str]) -> str:
    """Return a command as it is typed in a shell."""
    return shlex.join([PROGRAM, *arguments])

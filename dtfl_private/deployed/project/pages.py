"""What the README files of a project say."""

from datetime import datetime

from dtfl_private.deployed.project.layout import CredentialFolder
from dtfl_private.deployed.project.settings import ProjectSettings
from dtfl_private.deployed.project.start_commands import as_typed, join_command, serve_command
from dtfl_private.deployed.project.systemd_units import service
from dtfl_private.printable import printable


def client_page(settings: ProjectSettings, client: int, expires: datetime, files: CredentialFolder) -> str:
    """Return what client number ``client`` is to do, in three lines.

    Args:
        settings: of the project.
        client: its number.
        expires: when its certificate does.
        files: its folder; the names in it are used, for the command is typed there.
    """
    command = join_command(
        address=settings.address,
        credentials=here(files),
        store="store",
        data="DATA" if settings.needs_data else None,
    )
    data = " (DATA: the folder of your images)" if settings.needs_data else ""
    return f"""\
You are client {client} of '{printable(settings.project)}' until {expires:%Y-%m-%d}. Keep client.key to yourself.
Install the package (pip install "dtfl-private[deploy]"), then start in this folder{data}:
    {as_typed(command)}
"""


def project_page(settings: ProjectSettings, clients: int, files: CredentialFolder) -> str:
    """Return what the operator is to do."""
    renew = as_typed(["deploy", "renew", ".", "client-0"])
    serve = serve_command(config="config.toml", listen=f"0.0.0.0:{settings.port}", out="runs/run", credentials=files)
    return f"""\
# {printable(settings.project)}

A run of dtfl-private over a real network: a server, and {clients} clients that keep their images.
Clients look for the server at `{settings.address}`.

| here | what it is | where it belongs |
|--|--|--|
| `config.toml` | the run's configuration | at the server, which tells it to each client |
| `authority/` | the key that issues certificates | with you alone; no machine needs it to train |
| `server/` | the server's certificate and key, its systemd unit | at the server |
| `clients/client-K/` | its certificate and key, systemd unit, instructions | handed over to client K, whole |
| `compose.yaml`, `Dockerfile` | server and clients in containers of this machine, to try it | here |

Start the server in this folder, with `pip install "dtfl-private[deploy]"` done:

    {as_typed(serve)}

Hand each client its folder by a way that nobody else can read; its README.md says how to start. Then watch:

    {as_typed(["deploy", "status", "runs/run"])}

- Before you start: `config.toml` has the number of clients, and what they are to train. Clients hold on to the
  configuration that they first took part in.
- To start by systemd: the head of `server/{service("server")}.service` says how.
- One more client: `{as_typed(["deploy", "add-client", "."])}`
- Certificates are valid for {settings.days} days. A new one for the same key: `{renew}`, or `server`.
- Nobody needs a key in `clients/` here once it is handed over: delete yours.
"""


def here(files: CredentialFolder) -> CredentialFolder:
    """Return the same files as they are named by who works in their folder."""
    from pathlib import Path

    return CredentialFolder(path=Path(), name=files.name)

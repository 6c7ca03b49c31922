"""What the README files of a project for Flower say."""

import shlex

from dtfl_private.deployed.project.flower_app import CONNECTION, SUPERLINK_PORT
from dtfl_private.deployed.project.settings import ProjectSettings
from dtfl_private.deployed.project.start_commands import as_typed
from dtfl_private.printable import printable


def superlink_command() -> list[str]:
    """Return how the SuperLink is started, in the project's folder."""
    return [
        *("flower-superlink", "--host", "0.0.0.0", "--port", str(SUPERLINK_PORT)),
        *("--ssl-ca-certfile", "server/ca.pem", "--ssl-certfile", "server/server.pem"),
        *("--ssl-keyfile", "server/server.key", "--enable-supernode-auth", "--database", "flower/superlink.db"),
        "--disable-runtime-dependency-installation",
    ]


def register_command(client: int) -> list[str]:
    """Return how a client's key is registered, in the project's folder."""
    name = f"client-{client}"
    return ["flwr", "supernode", "register", f"clients/{name}/node.pub", CONNECTION, "--name", name]


def run_command() -> list[str]:
    """Return how a run is started, in the project's folder."""
    return ["flwr", "run", "app", CONNECTION, "--stream"]


def supernode_command(settings: ProjectSettings) -> list[str]:
    """Return how a client is started, in its folder."""
    data = ' dtfl-data-dir="DATA"' if settings.needs_data else ""
    return [
        *("flower-supernode", "--superlink", superlink_address(settings), "--root-certificates", "ca.pem"),
        *("--auth-supernode-private-key", "node.key", "--node-config", f'dtfl-store="store"{data}'),
    ]


def superlink_address(settings: ProjectSettings) -> str:
    """Return where clients find the SuperLink."""
    return f"{settings.address.rpartition(':')[0]}:{SUPERLINK_PORT}"


def client_page(settings: ProjectSettings) -> str:
    """Return what a client is to do."""
    data = " (DATA: the folder of your images)" if settings.needs_data else ""
    return f"""\
You are one of the clients of '{printable(settings.project)}'. Keep node.key to yourself: it is what you are known by.
Install the package (pip install "dtfl-private[flower]"), then start in this folder{data}:
    {shlex.join(supernode_command(settings))}
Let nothing end it for good: it serves all runs of the federation. The app that it runs is sent by whoever starts a run.
"""


def project_page(settings: ProjectSettings, clients: int) -> str:
    """Return what the operator is to do."""
    registered = "\n".join(f"    {shlex.join(register_command(client))}" for client in range(clients))
    renew, add = (as_typed(["deploy", *words]) for words in (("renew", ".", "server"), ("add-client", ".")))
    return f"""\
# {printable(settings.project)}

A run of dtfl-private inside Flower: a SuperLink, and {clients} SuperNodes whose clients keep their images.
Clients look for the SuperLink at `{superlink_address(settings)}`, and for the server of a run at `{settings.address}`.

| here | what it is | where it belongs |
|--|--|--|
| `app/` | the app: `config.toml` says what is trained, `pyproject.toml` how it is served | Flower sends it to all |
| `flower/` | Flower's own files, with the address of the SuperLink | with you |
| `authority/` | the key that issues the SuperLink's certificate | with you alone |
| `server/` | the SuperLink's certificate and key | at the SuperLink |
| `clients/client-K/` | a SuperNode's key pair, instructions | handed over to a client, whole |

All commands are typed in this folder (if it moves, `flower/config.toml` has to say so), with
`pip install "dtfl-private[flower]"` done and

    export FLWR_HOME="$PWD/flower"

Start the SuperLink:

    {shlex.join(superlink_command())}

Tell it the public keys of the clients; which client one is, is said by the name:

{registered}

Hand each client its folder by a way that nobody else can read; its README.md says how to start. Then, for each run:

    {shlex.join(run_command())}
    {as_typed(["deploy", "status", "runs/run"])}

- Before you start: `app/config.toml` has the number of clients, and what they are to train. Clients hold on to the
  configuration that they first took part in.
- With one open port, that of the SuperLink: `--run-config 'transport="reply"'`. It takes tens of seconds more a round.
- Whoever reaches the SuperLink's port can start runs and register keys: let only the clients reach it.
- One more client: `{add}`; register its key, and set `clients` in `app/config.toml`.
- The SuperLink's certificate is valid for {settings.days} days. A new one for the same key: `{renew}`.
- Nobody needs a `node.key` in `clients/` here once it is handed over: delete yours.
"""

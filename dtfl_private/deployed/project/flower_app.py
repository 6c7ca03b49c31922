"""The Flower app of a project: thin modules that import this package, which is installed on every machine.

Flower sends the app to all clients: nothing in its folder is secret.
"""

from pathlib import Path

import tomli_w

from dtfl_private.deployed.project.settings import ProjectSettings

FLOWER_VERSION = "1.42.0"
"""Which Flower the app was tried with; `pyproject.toml` of this package asks for the same."""

CONNECTION = "federation"
"""Name of the connection to the SuperLink in Flower's own configuration."""

SUPERLINK_PORT = 8000
"""On which the SuperLink listens by default."""

PACKAGE = "dtfl_app"

SERVER_APP = '''\
"""The server's side of the app."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from dtfl_private.deployed.flower.server_app import run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve the run that config.toml says."""
    run(grid, context, Path(__file__).parent.parent / "config.toml")
'''

CLIENT_APP = '''\
"""A client's side of the app."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from dtfl_private.deployed.flower.client_app import answer

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Take part, by what the SuperNode's --node-config says."""
    return answer(message, context)
'''

PACKAGE_TEXT = '"""A run of dtfl-private inside Flower."""\n'

LICENSE = """\
The files in this folder were written by dtfl-private for your use. They are under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0
"""

HEAD = """\
# The app of a run of dtfl-private inside Flower. What is trained stands in config.toml.
#
# [tool.flwr.app.config] is for the server, on the machine of the SuperLink; flwr run --run-config changes it for a run:
#   out             run folder, seen from where the SuperLink was started
#   resume          go on with the run in it, if there is one
#   transport       session: clients connect to the server's own port; reply: all goes through the SuperLink's
#   listen          for session: where the server listens
#   reached-at      for session: where clients reach that
#   min-clients     begin as soon as so many clients are there; 0: all
#   round-deadline  seconds after which clients are told to finish
#   stragglers      average what a client has by then, or drop it

"""


def app_files(settings: ProjectSettings, config: str) -> dict[str, str]:
    """Return the files of the app by name.

    Args:
        settings: of the project.
        config: the run's configuration, TOML.
    """
    return {
        "pyproject.toml": HEAD + tomli_w.dumps(_pyproject(settings)),
        "config.toml": config,
        "LICENSE": LICENSE,
        f"{PACKAGE}/__init__.py": PACKAGE_TEXT,
        f"{PACKAGE}/server_app.py": SERVER_APP,
        f"{PACKAGE}/client_app.py": CLIENT_APP,
    }


def _pyproject(settings: ProjectSettings) -> dict[str, object]:
    components = {"serverapp": f"{PACKAGE}.server_app:app", "clientapp": f"{PACKAGE}.client_app:app"}
    run = {
        "out": "runs/run",
        "resume": True,
        "transport": "session",
        "listen": f"0.0.0.0:{settings.port}",
        "reached-at": settings.address,
        "min-clients": 0,
        "round-deadline": 600.0,
        "stragglers": "average",
    }
    app = {
        "publisher": "dtfl-private",
        "fab-format-version": 1,
        "flwr-version-target": FLOWER_VERSION,
        "components": components,
        "config": run,
    }
    project = {
        "name": "dtfl-app",
        "version": "1.0.0",
        "description": "A run of dtfl-private inside Flower",
        "license": {"file": "LICENSE"},
        "dependencies": [f"flwr>={FLOWER_VERSION}", "dtfl-private[flower]"],
    }
    build = {"requires": ["hatchling"], "build-backend": "hatchling.build"}
    return {"build-system": build, "project": project, "tool": {"flwr": {"app": app}}}


def connection_file(address: str, authority: Path) -> str:
    """Return Flower's own configuration.

    Args:
        address: of the SuperLink.
        authority: file with the certificate of the only authority that is trusted; Flower wants a path from the root.
    """
    connection = {"address": address, "root-certificates": str(authority.absolute())}
    return tomli_w.dumps({"superlink": {"default": CONNECTION, CONNECTION: connection}})

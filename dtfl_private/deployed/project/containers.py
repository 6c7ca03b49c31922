"""Dockerfile and compose file of a project: server and clients on one machine, each in its container."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from dtfl_private.deployed.project.identity import SERVER, client_name
from dtfl_private.deployed.project.layout import CredentialFolder
from dtfl_private.deployed.project.settings import ProjectSettings
from dtfl_private.deployed.project.start_commands import join_command, serve_command
from dtfl_private.printable import printable

HOME = Path("/federated")
"""Working folder in a container."""

# Keys must never get into an image: nothing is in the build's context but what the image needs.
IGNORED = "*\n!Dockerfile\n!*.whl\n"


def dockerfile() -> str:
    """Return the Dockerfile of server and clients: the package of this version, on this Python."""
    return f"""\
# The package with what `deploy` needs. It is taken from the package index that pip is set up for; to install what you
# have built yourself, put the wheel beside this file (pip wheel --no-deps PATH-OF-THE-REPOSITORY).
FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim

ARG PACKAGE="dtfl-private[deploy]=={version("dtfl-private")}"
# This file is copied with the wheels, so that there is something to copy where there is no wheel.
COPY Dockerfile *.whl /packages/
RUN for wheel in /packages/*.whl; do [ ! -e "$wheel" ] || pip install --no-cache-dir --no-deps "$wheel"; done \\
    && pip install --no-cache-dir "$PACKAGE"

# Anybody may write here: the compose file names the owner of the folders that it mounts.
RUN install --directory --mode 1777 {HOME}
ENV OMP_NUM_THREADS=1 MPLCONFIGDIR=/tmp/matplotlib DTFL_PRIVATE_CACHE=/tmp/cache
WORKDIR {HOME}
USER 1000

ENTRYPOINT ["dtfl-private"]
CMD ["deploy", "--help"]
"""


def compose_file(settings: ProjectSettings, clients: int, owner: str) -> str:
    """Return the compose file.

    Args:
        settings: of the project.
        clients: their number.
        owner: who owns the mounted folders, "UID:GID".
    """
    told = "# Clients read their images from data/client-K, which are yours to fill.\n" if settings.needs_data else ""
    services = "".join(_client(settings, client, owner) for client in range(clients))
    return f"""\
# Server and clients on this machine, to try the project: docker compose up --build
# Between machines, hand over the folders in clients/ and run the server alone: docker compose up --build server
# What runs in the containers belongs to the user {owner}, who made the project.
{told}name: {_compose_name(settings.project)}

services:
{_server(settings, owner)}{services}"""


def _server(settings: ProjectSettings, owner: str) -> str:
    command = serve_command(
        config=str(HOME / "config.toml"),
        listen=f"0.0.0.0:{settings.port}",
        out=str(HOME / "runs/run"),
        credentials=CredentialFolder(path=HOME / "server", name="server"),
    )
    mounts = {"./config.toml": "config.toml:ro", "./server": "server:ro", "./runs": "runs"}
    ports = f"    ports: [{json.dumps(f'{settings.port}:{settings.port}')}]\n"
    return _service(SERVER, command, mounts, owner, ports)


def _client(settings: ProjectSettings, client: int, owner: str) -> str:
    name = client_name(client)
    command = join_command(
        address=f"{SERVER}:{settings.port}",
        credentials=CredentialFolder(path=HOME / "client", name="client"),
        store=str(HOME / "store"),
        data=str(HOME / "data") if settings.needs_data else None,
    )
    mounts = {f"./clients/{name}": "client:ro", f"./stores/{name}": "store"}
    if settings.needs_data:
        mounts[f"./data/{name}"] = "data:ro"
    return _service(name, command, mounts, owner, "    depends_on: [server]\n")


def _service(name: str, command: Sequence[str], mounts: Mapping[str, str], owner: str, more: str) -> str:
    # JSON's texts and lists are YAML's, too.
    volumes = "".join(f"      - {json.dumps(f'{there}:{HOME / here}')}\n" for there, here in mounts.items())
    return f"""\
  {name}:
    build: .
    image: dtfl-private-deploy
    user: {json.dumps(owner)}
    command: {json.dumps(list(command))}
{more}    volumes:
{volumes}    restart: on-failure
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
"""


def mounted_folders(clients: int, *, needs_data: bool) -> list[str]:
    """Return the folders that the compose file mounts and that are empty at first; Docker would make them as root."""
    stores = [f"stores/{client_name(client)}" for client in range(clients)]
    data = [f"data/{client_name(client)}" for client in range(clients)] if needs_data else []
    return ["runs", *stores, *data]


def _compose_name(project: str) -> str:
    """Return a name that Docker allows: small letters, digits, - and _."""
    return "dtfl-" + (re.sub(r"[^a-z0-9_-]+", "-", printable(project).lower()).strip("-_") or "project")

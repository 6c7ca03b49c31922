"""What `deploy init` is told, and what it answers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dtfl_private.deployed.project.init import DEFAULT_CLIENTS, Made
from dtfl_private.experiments.config.composition import file_layers, flattened
from dtfl_private.experiments.config.plugin_fields import named_objects
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.files.writing import path_text


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def project_config(file: str | None, clients: int | None) -> TrainConfig:
    """Return the configuration of a file, or that of the digits data set; ``clients`` wins over what it says.

    Raises:
        InputError: the file cannot be read, or is refused.
    """
    values = {"clients": DEFAULT_CLIENTS} if file is None else flattened(file_layers(Path(file)))
    if clients is not None:
        values = {**values, "clients": clients}
    # Nothing is imported that it names: `make_project` refuses such names, in its own words.
    return make_config(values, file or "option", allowed=named_objects(values))


def project_lines(made: Made) -> list[str]:
    """Return what to do with a new project."""
    address = made.settings.address
    served = (
        "server/ to the SuperLink's machine"
        if made.settings.flower
        else "config.toml and server/ to the server's machine"
    )
    makes = "issues the SuperLink's certificate" if made.settings.flower else "can make new clients"
    lines = [
        f"clients look for the server at {address}",
        f"hand over: {served}, each folder in clients/ to its client",
        f"keep: authority/, whose key {makes}",
        f"next: {made.folder.path / 'README.md'}",
    ]
    if made.settings.names == ["localhost"]:
        lines[0] += ": this machine alone; for others, give --server-name"
    return lines


def project_document(made: Made) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "folder": path_text(made.folder.path),
        "server": made.settings.address,
        "names": [str(host) for host in made.settings.hosts],
        "clients": [path_text(made.folder.client(client).path) for client in range(made.clients)],
    }

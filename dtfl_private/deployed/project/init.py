"""Make a project: the folder appears complete or not at all."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dtfl_private.deployed.deployable import require_deployable
from dtfl_private.deployed.extra import require_deploy_extra
from dtfl_private.deployed.project import containers, pages, systemd_units
from dtfl_private.deployed.project.authority import Authority, Pair, issue_client, issue_server, new_authority
from dtfl_private.deployed.project.commented_config import commented_toml
from dtfl_private.deployed.project.layout import CredentialFolder, ProjectFolder
from dtfl_private.deployed.project.settings import ProjectSettings, host_names, settings_document
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.files.writing import new_folder, write_synced

DEFAULT_CLIENTS = 3
DEFAULT_DAYS = 365
DEFAULT_PORT = 8443

# Data sets that are part of what is installed: their loaders read no folder.
BUNDLED = ("digits", "sentences")


@dataclass(frozen=True, kw_only=True)
class Made:
    """What `make_project` made."""

    folder: ProjectFolder
    settings: ProjectSettings
    clients: int


def make_project(
    path: Path,
    config: TrainConfig,
    *,
    names: Sequence[str] = (),
    port: int = DEFAULT_PORT,
    days: int = DEFAULT_DAYS,
    now: datetime,
) -> Made:
    """Write a project for a run with this configuration.

    Args:
        path: of its folder, which must not be there.
        config: the run's; it says how many clients there are.
        names: of the server, under which clients reach it; by default this machine's own.
        port: on which it listens.
        days: for which certificates are valid.
        now: the time, with its zone.

    Raises:
        InputError: the extra is not installed, the folder is there or cannot be made, a name is none, the configuration
            names code, more clients than get certificates, or what cannot be deployed.
    """
    require_deploy_extra()
    require_can_be_made(path, config)
    settings = new_settings(path, config, names=names, port=port, days=days)
    with new_folder(path, f"project '{path}' cannot be made") as draft:
        _fill(ProjectFolder(path=draft), settings, config, now)
    return Made(folder=ProjectFolder(path=path), settings=settings, clients=config.clients)


def new_settings(
    path: Path, config: TrainConfig, *, names: Sequence[str], port: int, days: int, flower: bool = False
) -> ProjectSettings:
    """Return the settings of a new project; see `make_project`."""
    return ProjectSettings(
        project=path.absolute().name,
        names=host_names(names),
        port=port,
        days=days,
        needs_data=config.dataset.partition(":")[0] not in BUNDLED,
        issued=config.clients,
        flower=flower,
    )


def require_can_be_made(path: Path, config: TrainConfig) -> None:
    """Raise `InputError` where the folder is there or has no name, or a run of this kind has no project."""
    _require_free(path)
    _require_deployable(config)


def _require_free(path: Path) -> None:
    if path.name in ("", ".."):
        raise InputError(f"project '{path}' cannot be made: it needs a name of its own")
    if path.exists() or path.is_symlink():
        raise InputError(f"project '{path}' exists: choose another folder")


def _require_deployable(config: TrainConfig) -> None:
    named = sorted(config.named_objects)
    if named:
        raise InputError(
            f"'{named[0]}' is code that the configuration names: the server tells clients a configuration, never code; "
            "install it on all machines as a plug-in with a name"
        )
    require_deployable(config)  # not only once the folders have been handed over


def _fill(project: ProjectFolder, settings: ProjectSettings, config: TrainConfig, now: datetime) -> None:
    authority = new_authority(settings.project, now)
    write_authority(project, authority, settings)
    write_synced(project.config, commented_toml(config).encode())
    write_synced(project.path / "README.md", _readme(settings, config.clients).encode())
    _write_server(project.server, authority, settings, now)
    project.clients.mkdir()
    for client in range(config.clients):
        folder = project.client(client)
        folder.path.mkdir()
        fill_client(folder, authority, settings, client, now)
    _write_containers(project, settings, config.clients)


def write_authority(project: ProjectFolder, authority: Authority, settings: ProjectSettings) -> None:
    """Write what never leaves the operator."""
    project.authority.mkdir(mode=0o700)
    write_synced(project.authority_certificate, authority.pair.certificate_pem)
    write_synced(project.authority_key, authority.pair.key_pem, private=True)
    write_synced(project.settings, settings_document(settings))


def _readme(settings: ProjectSettings, clients: int) -> str:
    return pages.project_page(settings, clients, ProjectFolder(path=Path()).server)


def _write_server(folder: CredentialFolder, authority: Authority, settings: ProjectSettings, now: datetime) -> None:
    folder.path.mkdir()
    write_pair(folder, authority, issue_server(authority, settings.hosts, now, settings.days))
    write_synced(folder.unit, systemd_units.server_unit(settings).encode())


def fill_client(
    folder: CredentialFolder, authority: Authority, settings: ProjectSettings, client: int, now: datetime
) -> None:
    """Write what client number ``client`` is given into its empty folder."""
    from cryptography import x509

    pair = issue_client(authority, client, now, settings.days)
    expires = x509.load_pem_x509_certificate(pair.certificate_pem).not_valid_after_utc
    write_pair(folder, authority, pair)
    write_synced(folder.unit, systemd_units.client_unit(settings, client).encode())
    write_synced(folder.readme, pages.client_page(settings, client, expires, folder).encode())


def write_pair(folder: CredentialFolder, authority: Authority, pair: Pair) -> None:
    """Write a side's certificate and key, and the certificate of the authority that has issued it."""
    write_synced(folder.authority, authority.pair.certificate_pem)
    write_synced(folder.certificate, pair.certificate_pem)
    write_synced(folder.key, pair.key_pem, private=True)


def _write_containers(project: ProjectFolder, settings: ProjectSettings, clients: int) -> None:
    owner = f"{os.getuid()}:{os.getgid()}" if os.name == "posix" else "1000:1000"
    for name in containers.mounted_folders(clients, needs_data=settings.needs_data):
        (project.path / name).mkdir(parents=True)
    write_synced(project.path / "compose.yaml", containers.compose_file(settings, clients, owner).encode())
    write_synced(project.path / "Dockerfile", containers.dockerfile().encode())
    write_synced(project.path / ".dockerignore", containers.IGNORED.encode())

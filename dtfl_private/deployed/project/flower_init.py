"""A project for those who run a federation with Flower: its app, the SuperLink's certificate, the SuperNodes' keys."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dtfl_private.deployed.extra import require_flower_extra
from dtfl_private.deployed.project import flower_pages
from dtfl_private.deployed.project.authority import issue_server, new_authority
from dtfl_private.deployed.project.commented_config import commented_toml
from dtfl_private.deployed.project.flower_app import app_files, connection_file
from dtfl_private.deployed.project.init import (
    DEFAULT_DAYS,
    DEFAULT_PORT,
    Made,
    new_settings,
    require_can_be_made,
    write_authority,
    write_pair,
)
from dtfl_private.deployed.project.layout import ProjectFolder
from dtfl_private.deployed.project.settings import ProjectSettings
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.files.writing import new_folder, write_synced


def make_flower_project(
    path: Path,
    config: TrainConfig,
    *,
    names: Sequence[str] = (),
    port: int = DEFAULT_PORT,
    days: int = DEFAULT_DAYS,
    now: datetime,
) -> Made:
    """Write a project for a run with this configuration inside Flower; see `make_project` for arguments and errors."""
    require_flower_extra()
    require_can_be_made(path, config)
    settings = new_settings(path, config, names=names, port=port, days=days, flower=True)
    with new_folder(path, f"project '{path}' cannot be made") as draft:
        _fill(ProjectFolder(path=draft), settings, config, now, path)
    return Made(folder=ProjectFolder(path=path), settings=settings, clients=config.clients)


def _fill(project: ProjectFolder, settings: ProjectSettings, config: TrainConfig, now: datetime, place: Path) -> None:
    """Write all files; ``place`` is where the folder will be."""
    authority = new_authority(settings.project, now)
    write_authority(project, authority, settings)
    project.server.path.mkdir()
    write_pair(project.server, authority, issue_server(authority, settings.hosts, now, settings.days))
    for name, text in app_files(settings, commented_toml(config)).items():
        file = project.app / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_synced(file, text.encode())
    project.flower_home.mkdir()
    connection = connection_file(flower_pages.superlink_address(settings), ProjectFolder(path=place).server.authority)
    write_synced(project.flower_home / "config.toml", connection.encode())
    project.clients.mkdir()
    for client in range(config.clients):
        folder = project.client(client).path
        folder.mkdir()
        fill_node(folder, settings, authority.pair.certificate_pem)
    write_synced(project.path / "README.md", flower_pages.project_page(settings, config.clients).encode())


def fill_node(folder: Path, settings: ProjectSettings, authority_pem: bytes) -> None:
    """Write what a client's SuperNode is given into its empty folder: the key pair that Flower knows it by."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())  # of the curves that Flower takes, the one that its docs use
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    write_synced(folder / "ca.pem", authority_pem)
    write_synced(folder / "node.key", private, private=True)
    write_synced(folder / "node.pub", public + b"\n")
    write_synced(folder / "README.md", flower_pages.client_page(settings).encode())

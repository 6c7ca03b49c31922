"""Clients that come later, and certificates that run out: what the authority of a project does after its start."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dtfl_private.deployed.deployable import MOST_CLIENTS
from dtfl_private.deployed.extra import require_deploy_extra
from dtfl_private.deployed.project import pages
from dtfl_private.deployed.project.authority import Authority, reissue
from dtfl_private.deployed.project.credentials import (
    read_certificate,
    read_key,
    require_issued_by,
    require_valid,
)
from dtfl_private.deployed.project.flower_init import fill_node
from dtfl_private.deployed.project.identity import SERVER, client_number, common_name
from dtfl_private.deployed.project.init import fill_client
from dtfl_private.deployed.project.layout import CredentialFolder, ProjectFolder
from dtfl_private.deployed.project.settings import ProjectSettings, read_settings, settings_document
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import file_layers, flattened
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.files.writing import new_folder, write_atomic


@dataclass(frozen=True, kw_only=True)
class Enrolled:
    """A client that was added.

    Attributes:
        client: its number.
        folder: what it is given.
        configured: how many clients the project's configuration has; None where that cannot be read.
    """

    client: int
    folder: CredentialFolder
    configured: int | None


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """A certificate that was renewed, and when it expires."""

    certificate: Path
    expires: datetime


def add_client(path: Path, *, now: datetime) -> Enrolled:
    """Issue a certificate to one more client, with the next number, and write its folder.

    Raises:
        InputError: no project, or one whose authority is damaged or expired, or has issued as many as it may.
    """
    project, settings, authority = _open(path, now)
    client = max(settings.issued, 1 + max(_clients(project), default=-1))
    if client >= MOST_CLIENTS:
        raise InputError(f"project '{path}' has {client:,} clients, which is as many as there may be")
    folder = project.client(client)
    # First, so that a number is never given twice: whoever had it before still has a key.
    write_atomic(project.settings, settings_document(settings.model_copy(update={"issued": client + 1})))
    with new_folder(folder.path, f"'{folder.path}' cannot be made") as draft:
        if settings.flower:
            fill_node(draft, settings, authority.pair.certificate_pem)
        else:
            fill_client(CredentialFolder(path=draft, name=folder.name), authority, settings, client, now)
    config = project.app / project.config.name if settings.flower else project.config
    return Enrolled(client=client, folder=folder, configured=_configured_clients(config))


def renew(path: Path, name: str, *, now: datetime, days: int | None = None) -> Renewed:
    """Issue a certificate anew for the same key: who has the key needs the new certificate alone, which is no secret.

    Args:
        path: of the project.
        name: whose: ``server``, or ``client-K``.
        now: the time, with its zone.
        days: for which it is valid; by default as at the start.

    Raises:
        InputError: no project, nobody of that name, or a certificate that is not this authority's.
    """
    project, settings, authority = _open(path, now)
    if settings.flower and name != SERVER:
        raise InputError(f"'{name}' has no certificate: SuperNodes of Flower have keys that do not expire")
    folder = _folder_of(project, name)
    old = read_certificate(folder.certificate)
    if common_name(old) != name:
        raise InputError(f"'{folder.certificate}' is the certificate of '{common_name(old)}', not of '{name}'")
    require_issued_by(authority.certificate, project.authority_certificate, old, folder.certificate)
    write_atomic(folder.certificate, reissue(authority, old, now, settings.days if days is None else days))
    expires = read_certificate(folder.certificate).not_valid_after_utc
    if name != SERVER:
        write_atomic(folder.readme, pages.client_page(settings, client_number(name), expires, folder).encode())
    return Renewed(certificate=folder.certificate, expires=expires)


def _open(path: Path, now: datetime) -> tuple[ProjectFolder, ProjectSettings, Authority]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    require_deploy_extra()
    project = ProjectFolder(path=path)
    settings = read_settings(project.settings, path)
    certificate = read_certificate(project.authority_certificate, "certificate of the authority")
    require_valid(
        certificate, project.authority_certificate, now, "make the project anew with `dtfl-private deploy init`"
    )
    try:
        key = load_pem_private_key(read_key(project.authority_key), password=None)
    except (ValueError, TypeError):
        raise InputError(f"private key '{project.authority_key}' holds no private key that can be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise InputError(f"private key '{project.authority_key}' does not belong to the certificate beside it")
    return project, settings, Authority(certificate=certificate, key=key)


def _configured_clients(config: Path) -> int | None:
    try:
        return make_config(flattened(file_layers(config)), str(config)).clients
    except InputError:
        return None


def _clients(project: ProjectFolder) -> list[int]:
    """Return the numbers of the clients that have a folder."""
    found = []
    for path in project.clients.iterdir() if project.clients.is_dir() else ():
        try:
            found.append(client_number(path.name))
        except ValueError:
            continue  # not of this program
    return found


def _folder_of(project: ProjectFolder, name: str) -> CredentialFolder:
    if name == SERVER:
        return project.server
    try:
        return project.client(client_number(name))
    except ValueError:
        raise InputError(f"'{name}' is nobody's name in a project: expected server, or client-K as client-0") from None

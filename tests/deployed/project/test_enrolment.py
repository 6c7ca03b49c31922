"""Clients that come later, and certificates that are renewed."""

import json
import shutil
from datetime import timedelta

import pytest
from test_mutual_tls import handshake

from dtfl_private.deployed.project.credentials import read_client_credentials, read_server_credentials
from dtfl_private.deployed.project.enrolment import add_client, renew
from dtfl_private.deployed.project.identity import peer_client
from dtfl_private.deployed.project.layout import ProjectFolder
from dtfl_private.errors import InputError


@pytest.fixture
def own(project, tmp_path) -> ProjectFolder:
    """Return a copy of the project, to be changed."""
    shutil.copytree(project.path, tmp_path / "hospitals")
    return ProjectFolder(path=tmp_path / "hospitals")


def content(folder: ProjectFolder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_a_client_that_is_added_is_one_like_the_others(own, now):
    added = add_client(own.path, now=now)
    assert (added.client, added.configured) == (3, 3)
    assert {path.name for path in added.folder.path.iterdir()} == {path.name for path in own.client(0).path.iterdir()}
    assert peer_client(handshake(own.server, added.folder)) == 3
    assert added.folder.key.stat().st_mode & 0o777 == 0o600


def test_a_number_is_never_given_twice(own, now):
    add_client(own.path, now=now)
    shutil.rmtree(own.client(3).path)  # handed over, and removed here
    assert add_client(own.path, now=now).client == 4


def test_a_folder_that_is_there_is_not_written_over(own, now):
    (own.clients / "client-7").mkdir()
    assert add_client(own.path, now=now).client == 8


def test_a_renewed_certificate_is_for_the_same_key_and_lasts_longer(own, now):
    files = own.client(1)
    before = content(own)
    later = now + timedelta(days=300)
    renewed = renew(own.path, "client-1", now=later)
    assert renewed.expires == (later + timedelta(days=365)).replace(microsecond=0)
    found = read_client_credentials(files.authority, files.certificate, files.key, now=later)
    assert (found.client, found.expires) == (1, renewed.expires)
    assert f"{renewed.expires:%Y-%m-%d}" in files.readme.read_text()
    changed = {path for path, data in content(own).items() if data != before[path]}
    assert changed == {str(files.certificate), str(files.readme)}


def test_a_renewed_server_is_still_the_server(own, now):
    server = own.server
    renewed = renew(own.path, "server", now=now, days=10)
    assert renewed.expires == (now + timedelta(days=10)).replace(microsecond=0)
    names = read_server_credentials(server.authority, server.certificate, server.key, now=now).names
    assert names[0] == "fl.example.org"
    assert peer_client(handshake(server, own.client(0))) == 0


def test_an_expired_certificate_can_be_renewed(own, now):
    later = now + timedelta(days=500)
    assert renew(own.path, "client-0", now=later).expires > later


def test_no_certificate_outlives_the_authority(own, now):
    """Whose own lasts ten years."""
    late = now + timedelta(days=3600)
    assert renew(own.path, "client-0", now=late).expires == (now + timedelta(days=3650)).replace(microsecond=0)
    with pytest.raises(InputError, match=r"ca\.pem' has expired on .*: make the project anew"):
        renew(own.path, "client-0", now=now + timedelta(days=3651))


def test_the_key_is_not_needed_to_renew(own, now):
    own.client(0).key.unlink()
    assert renew(own.path, "client-0", now=now).certificate == own.client(0).certificate


@pytest.mark.parametrize("name", ["client-3", "client-x", "", "ca", "../server", "client-0/../client-1"])
def test_nobody_elses_certificate_is_renewed(own, now, name):
    before = content(own)
    with pytest.raises(InputError, match=r"is nobody's name in a project|does not exist"):
        renew(own.path, name, now=now)
    assert content(own) == before


def test_a_certificate_that_is_not_the_authoritys_or_anothers_is_not_renewed(own, other_project, now):
    files = own.client(0)
    files.certificate.write_bytes(other_project.client(0).certificate.read_bytes())
    with pytest.raises(InputError, match="was not issued by the authority"):
        renew(own.path, "client-0", now=now)
    files.certificate.write_bytes(own.client(1).certificate.read_bytes())
    with pytest.raises(InputError, match="is the certificate of 'client-1', not of 'client-0'"):
        renew(own.path, "client-0", now=now)


def test_what_is_no_project_is_refused(tmp_path, own, other_project, now):
    with pytest.raises(InputError, match=r"is no project of `deploy init`: it has no authority/project\.json"):
        add_client(tmp_path, now=now)
    own.authority_key.write_bytes(other_project.authority_key.read_bytes())
    before = content(own)
    with pytest.raises(InputError, match="does not belong to the certificate beside it"):
        add_client(own.path, now=now)
    own.authority_key.unlink()
    with pytest.raises(InputError, match=r"private key '.*' does not exist"):
        add_client(own.path, now=now)
    assert content(own).items() < before.items()


def test_damaged_settings_are_refused(own, now):
    settings = json.loads(own.settings.read_text())
    own.settings.write_text(json.dumps({**settings, "issued": -1}))
    with pytest.raises(InputError, match="is damaged: issued"):
        add_client(own.path, now=now)

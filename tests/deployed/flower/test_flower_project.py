"""A project for Flower: what is in it, what Flower takes of it, and that no secret leaves by it."""

import io
import shlex
import stat
import tomllib
import zipfile

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from flwr.cli.build import build_fab_from_disk
from flwr.cli.flower_config import parse_superlink_connection
from flwr.supercore.fab_format_version import normalize_and_validate_fab_format

from dtfl_private.deployed.flower.node_settings import own_side
from dtfl_private.deployed.flower.run_settings import read_settings
from dtfl_private.deployed.project import flower_pages
from dtfl_private.deployed.project.credentials import read_server_credentials
from dtfl_private.deployed.project.enrolment import add_client, renew
from dtfl_private.deployed.project.flower_init import make_flower_project
from dtfl_private.deployed.project.settings import read_settings as read_project
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import file_layers, flattened
from dtfl_private.experiments.config.train_config import TrainConfig, make_config


@pytest.fixture(scope="module")
def made(tmp_path_factory, now):
    """Return a project that is to be read only."""
    path = tmp_path_factory.mktemp("flower") / "hospitals"
    config = TrainConfig(clients=2, dataset="mnist")
    return make_flower_project(path, config, names=["fl.example.org"], port=9000, now=now).folder


def test_a_project_has_the_app_the_superlinks_certificate_and_a_key_pair_for_each_client(made, now):
    names = {path.relative_to(made.path).as_posix() for path in made.path.rglob("*") if path.is_file()}
    app = {"pyproject.toml", "config.toml", "LICENSE"} | {
        f"dtfl_app/{n}.py" for n in ("__init__", "server_app", "client_app")
    }
    nodes = {f"clients/client-{k}/{name}" for k in (0, 1) for name in ("ca.pem", "node.key", "node.pub", "README.md")}
    rest = {"README.md", "flower/config.toml", *(f"authority/{name}" for name in ("ca.pem", "ca.key", "project.json"))}
    assert names == {f"app/{name}" for name in app} | nodes | rest | {
        f"server/{n}" for n in ("ca.pem", "server.pem", "server.key")
    }
    side = made.server
    assert "fl.example.org" in read_server_credentials(side.authority, side.certificate, side.key, now=now).names


def test_key_pairs_are_such_as_flower_reads_and_their_owners_alone(made):
    publics = set()
    for client in (0, 1):
        folder = made.client(client).path
        private = load_ssh_private_key((folder / "node.key").read_bytes(), password=None)
        public = load_ssh_public_key((folder / "node.pub").read_bytes())
        assert private.public_key() == public
        assert public.curve.name == "secp384r1"
        assert stat.S_IMODE((folder / "node.key").stat().st_mode) == 0o600
        publics.add((folder / "node.pub").read_bytes())
    assert len(publics) == 2


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # which Flower names
def test_flower_takes_the_app_and_nothing_secret_is_in_it(made):
    bundle = zipfile.ZipFile(io.BytesIO(build_fab_from_disk(made.app)))
    assert {"pyproject.toml", "config.toml", "LICENSE", "dtfl_app/server_app.py"} <= set(bundle.namelist())
    for name in bundle.namelist():
        assert b"PRIVATE KEY" not in bundle.read(name)
    project = tomllib.loads(bundle.read("pyproject.toml").decode())
    assert normalize_and_validate_fab_format(project).fab_format_version == 1
    settings = read_settings(project["tool"]["flwr"]["app"]["config"])
    assert (settings.listen, settings.reached_at) == ("0.0.0.0:9000", "fl.example.org:9000")
    config = made.app / "config.toml"
    assert make_config(flattened(file_layers(config)), "test") == TrainConfig(clients=2, dataset="mnist")


def test_flower_finds_the_superlink_by_the_projects_own_file(made):
    superlinks = tomllib.loads((made.flower_home / "config.toml").read_text())["superlink"]
    connection = parse_superlink_connection(superlinks["federation"], "federation")
    assert superlinks["default"] == "federation"
    assert connection.address == "fl.example.org:8000"
    assert connection.root_certificates == str(made.server.authority.absolute())


def test_a_clients_command_is_one_that_its_settings_are_read_from(made):
    command = shlex.split((made.client(1).path / "README.md").read_text().splitlines()[2])
    node_config = tomllib.loads("\n".join(shlex.split(command[-1].replace('"', '\\"'))))
    assert own_side(node_config).store.name == "store"
    assert node_config == {"dtfl-store": "store", "dtfl-data-dir": "DATA"}


def test_a_client_can_be_added_and_the_superlinks_certificate_renewed(tmp_path, now):
    folder = make_flower_project(tmp_path / "few", TrainConfig(clients=1), now=now).folder
    added = add_client(folder.path, now=now)
    assert (added.client, added.configured) == (1, 1)
    assert {path.name for path in added.folder.path.iterdir()} == {"ca.pem", "node.key", "node.pub", "README.md"}
    before = folder.server.certificate.read_bytes()
    renew(folder.path, "server", now=now)
    assert folder.server.certificate.read_bytes() != before
    with pytest.raises(InputError, match="'client-0' has no certificate: SuperNodes"):
        renew(folder.path, "client-0", now=now)


def test_the_readme_registers_every_client_under_the_name_that_says_which_it_is(made):
    text = (made.path / "README.md").read_text()
    for client in (0, 1):
        assert f"flwr supernode register clients/client-{client}/node.pub federation --name client-{client}\n" in text
    assert shlex.join(flower_pages.superlink_command()) in text
    assert read_project(made.settings, made.path).flower

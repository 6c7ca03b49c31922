"""What starts a project: systemd's own checker and Docker's own format decide."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from dtfl_private.deployed.project.containers import HOME, compose_file, dockerfile
from dtfl_private.deployed.project.settings import ProjectSettings

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def verified(unit: Path) -> subprocess.CompletedProcess[str]:
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    return subprocess.run(verify, capture_output=True, text=True, check=False)


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_systemd_accepts_the_units(project):
    for unit in (project.server.unit, project.client(0).unit):
        found = verified(unit)
        assert (found.returncode, found.stdout + found.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(
    ("line", "spoiled"),
    [
        ("Restart=always", "Restart=forever"),
        ("DynamicUser=", "DynamicUsr="),
        ("ExecStart=/usr/bin/env", "ExecStart=/no"),
    ],
)
def test_systemd_notices_what_is_wrong_in_a_unit(project, tmp_path, line, spoiled):
    unit = tmp_path / project.server.unit.name
    text = project.server.unit.read_text()
    assert line in text
    unit.write_text(text.replace(line, spoiled))
    assert verified(unit).stderr != ""


def test_a_unit_is_given_the_files_that_its_command_names(project):
    for files, config in ((project.server, ["config.toml"]), (project.client(0), [])):
        text = files.unit.read_text()
        given = dict(re.findall(r"^LoadCredential=([\w.]+):(.*)$", text, re.MULTILINE))
        (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
        assert sorted(re.findall(r"%d/([\w.]+)", command)) == sorted(given)
        expected = [*config, files.authority.name, files.certificate.name, files.key.name]
        assert sorted(given) == sorted(expected)
        # What the head says is copied is what is loaded, from where it is copied to.
        (copied,) = re.findall(r"^#     install -d -m 0700 (\S+) && cp (.*) (\S+)$", text, re.MULTILINE)
        assert copied[0] == copied[2]
        assert {f"{copied[0]}/{Path(source).name}" for source in copied[1].split()} == set(given.values())
        there = project.path if config else files.path
        assert [source for source in copied[1].split() if not (there / source).is_file()] == []


@pytest.fixture
def compose(project) -> dict:
    return yaml.safe_load((project.path / "compose.yaml").read_text())


def test_the_compose_file_starts_the_server_and_each_client_once(compose):
    services = compose["services"]
    assert list(services) == ["server", "client-0", "client-1", "client-2"]
    assert [service["command"][:2] for service in services.values()] == [["deploy", "serve"], *[["deploy", "join"]] * 3]
    assert {service["command"][2] for name, service in services.items() if name != "server"} == {"server:8443"}
    assert services["server"]["ports"] == ["8443:8443"]


def test_a_container_has_the_files_that_its_command_names_and_can_write_what_it_must(compose, project):
    for name, service in compose["services"].items():
        mounts = {}
        for volume in service["volumes"]:
            there, here, *mode = volume.split(":")
            assert (project.path / there).exists(), volume
            mounts[here] = (project.path / there, mode)
        options = dict(zip(service["command"][3::1], service["command"][4::1], strict=False))
        read = [options["--ca"], options["--cert"], options["--key"]]
        read += [service["command"][2]] if name == "server" else []
        for path in read:
            (mount,) = [here for here in mounts if Path(path).is_relative_to(here)]
            there, mode = mounts[mount]
            assert mode == ["ro"]
            assert (there / Path(path).relative_to(mount)).is_file()
        written = options["--out"] if name == "server" else options["--store"]
        (mount,) = [here for here in mounts if Path(written).is_relative_to(here)]
        assert mounts[mount][1] == []


def test_no_container_has_another_ones_key_nor_the_authoritys(compose):
    for name, service in compose["services"].items():
        own = {"server": "./server"}.get(name, f"./clients/{name}")
        sources = {volume.split(":")[0] for volume in service["volumes"]}
        assert {source for source in sources if source.startswith(("./server", "./clients", "./authority"))} == {own}
        assert not {".", "./", "./clients"} & sources


def test_containers_have_no_privileges(compose):
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_clients_with_data_of_their_own_are_given_them_read_only():
    settings = ProjectSettings(project="Größe: 2 # x", names=["a.org"], port=1, days=1, needs_data=True, issued=2)
    found = yaml.safe_load(compose_file(settings, 2, "7:8"))
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", found["name"])
    client = found["services"]["client-1"]
    assert client["user"] == "7:8"
    assert f"./data/client-1:{HOME}/data:ro" in client["volumes"]
    assert client["command"][-2:] == ["--data-dir", f"{HOME}/data"]


def test_keys_never_get_into_the_image(project):
    """The build's context is what .dockerignore lets pass."""
    passed = [line[1:] for line in (project.path / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (project.path / ".dockerignore").read_text().startswith("*\n")
    assert sorted(passed) == ["*.whl", "Dockerfile"]
    (copied,) = [line.split()[1:-1] for line in dockerfile().splitlines() if line.startswith("COPY ")]
    assert sorted(copied) == sorted(passed)


def test_the_image_has_this_version_with_the_extra_on_a_python_that_it_runs_on():
    text = dockerfile()
    assert f'ARG PACKAGE="dtfl-private[deploy]=={version("dtfl-private")}"' in text
    assert "deploy" in PROJECT["project"]["optional-dependencies"]
    (python,) = re.findall(r"^FROM python:3\.(\d+)-slim$", text, re.MULTILINE)
    assert int(python) >= int(PROJECT["project"]["requires-python"].removeprefix(">=3."))
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["1000"]

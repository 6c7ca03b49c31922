"""The folder of a project: whole, as it is described, with keys that nobody else can read."""

import os
import shlex
import stat
import tomllib

import click
import pytest

from dtfl_private.cli.group import cli, load_command
from dtfl_private.deployed.deployable import MOST_CLIENTS
from dtfl_private.deployed.project import init
from dtfl_private.deployed.project.commented_config import commented_toml
from dtfl_private.deployed.project.init import make_project
from dtfl_private.deployed.project.settings import host_names, parse_host, read_settings
from dtfl_private.deployed.project.start_commands import join_command
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import file_layers, flattened
from dtfl_private.experiments.config.train_config import TrainConfig, make_config


def made_of(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_project_has_all_that_is_handed_over(project):
    each = {"ca.pem", "client.pem", "client.key", "README.md", "dtfl-private-client.service"}
    for client in range(3):
        assert made_of(project.client(client).path) == each
    assert made_of(project.server.path) == {"ca.pem", "server.pem", "server.key", "dtfl-private-server.service"}
    assert made_of(project.authority) == {"ca.pem", "ca.key", "project.json"}
    beside = {path.name for path in project.path.iterdir()}
    folders = {"authority", "server", "clients", "runs", "stores"}
    assert beside == folders | {"config.toml", "README.md", "compose.yaml", "Dockerfile", ".dockerignore"}
    assert {path.name for path in project.clients.iterdir()} == {"client-0", "client-1", "client-2"}


def test_every_key_is_its_owners_alone_and_no_two_are_the_same(project):
    keys = sorted(project.path.rglob("*.key"))
    assert len(keys) == 5
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert len({key.read_bytes() for key in keys}) == 5
    assert stat.S_IMODE(project.authority.stat().st_mode) == 0o700


def test_a_key_is_private_whatever_the_users_umask_is(tmp_path, now):
    before = os.umask(0)
    try:
        made = make_project(tmp_path / "open", TrainConfig(clients=1), now=now)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(key.stat().st_mode) for key in made.folder.path.rglob("*.key")} == {0o600}


def test_no_key_leaves_the_operator(project):
    """The authority's key is in its own folder, and in no other file."""
    secret = project.authority_key.read_bytes().splitlines()[1]
    files = [path for path in project.path.rglob("*") if path.is_file()]
    assert [path for path in files if secret in path.read_bytes()] == [project.authority_key]


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(clients=3),
        TrainConfig(clients=2, defense=["dp-weights:epsilon=8,clip=1", "gaussian-noise:sd=8@tier<=2"], lr=0.01),
        TrainConfig(rounds=5, target_accuracy=0.9, allowed_tiers=[1, 2], augment=["flip"], profiles="uniform"),
    ],
)
def test_the_commented_configuration_is_read_as_the_one_it_was_made_of(config, tmp_path):
    (tmp_path / "config.toml").write_text(commented_toml(config))
    read = make_config(flattened(file_layers(tmp_path / "config.toml")))
    assert read == config
    assert read.model_dump() == config.model_dump()


def test_each_value_of_the_configuration_has_a_comment(project):
    lines = project.config.read_text().splitlines()
    values = [at for at, line in enumerate(lines) if line and not line.startswith("#")]
    assert len(values) == len(tomllib.loads(project.config.read_text())) >= 10
    assert [lines[at] for at in values if not lines[at - 1].startswith("# ")] == []


def test_an_instruction_has_three_lines_and_the_command_of_this_client(project):
    for client in range(3):
        files = project.client(client)
        first, second, third = files.readme.read_text().splitlines()
        assert f"client {client} " in first
        assert 'pip install "dtfl-private[deploy]"' in second
        command = third.split()
        assert command[:4] == ["dtfl-private", "deploy", "join", "fl.example.org:8443"]
        named = dict(zip(command[4::2], command[5::2], strict=True))
        assert [files.path / named[option] for option in ("--ca", "--cert", "--key")] == [
            files.authority,
            files.certificate,
            files.key,
        ]
        assert "--data-dir" not in named  # the digits are in what is installed


def test_clients_of_other_data_are_asked_for_a_folder(tmp_path, now):
    made = make_project(tmp_path / "photos", TrainConfig(dataset="image-folder", clients=1), now=now)
    assert made.folder.client(0).readme.read_text().splitlines()[2].endswith(" --data-dir DATA")
    assert (tmp_path / "photos" / "data" / "client-0").is_dir()
    assert "--data-dir /srv/dtfl-private/data" in made.folder.client(0).unit.read_text()


def commands_of(project) -> list[list[str]]:
    """Return every command line of a project's pages, units and compose file."""
    texts = [path.read_text() for path in project.path.rglob("*") if path.suffix in (".md", ".service")]
    lines = [line.split("dtfl-private deploy ", 1)[1] for text in texts for line in text.splitlines() if _starts(line)]
    return [shlex.split(line.split("`")[0]) for line in lines]


def _starts(line: str) -> bool:
    return "dtfl-private deploy " in line


def test_every_command_that_a_project_shows_is_one_that_works(project):
    """Those that the group has; the rest must be the start of a server or of a client."""
    group, found = load_command("deploy"), commands_of(project)
    assert {name for name, *_ in found} == {"serve", "join", "status", "add-client", "renew"}
    context = click.Context(cli, **cli.context_settings)
    for name, *arguments in found:
        if name in group.commands:
            group.commands[name].make_context(name, arguments, parent=context)
        else:
            assert name in ("serve", "join")


@pytest.mark.parametrize("there", ["folder", "empty", "file", "dangling"])
def test_what_is_there_already_is_refused_and_left_alone(tmp_path, now, there):
    place = tmp_path / "mine"
    match there:
        case "folder":
            (place / "deep").mkdir(parents=True)
        case "empty":
            place.mkdir()
        case "file":
            place.write_text("mine")
        case "dangling":
            place.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"project '.*mine' exists: choose another folder"):
        make_project(place, TrainConfig(clients=1), now=now)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_project_that_fails_in_the_middle_leaves_nothing(tmp_path, now, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(init, "_write_containers", full)
    with pytest.raises(InputError, match=r"project '.*' cannot be made: No space left on device"):
        make_project(tmp_path / "mine", TrainConfig(clients=1), now=now)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_project_leaves_nothing(tmp_path, now, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(init, "_write_containers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_project(tmp_path / "mine", TrainConfig(clients=1), now=now)
    assert list(tmp_path.iterdir()) == []


def test_code_that_a_configuration_names_is_refused(tmp_path, now):
    config = TrainConfig(clients=1, defense=["mine:Noise"])
    with pytest.raises(InputError, match="'mine:Noise' is code that the configuration names"):
        make_project(tmp_path / "mine", config, now=now)
    assert list(tmp_path.iterdir()) == []


def test_more_clients_than_get_keys_are_refused(tmp_path, now):
    with pytest.raises(InputError, match="1,001 clients cannot be deployed: a run has at most 1,000"):
        make_project(tmp_path / "mine", TrainConfig(clients=MOST_CLIENTS + 1), now=now)


@pytest.mark.parametrize(
    "name",
    [
        *("", "https://fl.example.org", "fl.example.org:8443", "[::1]:8443", "*.example.org", "-a.org", "a..b", "a b"),
        *(
            "fl.example.org.",
            "10.0.0.256",
            "10.0.0",
            "f\u00fcr.example.org",
            "a" * 64,
            "a." * 127 + "a",
            "a\x00b",
            "%d",
        ),
    ],
)
def test_what_is_no_name_of_a_host_is_refused(tmp_path, now, name):
    with pytest.raises(InputError, match=r"expected a host's name as 'fl.example.org' or an address"):
        make_project(tmp_path / "mine", TrainConfig(clients=1), names=[name], now=now)
    assert list(tmp_path.iterdir()) == []


def test_names_are_spelled_in_one_way_and_kept_once():
    assert host_names(["FL.example.org", "fl.EXAMPLE.org", "::0:1", "192.0.2.7"]) == [
        *("fl.example.org", "::1", "192.0.2.7"),
    ]
    assert host_names([]) == ["localhost"]
    assert str(parse_host("my_host-1")) == "my_host-1"


def test_an_address_of_version_6_stands_in_brackets(tmp_path, now):
    made = make_project(tmp_path / "six", TrainConfig(clients=1), names=["2001:db8::1"], port=9, now=now)
    assert made.settings.address == "[2001:db8::1]:9"
    assert "deploy join '[2001:db8::1]:9' " in made.folder.client(0).readme.read_text()


def test_settings_are_read_as_they_were_written_and_damage_is_named(tmp_path, now):
    made = make_project(tmp_path / "mine", TrainConfig(clients=2), names=["a.org"], days=7, now=now)
    path = made.folder.settings
    assert read_settings(path, tmp_path / "mine") == made.settings
    assert made.settings.model_dump() == {
        "schema_version": 1,
        "project": "mine",
        "names": ["a.org"],
        "port": 8443,
        "days": 7,
        "needs_data": False,
        "issued": 2,
        "flower": False,
    }
    for change, why in (('"port": 0', "port"), ('"port": "8443"', "port"), ('"prot": 8443', "port")):
        path.write_text(path.read_text().replace('"port": 8443', change))
        with pytest.raises(InputError, match=rf"is damaged: {why}"):
            read_settings(path, tmp_path / "mine")
        path.write_text(path.read_text().replace(change, '"port": 8443'))
    path.write_text(path.read_text().replace("a.org", "a b"))
    with pytest.raises(InputError, match="server name 'a b' is refused"):
        read_settings(path, tmp_path / "mine")


def test_a_project_whose_name_is_strange_is_shown_printable(tmp_path, now):
    made = make_project(tmp_path / "\x1b[31m%h wörk\n", TrainConfig(clients=1), now=now)
    for path in made.folder.path.rglob("*"):
        assert not path.is_file() or b"\x1b" not in path.read_bytes(), path
    assert r"server of \x1b[31m%%h wörk\n" in made.folder.server.unit.read_text()


def test_a_start_names_data_only_where_there_are_some(project):
    command = join_command(address="a:1", credentials=project.client(0), store="s", data=None)
    assert "--data-dir" not in command
    assert join_command(address="a:1", credentials=project.client(0), store="s", data="d")[-2:] == ["--data-dir", "d"]

"""What shells complete words to, by the classes that click's own scripts ask."""

import pytest
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from dtfl_private.cli.group import COMMANDS, cli
from dtfl_private.cli.listed.topics import topics
from dtfl_private.cli.lists import LISTINGS
from dtfl_private.plugins.installed import installed
from dtfl_private.protocol.adversaries import ADVERSARIES


def completed(line: str, shell=BashComplete) -> list[tuple[str, str]]:
    """Return (kind, value) of what the last word of a line may be completed to."""
    *arguments, incomplete = line.split(" ")
    complete = shell(cli, {}, "dtfl-private", "_DTFL_PRIVATE_COMPLETE")
    return [(item.type, item.value) for item in complete.get_completions(arguments, incomplete)]


def words(line: str) -> list[str]:
    found = completed(line)
    assert {kind for kind, _ in found} <= {"plain"}
    return [value for _, value in found]


@pytest.mark.parametrize("kind", ["dataset", "partition", "model", "method", "scheduler", "defense"])
def test_plugins_are_completed_by_name(kind):
    assert words(f"train --{kind} ") == [*installed(kind)]


def test_only_what_begins_alike_is_offered():
    assert words("train --defense pa") == ["patch-shuffle"]
    assert words("attack run --attack hij") == ["hijacking"]
    assert words("attack run --adversary server-m") == ["server-malicious"]
    assert words("plan --wire int") == ["int8", "int4"]
    assert words("train --augment flip,cu") == ["flip,cutout"]
    assert words("train --profiles un") == ["uniform"]
    assert words("audit run --preset t") == ["thorough"]
    assert words("config sh") == ["show"]


def test_conditions_of_a_rule_are_offered_behind_a_defense():
    start = "gaussian-noise:sd=8@"
    assert words(f"train --defense {start}") == [start + part for part in ("tier=", "tier<=", "tier>=", "profile=")]
    assert words(f"train --defense {start}tier<=2&p") == [f"{start}tier<=2&profile="]


def test_kinds_of_lists_topics_adversaries_and_keys_are_completed():
    assert words("list ") == [*LISTINGS]
    assert words("help ") == [*topics(), *COMMANDS]
    assert words("attack run --adversary ") == [*ADVERSARIES]
    assert words("train --set rou") == ["rounds="]


def test_options_are_completed():
    assert {"--json", "--quiet", "--verbose", "--defense"} <= {*words("train --")}


def test_run_folders_are_found_here_and_one_folder_deeper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "runs/a", "runs/b", "runs/deep/c", "other", "runs/no\nname"):
        (tmp_path / name).mkdir(parents=True)
        if name != "other":
            (tmp_path / name / "config.toml").touch()
    assert words("attack ") == ["mine", "runs/a", "runs/b"]
    assert words("compare runs/a runs/") == ["runs/a", "runs/b", "runs/deep/c"]
    assert words(f"audit {tmp_path}/mi") == [f"{tmp_path}/mine"]
    assert words("predict mi") == words("export mi") == ["mine"]
    assert completed("attack oth") == [("dir", "oth")]
    assert completed("config show mi") == [("plain", "mine"), ("file", "mi")]


def test_the_shell_completes_files_and_folders():
    assert completed("train mine.t") == [("file", "mine.t")]
    assert completed("predict mine ph") == [("file", "ph")]
    assert completed("predict mine photos --csv=a") == completed("export mine --out=a") == [("file", "a")]
    assert completed("train --data-dir da") == [("dir", "da")]


@pytest.mark.parametrize("shell", [BashComplete, ZshComplete, FishComplete])
def test_every_shell_gets_a_script_and_names_with_what_they_are(shell):
    complete = shell(cli, {}, "dtfl-private", "_DTFL_PRIVATE_COMPLETE")
    assert "_DTFL_PRIVATE_COMPLETE" in complete.source_template % complete.source_vars()
    (item,) = complete.get_completions(["train", "--defense"], "gaussian")
    assert item.help is not None
    assert "gaussian-noise" in complete.format_completion(item)

"""Every ``dtfl-private ...`` in README, CONTRIBUTING, docs and the commands' own help is one that works."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.auditing.audit_config import make_audit_config
from dtfl_private.auditing.gate import parse_gate
from dtfl_private.choosing.limits import parse_limits
from dtfl_private.cli.attack import attacked_tiers
from dtfl_private.cli.group import COMMANDS, cli, load_command
from dtfl_private.cli.listed.topics import topics
from dtfl_private.cli.lists import LISTINGS
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import set_values
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.specification import named_object
from dtfl_private.protocol.adversaries import find_adversary

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"])

# In a block of its own line, after a prompt or a path; or between backquotes, where a line may break.
IN_BLOCK = re.compile(r"^\s*(?:[$>] )?(?:\S*/)?dtfl-private((?: .*)?)$", re.MULTILINE)
IN_PROSE = re.compile(r"`dtfl-private((?:\s[^`]*)?)`")


def commands_in(text: str) -> list[str]:
    """Return the arguments of every command line in a text, comments and line continuations resolved."""
    joined = text.replace("\\\n", " ").replace("\t", "    ")
    found = [match[1] for match in IN_BLOCK.finditer(joined)]
    inline = [" ".join(match[1].split()) for match in IN_PROSE.finditer(joined)]
    return [" ".join(shlex.split(line, comments=True)) for line in [*found, *inline]]


def refusal(line: str) -> str | None:
    """Return why a command line would be refused before it is run, or None if it would not be."""
    name, *arguments = line.split() or [""]
    try:
        if name not in COMMANDS:
            cli.make_context("dtfl-private", [name] if name else [])
            return None if not name or name.startswith("-") else f"no command '{name}'"
        group = click.Context(cli, **cli.context_settings)
        command = load_command(name)
        context = command.make_context(name, arguments, parent=group)
        if isinstance(command, click.Group):
            inner, found, rest = command.resolve_command(context, arguments)
            assert found is not None
            context = found.make_context(inner, rest, parent=context)
        given = {key: value for key, value in context.params.items() if value not in (None, ())}
        if name == "list":
            return None if given["kind"] in LISTINGS else f"no list '{given['kind']}'"
        if name in ("compare", "export", "deploy"):
            return None
        if name == "predict":
            return None if given.get("files") else "no files"
        if name == "help":
            known = {None, *topics(), *COMMANDS}
            return None if given.get("topic") in known else f"no topic '{given['topic']}'"
        if name == "attack":
            attack_refusals(given)
            return None
        if name == "audit":
            audit_refusals(given)
            return None
        if name == "tune":
            if "resume" not in given:
                parse_limits(given.get("limits", ()))
            return None
        if name == "sweep":
            return None if (ROOT / given["preset"]).is_file() else f"no preset '{given['preset']}'"
        others = {"config_file", "out", "resume", "input_shape", "classes", "repeats", "json_file"}
        others |= {"images_per_client", "compare", "cuts", "cuts_by", "plot", "calibrate", "allow_plugins"}
        others |= {"source", "settings", "changed", "toml"}
        settings = set_values(given.get("settings", ()))
        make_config({**settings, **{key: value for key, value in given.items() if key not in others}})
    except (click.ClickException, InputError) as error:
        return str(error)
    except click.exceptions.Exit:
        return None  # --help or --version
    return None


def attack_refusals(given: dict[str, Any]) -> None:
    """Raise `InputError` for an attack, an adversary or a setting that there is not."""
    for text in given.get("attacks", ()):
        create("attack", text, allowed=named_object("attack", text))
    if "adversary" in given:
        find_adversary(given["adversary"])
    Knowledge.parse(given["aux"])
    attacked_tiers(given.get("tiers", ()))


def audit_refusals(given: dict[str, Any]) -> None:
    """Raise `InputError` for a preset, an attack or a gate that there is not."""
    make_audit_config(preset=given["preset"])
    for text in given.get("fail_if", ()):
        parse_gate(text)
    for text in given.get("attacks", ()):
        create("attack", text, allowed=named_object("attack", text))
    Knowledge.parse(given["aux"])
    attacked_tiers(given.get("tiers", ()))


FOUND = [(path.name, line) for path in FILES for line in commands_in(path.read_text("utf-8"))]
IN_HELP = [(name, line) for name in COMMANDS for line in commands_in(load_command(name).help or "")]


@pytest.mark.parametrize(("where", "line"), [*FOUND, *IN_HELP])
def test_a_documented_command_would_be_accepted(where, line, capsys):
    assert refusal(line) is None, f"{where} shows: dtfl-private {line}"
    capsys.readouterr()


def test_the_readme_is_there_and_shows_every_command():
    shown = {line.partition(" ")[0] for name, line in FOUND if name == "README.md"}
    assert shown >= {*COMMANDS}


@pytest.mark.parametrize(
    "line",
    [
        "trane",
        "train --roundz 3",
        "train --rounds 0",
        "train --model resnet-9",
        "list modles",
        "plan extra",
        "sweep benchmarks/presets/headlin.toml",
        "attack RUN --attack decodr",
        "attack RUN --adversary nobody",
        "attack RUN --tier deep",
        "audit",
        "audit RUN --preset slow",
        "audit RUN --attack decodr",
        "audit RUN --fail-if ssim=0.5",
        "audit RUN --fail-if sim>0.5",
        "tune RUN",
        "tune RUN --limit sim<=0.5",
        "predict RUN",
        "predict RUN photos --top 0",
        "export RUN",
        "export RUN --format onix",
        "help verdict",
        "config sow",
        "deploy intit hospitals",
        "deploy init",
        "deploy init hospitals --clients 0",
        "deploy renew hospitals",
        "config show --set roundz=3",
        "--verbose",
    ],
)
def test_a_command_that_does_not_work_is_noticed(line):
    assert refusal(line) is not None


def test_commands_are_found_wherever_they_stand():
    text = """
    $ dtfl-private train --rounds 3 \\
          --seed 1   # twice
    .venv/bin/dtfl-private list models
    Run `dtfl-private plan --clients
    200` or `dtfl-private`. The package dtfl-private is not a command here.
    """
    assert commands_in(text) == ["train --rounds 3 --seed 1", "list models", "plan --clients 200", ""]

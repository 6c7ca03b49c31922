import subprocess
import sys
from dataclasses import dataclass

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.group import COMMANDS, load_command
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.plugins.documentation import summary
from dtfl_private.plugins.installed import find, installed


@dataclass
class Plain:
    size: int = 3


class Described(Plain):
    """What it is.

    More.
    """


def test_a_summary_is_the_first_line_of_the_docstring_and_never_a_signature():
    assert summary(Described) == "What it is."
    assert Plain.__doc__ == "Plain(size: int = 3)"  # what dataclass makes up
    assert summary(Plain) == ""
    assert summary(lambda: None) == ""


def test_every_command_gives_its_help_to_itself():
    """click looks at docstrings alone, which -OO strips."""
    assert [name for name in COMMANDS if not isinstance(load_command(name), DocumentedCommand | click.Group)] == []


def test_help_and_lists_lose_no_text_under_python_oo(tmp_path):
    """What -OO strips is read from the source; what was made without source says that it was stripped."""
    program = """if True:
        from dtfl_private.cli.group import cli
        from dtfl_private.plugins.documentation import documentation
        for line in ("--help", "train --help", "audit --help", "list defenses", "list measures", "list partitions"):
            cli.main(line.split(), prog_name="dtfl-private", standalone_mode=False)
        exec("def made(): 'Gone.'")
        assert False, "not run: -O strips it"
        print(documentation(made))
    """
    run = subprocess.run(
        [sys.executable, "-OO", "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    said = " ".join(run.stdout.split())
    for text in (
        "Start with `dtfl-private train`: it needs no data and no options.",
        "train Train a network federatedly; leave a run folder.",
        "dtfl-private train --resume --out runs/mine",
        "Audit a finished run: what leaks at each tier",
        *(summary(find(kind, name).load()) for kind in ("defense", "partition") for name in installed(kind)),
        *(summary(type(measure)) for measure in MEASURES.values()),
    ):
        assert text in said
    assert "Identity(" not in said
    assert said.endswith("python -OO has stripped this description: run python without it")

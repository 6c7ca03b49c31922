"""How a command starts: what it imports, and what Ctrl-C does meanwhile."""

import json
import os
import subprocess
import sys

import pytest

from dtfl_private.cli.group import COMMANDS, load_command
from dtfl_private.plugins.documentation import documentation

HEAVY = {
    "torch",
    "torchvision",
    "matplotlib",
    "sklearn",
    "scipy",
    "pydantic",
    "numpy",
    "rich",
    "opacus",
    "jinja2",
    "PIL",
}

LISTING_MODULES = """if True:
    import json, sys
    from dtfl_private.cli.main import main
    try:
        main(sys.argv[1:])
    except SystemExit:
        print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

THEIR_ATTACK = """if True:
    from dtfl_private.attacking.base import AttackFacts, LabelInference

    class Theirs(LabelInference):
        '''Attack as they do.'''

        facts = AttackFacts(needs=frozenset(), recipe="theirs")
"""

INTERRUPTED = """if True:
    import sys

    class CtrlC:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == sys.argv[1]:
                raise KeyboardInterrupt

    sys.meta_path.insert(0, CtrlC)
    from dtfl_private.cli.main import main
    main(sys.argv[2:])
"""


def imported(*arguments: str, **environment: str) -> set[str]:
    """Return what a command imports in a process of its own: names of modules."""
    run = subprocess.run(
        [sys.executable, "-c", LISTING_MODULES, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    assert run.stdout
    return set(json.loads(run.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments", ["", "--help", "--version", "list --help", "compare --help", "sweep --help", "help --help"]
)
def test_help_loads_none_of_the_large_packages(arguments):
    assert imported(*arguments.split()) & HEAVY == set()


def test_shell_completion_loads_none_of_the_large_packages():
    words = {"_DTFL_PRIVATE_COMPLETE": "bash_complete", "COMP_WORDS": "dtfl-private pa", "COMP_CWORD": "1"}
    assert imported(**words) & HEAVY == set()


@pytest.mark.parametrize("line", ["train --defense ga", "attack run --attack hy", "help v", "list d", "attack ru"])
def test_completion_of_values_loads_pydantic_at_most(line):
    cword = str(len(line.split()))
    words = {"_DTFL_PRIVATE_COMPLETE": "bash_complete", "COMP_WORDS": f"dtfl-private {line}", "COMP_CWORD": cword}
    assert imported(**words) & HEAVY <= {"pydantic", "numpy"}


@pytest.mark.parametrize("command", ["train", "plan", "profile", "partition", "attack", "audit"])
def test_help_of_options_that_stand_for_a_configuration_needs_pydantic_at_most(command):
    assert imported(command, "--help") & HEAVY <= {"pydantic", "numpy"}


@pytest.mark.parametrize("arguments", ["help", "help defenses", "help list", "config show --changed"])
def test_topics_and_configurations_are_shown_without_torch(arguments):
    assert imported(*arguments.split()) & HEAVY <= {"pydantic", "numpy", "rich"}


@pytest.mark.parametrize("kind", ["profiles", "partitions", "schedulers", "adversaries", "datasets"])
def test_what_is_no_torch_code_is_listed_without_torch(kind):
    assert imported("list", kind) & HEAVY <= {"pydantic", "numpy", "rich", "PIL"}


@pytest.mark.parametrize("kind", ["models", "methods", "measures", "defenses", "attacks"])
def test_what_is_torch_code_is_listed_as_recorded(kind):
    assert imported("list", kind) & HEAVY == {"rich"}


def test_to_list_an_attack_of_another_package_loads_torch_and_no_built_in_attack(tmp_path):
    (tmp_path / "theirs.py").write_text(THEIR_ATTACK)
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dtfl_private.attacks]\ntheirs = theirs:Theirs\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    modules = imported("list", "attacks", PYTHONPATH=path)
    assert modules & HEAVY <= {"torch", "pydantic", "numpy", "rich"}
    assert {"theirs", "torch"} <= modules
    assert [name for name in modules if name.startswith("dtfl_private.attacks.")] == []


def test_compare_loads_no_torch(write_run, tmp_path):
    methods = ("dtfl", "fedavg")
    runs = [str(write_run(tmp_path / name, [0.5, 0.8], target_accuracy=0.7, method=name)) for name in methods]
    heavy = imported("compare", *runs, "--out", str(tmp_path / "out")) & HEAVY
    assert heavy & {"torch", "torchvision", "sklearn", "opacus", "jinja2"} == set()


def test_a_public_name_loads_its_own_module_alone():
    program = "import sys, dtfl_private; dtfl_private.InputError; dtfl_private.TrainConfig; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {*run.stdout.split()} & HEAVY <= {"pydantic", "numpy"}


def test_the_group_shows_the_first_line_of_each_commands_own_help():
    assert {name: documentation(load_command(name).callback).partition("\n")[0] for name in COMMANDS} == COMMANDS
    assert all(load_command(name).name == name for name in COMMANDS)


def test_names_of_commands_are_completed_with_their_help():
    words = {"_DTFL_PRIVATE_COMPLETE": "zsh_complete", "COMP_WORDS": "dtfl-private p", "COMP_CWORD": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "dtfl_private"], capture_output=True, text=True, env={**os.environ, **words}, check=True
    )
    names = ("partition", "plan", "predict", "profile")
    assert run.stdout.splitlines() == [part for name in names for part in ("plain", name, COMMANDS[name])]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("click", "--help"), ("pydantic", "train --help"), ("torch", "train"), ("matplotlib", "compare a b")],
)
def test_ctrl_c_while_modules_load_is_answered_in_one_line(module, arguments, tmp_path):
    program = [sys.executable, "-c", INTERRUPTED, module, *arguments.split()]
    run = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (run.returncode, run.stdout, run.stderr.strip()) == (130, "", "error: interrupted")
    assert list(tmp_path.iterdir()) == []

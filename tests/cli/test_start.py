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
    import json, os, sys
    from dtfl_private.cli.main import main
    for arguments, environment in json.loads(sys.argv[1]):
        os.environ.update(environment)
        try:
            main(arguments)
        except SystemExit:
            print("\\nmodules:", *sys.modules, file=sys.stderr)
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


Command = tuple[tuple[str, ...], dict[str, str]]
"""Arguments, and variables of the environment that are set before."""


def imported_one_after_the_other(*commands: Command, **environment: str) -> list[set[str]]:
    """Return what is imported after each of these commands, in one process of their own: names of modules."""
    run = subprocess.run(
        [sys.executable, "-c", LISTING_MODULES, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    assert run.stdout
    found = [line.split()[1:] for line in run.stderr.splitlines() if line.startswith("modules:")]
    assert len(found) == len(commands)
    return [set(modules) for modules in found]


def imported(*arguments: str, **environment: str) -> set[str]:
    """Return what a command imports in a process of its own: names of modules."""
    return imported_one_after_the_other((arguments, {}), **environment)[0]


def heavy_after(*lines: str) -> dict[str, set[str]]:
    """Return which large packages are there after each of these commands, of one process."""
    found = imported_one_after_the_other(*((tuple(line.split()), {}) for line in lines))
    return {line: modules & HEAVY for line, modules in zip(lines, found, strict=True)}


def completing(line: str) -> Command:
    """Return what a shell runs to complete the last word of a line."""
    words = {"_DTFL_PRIVATE_COMPLETE": "bash_complete", "COMP_WORDS": f"dtfl-private {line}"}
    return (), {**words, "COMP_CWORD": str(len(line.split()))}


def test_help_loads_none_of_the_large_packages():
    lines = ("", "--help", "--version", "list --help", "compare --help", "sweep --help", "help --help")
    assert heavy_after(*lines) == {line: set() for line in lines}


def test_shell_completion_loads_none_of_the_large_packages():
    (modules,) = imported_one_after_the_other(completing("pa"))
    assert modules & HEAVY == set()


def test_completion_of_values_loads_pydantic_at_most():
    lines = ("train --defense ga", "attack run --attack hy", "help v", "list d", "attack ru")
    for line, modules in zip(lines, imported_one_after_the_other(*map(completing, lines)), strict=True):
        assert modules & HEAVY <= {"pydantic", "numpy"}, line


def test_help_of_options_that_stand_for_a_configuration_needs_pydantic_at_most():
    commands = ("train", "plan", "profile", "partition", "attack", "audit")
    for line, heavy in heavy_after(*(f"{command} --help" for command in commands)).items():
        assert heavy <= {"pydantic", "numpy"}, line


def test_topics_and_configurations_are_shown_without_torch():
    for line, heavy in heavy_after("help", "help defenses", "help list", "config show --changed").items():
        assert heavy <= {"pydantic", "numpy", "rich"}, line


def test_what_is_no_torch_code_is_listed_without_torch():
    kinds = ("profiles", "partitions", "schedulers", "adversaries", "datasets")
    for line, heavy in heavy_after(*(f"list {kind}" for kind in kinds)).items():
        assert heavy <= {"pydantic", "numpy", "rich", "PIL"}, line


def test_what_is_torch_code_is_listed_as_recorded():
    lines = tuple(f"list {kind}" for kind in ("models", "methods", "measures", "defenses", "attacks"))
    assert heavy_after(*lines) == {line: {"rich"} for line in lines}


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

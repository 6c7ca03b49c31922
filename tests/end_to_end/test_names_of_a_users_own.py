"""A user's own modules named like the toolkit's folders, in the folder that the command runs in; others' plug-ins."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dtfl_private.cli.main import main

ROOT = Path(__file__).parent.parent.parent

OWN_DEFENSE = """
from pathlib import Path
from dtfl_private import Defense, DefenseFacts

class Own(Defense):
    facts = DefenseFacts(protects="nothing", acts_on=("smashed",))

    def __init__(self):
        Path("mark").write_text("made")
"""


THEIR_ATTACK = """if True:
    from dtfl_private.attacking.base import AttackFacts, LabelInference

    class Theirs(LabelInference):
        '''Attack as they do.'''

        facts = AttackFacts(needs=frozenset(), recipe="theirs")
"""

# Runs two commands and says after each which modules are there: both load torch, which takes longer than all else.
LISTING_MODULES = """if True:
    import json, sys
    from dtfl_private.cli.main import main
    for arguments in json.loads(sys.argv[1]):
        try:
            main(arguments)
        except SystemExit as left:
            print(json.dumps([left.code, *sys.modules]), file=sys.stderr)
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended: its status, and the modules that were there then."""

    status: int | None
    modules: frozenset[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of a user's with modules named like the toolkit's folders."""
    path = tmp_path_factory.mktemp("own")
    (path / "defenses.py").write_text(OWN_DEFENSE, "utf-8")
    (path / "attacks.py").write_text("raise SystemExit('the wrong module')\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def ended(folder, tmp_path_factory) -> list[Ended]:
    """Attacks listed and a run planned, in the user's folder, where another package offers an attack."""
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / "theirs.py").write_text(THEIR_ATTACK)
    metadata = theirs / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dtfl_private.attacks]\ntheirs = theirs:Theirs\n")
    own = ("--defense", "gaussian-noise", "--defense", "defenses:Own")
    commands = (("list", "attacks"), ("plan", "--clients", "2", "--rounds", "1", *own))
    # The folder comes first, then the checkout: what `python -m` and an editable installation make of the path.
    done = subprocess.run(
        [sys.executable, "-c", LISTING_MODULES, json.dumps(commands)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(theirs)])},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(found) == len(commands), done.stderr
    return [Ended(status=status, modules=frozenset(modules)) for status, *modules in found]


def test_to_list_an_attack_of_another_package_loads_torch_and_no_built_in_attack(ended):
    listed, _ = ended
    assert listed.status == 0
    large = {"torch", "torchvision", "matplotlib", "sklearn", "scipy", "opacus", "jinja2", "PIL"}
    assert listed.modules & large == {"torch"}
    assert "theirs" in listed.modules
    assert [name for name in listed.modules if name.startswith("dtfl_private.attacks.")] == []


def test_built_in_and_own_defenses_load_next_to_modules_of_those_names(ended, folder):
    _, planned = ended
    assert planned.status == 0
    assert (folder / "mark").read_text("utf-8") == "made"


@pytest.mark.parametrize("folder", ["attacks", "defenses"])
def test_the_folders_of_a_checkout_are_no_packages_of_their_own(folder, tmp_path, monkeypatch, capsys):
    """A second copy of the built-ins under another name would hold classes that are none of the toolkit's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    with pytest.raises(SystemExit) as left:
        main(["train", "--defense", f"{folder}.decoder:Decoder"])
    assert left.value.code == 2
    assert f"are imported as dtfl_private.{folder}" in capsys.readouterr().err

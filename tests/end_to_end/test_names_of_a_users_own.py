"""A user's own modules named like the toolkit's folders, in the folder that the command runs in."""

import os
import subprocess
import sys
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


def test_built_in_and_own_defenses_load_next_to_modules_of_those_names(tmp_path):
    (tmp_path / "defenses.py").write_text(OWN_DEFENSE, "utf-8")
    (tmp_path / "attacks.py").write_text("raise SystemExit('the wrong module')\n", "utf-8")
    command = [sys.executable, "-m", "dtfl_private", "plan", "--clients", "2", "--rounds", "1"]
    # The folder comes first, then the checkout: what `python -m` and an editable installation make of the path.
    done = subprocess.run(
        [*command, "--defense", "gaussian-noise", "--defense", "defenses:Own"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mark").read_text("utf-8") == "made"


@pytest.mark.parametrize("folder", ["attacks", "defenses"])
def test_the_folders_of_a_checkout_are_no_packages_of_their_own(folder, tmp_path, monkeypatch, capsys):
    """A second copy of the built-ins under another name would hold classes that are none of the toolkit's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    with pytest.raises(SystemExit) as left:
        main(["train", "--defense", f"{folder}.decoder:Decoder"])
    assert left.value.code == 2
    assert f"are imported as dtfl_private.{folder}" in capsys.readouterr().err

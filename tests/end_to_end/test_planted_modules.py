"""Files named like modules of the standard library, in the folder that a command runs in: it may be somebody else's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# What a worker process imports before it gets its parent's path.
FIRST_IMPORTED = ("struct", "pickle", "multiprocessing", "random")

# As the installed command: a script in a folder of its own, so that the current one is not on the path.
COMMAND = """
if __name__ == "__main__":
    import sys
    from dtfl_private.cli.main import main
    main(sys.argv[1:])
"""


# What a command imports after it has imported a module of the user's own.
LATER_IMPORTED = ("scipy", "getpass", "profile", "cProfile", "matplotlib", "PIL")

OWN_DEFENSE = """
import helper_of_mine
from dtfl_private import Defense, DefenseFacts

class Mine(Defense):
    facts = DefenseFacts(protects="nothing", acts_on=("activations",))
"""


@pytest.fixture
def foreign(tmp_path):
    """A folder with modules that leave a mark when they are imported, and fail."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name in (*FIRST_IMPORTED, *LATER_IMPORTED):
        text = f"open({str(tmp_path / 'mark')!r}, 'w').write({name!r})\nraise SystemExit('planted')\n"
        (folder / f"{name}.py").write_text(text, "utf-8")
    return folder


def test_nothing_but_own_modules_are_imported_from_the_current_folder(foreign, tmp_path):
    """Nor by worker processes; the folder of the checkout, on the path, has a package ``defenses`` too."""
    (foreign / "helper_of_mine.py").write_text("", "utf-8")
    for name in ("mydefense", "defenses"):
        (foreign / f"{name}.py").write_text(OWN_DEFENSE, "utf-8")
    command = tmp_path / "bin" / "command.py"
    command.parent.mkdir()
    command.write_text(COMMAND, "utf-8")
    small = ["--dataset", "digits:size=8", "--max-train-images", "60", "--clients", "2", "--rounds", "1"]
    # One server half for all clients: one of the two worker processes trains, as either would; it takes seconds.
    one_half = ["--method", "splitfed-v2", "--scheduler", "static:1", "--workers", "2"]
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [
            sys.executable,
            command,
            "train",
            *small,
            *one_half,
            "--defense",
            "mydefense:Mine",
            "--defense",
            "defenses:Mine",
            "--out",
            "run",
        ],
        cwd=foreign,
        env={**inherited, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "mark").exists(), done.stderr
    assert done.returncode == 0, done.stderr

"""CONTRIBUTING's floor plan has every folder of the package, in the order of imports."""

import re
from pathlib import Path

from test_architecture import LAYERS

ROOT = Path(__file__).parents[2]


def test_the_floor_plan_is_that_of_the_package():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    shown = re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)
    assert shown == [layer for layer in LAYERS if (ROOT / "dtfl_private" / layer).is_dir()]


def test_the_arrow_points_the_same_way():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (arrow,) = [line.strip() for line in text.splitlines() if line.startswith("    ") and " -> " in line]
    rooms = re.split(r" -> |, ", arrow)
    assert rooms == [layer for layer in LAYERS if layer in rooms]

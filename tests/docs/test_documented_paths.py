"""What README, CONTRIBUTING and docs name in this repository is there."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OUTSIDE_THE_SITE = [page for page in PAGES if not page.is_relative_to(ROOT / "docs")]

FOLDERS = "dtfl_private|defenses|attacks|examples|benchmarks|tests|docs"
PATH = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*\w")
DOTTED = re.compile(r"(?<![\w./-])dtfl_private(?:\.\w+)+")
MODULE = re.compile(r"python -m (benchmarks\.\w+)")
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)")

ENTRY_POINT_GROUPS = {
    f"dtfl_private.{group}"
    for group in ("datasets", "partitions", "models", "methods", "schedulers", "defenses", "attacks")
}


def missing_paths(text: str) -> list[str]:
    """Return the paths into the repository's folders that lead nowhere."""
    return [path for path in PATH.findall(text) if not (ROOT / path).exists()]


def missing_names(text: str) -> list[str]:
    """Return the dotted names below `dtfl_private`, and the benchmarks, that are neither modules nor in one."""
    names = [name for name in DOTTED.findall(text) if name not in ENTRY_POINT_GROUPS]
    return [name for name in [*names, *MODULE.findall(text)] if not _is_there(name)]


def _is_there(name: str) -> bool:
    """Tell whether a dotted name is a module, or something in a module."""
    parent, _, last = name.rpartition(".")
    try:
        return importlib.util.find_spec(name) is not None or hasattr(importlib.import_module(parent), last)
    except ModuleNotFoundError:
        return _is_there(parent) and hasattr(importlib.import_module(parent), last) if "." in parent else False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_and_names_in_a_page_exist(page):
    text = page.read_text("utf-8")
    assert missing_paths(text) + missing_names(text) == []


@pytest.mark.parametrize("page", OUTSIDE_THE_SITE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_outside_the_site_lead_somewhere(page):
    """Those inside are checked by ``make docs``."""
    links = LINK.findall(page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_paths_in_the_code_to_documentation_exist():
    sources = [source for folder in FOLDERS.split("|")[:5] for source in (ROOT / folder).rglob("*.py")]
    named = {path for source in sources for path in re.findall(r"docs/[\w./-]*\w", source.read_text("utf-8"))}
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_what_is_not_there_is_noticed():
    assert missing_paths("see `dtfl_private/nothing.py` and examples/own_attack.py") == ["dtfl_private/nothing.py"]
    text = (
        "`dtfl_private.nothing.at_all`, `dtfl_private.data.nothing`, `dtfl_private.train`, python -m benchmarks.nothing"
    )
    assert missing_names(text) == ["dtfl_private.nothing.at_all", "dtfl_private.data.nothing", "benchmarks.nothing"]

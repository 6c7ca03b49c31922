"""The Dockerfile copies what an installation needs, and what the docs show of it works. No Docker is needed here."""

import re
import shlex
import tomllib
from pathlib import Path

from test_documented_commands import refusal

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
TEXT = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def arguments(instruction: str) -> list[str]:
    """Return what stands behind each use of an instruction."""
    return [rest for name, rest in STEPS if name == instruction]


def sources() -> list[str]:
    """Return all that is copied into the image."""
    return [source for copy in arguments("COPY") for source in copy.split()[:-1]]


def docker_lines(verb: str) -> list[str]:
    """Return what the docs show behind ``docker VERB``, ready-made for the shell."""
    texts = [page.read_text("utf-8") for page in PAGES]
    return [line for text in texts for line in re.findall(rf"^    docker {verb} (.*)$", text, re.MULTILINE)]


def test_what_is_copied_exists_and_is_in_the_build_context():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert sorted(sources()) == sorted(allowed)
    assert [source for source in sources() if not (ROOT / source).exists()] == []


def test_all_that_an_installation_reads_is_copied():
    metadata = [PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "pyproject.toml"]
    packages = {package.partition(".")[0] for package in PROJECT["tool"]["setuptools"]["packages"]}
    linked = {link.resolve().name for link in (ROOT / "dtfl_private").iterdir() if link.is_symlink()}
    assert {*metadata, *packages, *linked} == set(sources())


def test_the_command_runs_without_privileges():
    assert arguments("USER")[-1] not in ("root", "0")
    (entry,) = arguments("ENTRYPOINT")
    assert [name for name in PROJECT["project"]["scripts"] if f'["{name}"]' == entry] == ["dtfl-private"]


def test_the_python_of_the_image_is_one_that_the_project_allows():
    (image,) = arguments("FROM")
    version = re.fullmatch(r"python:(\d+)\.(\d+)-slim", image)
    least = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["project"]["requires-python"])
    assert version is not None
    assert least is not None
    assert tuple(map(int, version.groups())) >= tuple(map(int, least.groups()))


def test_the_docs_build_and_run_one_image_and_its_commands_work(capsys):
    builds, runs = docker_lines("build"), docker_lines("run")
    tags = {re.search(r"--tag (\S+) \.$", build)[1] for build in builds}
    assert tags == {"dtfl-private"}
    assert runs
    for run in runs:
        words = shlex.split(run)
        behind = words[words.index("dtfl-private") + 1 :]
        assert refusal(" ".join(behind)) is None, run
    capsys.readouterr()

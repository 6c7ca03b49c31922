"""What the tests of hostile files share: commands run in this process, and how many cases were tried."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import foreign_files
import pytest

from dtfl_private.cli.main import main
from dtfl_private.printable import LONGEST_LINE
from dtfl_private.verdicts.findings_file import findings_document

CASES = "hostile cases"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command line gave back."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error line, without "error: "."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return line.removeprefix("error: ")


@pytest.fixture
def dtfl(capfd, monkeypatch) -> Callable[..., Answer]:
    """Run a command and check that it left as every command must, whatever its files held."""
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process

    def run(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as left:  # anything else would be a traceback
            main([str(argument) for argument in arguments])
        answer = Answer(status=left.value.code, out=(read := capfd.readouterr()).out, err=read.err)
        assert answer.status in (0, 1, 2, 3)
        assert not re.search(r"[^\S\n ]|[^\n -\U0010ffff]|[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", read.out + read.err)
        errors = [line for line in read.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (answer.status in (1, 2))
        assert all(len(line) <= LONGEST_LINE + 200 for line in errors)
        return answer

    return run


@pytest.fixture
def count(record_property) -> Iterator[Callable[[], None]]:
    """Count one case; the sum over all tests is printed at the end."""
    cases = 0

    def one_more() -> None:
        nonlocal cases
        cases += 1

    yield one_more
    record_property(CASES, cases)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many hostile files were tried, of which kind; also where worker processes ran the tests."""
    tried: dict[str, int] = {}
    for report in terminalreporter.getreports(""):
        for name, cases in getattr(report, "user_properties", ()):
            if name == CASES and report.when == "teardown":
                kind = report.nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")
                tried[kind] = tried.get(kind, 0) + cases
    if tried:
        terminalreporter.write_line(f"hostile files: {sum(tried.values())} cases")
        for kind, cases in tried.items():
            terminalreporter.write_line(f"  {cases:4d}  {kind}")


@pytest.fixture
def audit(findings_of, figure) -> dict[str, Any]:
    """An audit.json of the runs that these tests compare."""
    ssim = figure(1, 0.4, cut=(16, 8, 8))
    run = {"dataset": "digits", "model": "resnet-8", "method": "fedavg", "scheduler": "dynamic", "clients": 10}
    run |= {"rounds": 2, "test_accuracy": 0.6}
    return json.loads(findings_document(findings_of([ssim], strongest=(ssim,), **run)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to be in, with modules ``evil`` and ``own`` and a run ``good``, which anybody may have made."""
    there = tmp_path_factory.mktemp("foreign")
    (there / "evil.py").write_text(foreign_files.EVIL)
    (there / "own.py").write_text(foreign_files.OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(there)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
        assert foreign_files.dtfl("train", *foreign_files.SMALL, "--out", "good").status == 0
        yield there


@pytest.fixture
def here(folder, monkeypatch) -> Path:
    """The folder, where nothing has been imported yet."""
    (folder / "marker").unlink(missing_ok=True)
    for name in ("evil", "own"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder

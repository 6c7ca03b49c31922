"""The audit command from start to end, on a tiny run: files, lines, exit statuses, reuse."""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from dtfl_private.attacking import runner
from dtfl_private.auditing import audit_plan, measuring, written_audit
from dtfl_private.cli.main import main
from dtfl_private.leakage.measures.distance_correlation import DistanceCorrelation
from dtfl_private.report.html import page
from dtfl_private.verdicts.findings_file import read_findings

RUN = [
    *("--dataset", "digits:size=8", "--max-train-images", "120", "--clients", "3", "--rounds", "2"),
    *("--batch-size", "8", "--lr", "0.01", "--workers", "1"),
]
# 40 steps are enough for the sanity checks.
AUDIT = [
    *("--attack", "optimization:steps=40,smoothness=0.0001,lr=0.1", "--tier", "1", "--victims", "16", "--seeds", "1"),
    *("--aux-images", "60", "--device", "cpu", "--workers", "1"),
]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command line gave back."""

    status: int
    out: str
    err: str


def dtfl(*arguments: object) -> Answer:
    """Run a command in the current folder."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return Answer(status=left.value.code, out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run without defenses, ``plain``, to be in; with one measure that takes no time."""
    there = tmp_path_factory.mktemp("audits")
    quick = {"distance-correlation": DistanceCorrelation(permutations=19)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(there)
        patch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
        for module in (audit_plan, measuring):
            patch.setattr(module, "MEASURES", quick)
        assert dtfl("train", *RUN, "--out", "plain").status == 0
        yield there


@pytest.fixture(scope="module")
def audit(folder) -> Callable[..., Answer]:
    """Audit a run in the folder: ``audit("plain", "--fail-if", "ssim>0.5")``."""
    assert Path.cwd() == folder
    return lambda run, *options: dtfl("audit", run, *AUDIT, *options)


@pytest.fixture(scope="module")
def first(audit) -> Answer:
    """The first audit of the run, with pictures as files, not in its page; later ones find what it has done."""
    with pytest.MonkeyPatch.context() as patch:
        draw_none_in_pages(patch)
        return audit("plain")


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """Draw none: those of the first audit are looked at."""
    monkeypatch.setattr(written_audit, "audit_pictures", lambda _: {})
    draw_none_in_pages(monkeypatch)


def draw_none_in_pages(patch: pytest.MonkeyPatch) -> None:
    """Leave pictures out of pages, which have tests of their own."""
    for picture in ("by_tier_picture", "accuracy_leakage_picture", "auxiliary_curve_picture"):
        patch.setattr(page, picture, lambda *_, **__: b"<svg/>")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def found_in(run: Path) -> dict[str, Any]:
    """Return an audit.json, its results in an order of their own."""
    document: dict[str, Any] = json.loads((run / "audit" / "audit.json").read_bytes())
    document["results"].sort(key=lambda result: (result["source"], result["metric"]))
    return document


def test_an_audit_leaves_its_files_and_says_where(folder, first):
    assert (first.status, first.err) == (0, "")
    audit = folder / "plain" / "audit"
    assert first.out.endswith("results: plain/audit/audit.json\nreport: plain/audit/report.html\n")
    assert re.search(r"sanity checks passed: identity: optimization reached SSIM (0\.99\d|1\.000)", first.out)
    assert "Clients' records are exposed in tier 1." in first.out
    findings = read_findings(audit / "audit.json")
    assert (findings.run, findings.valid, findings.victims) == ("plain", True, 16)
    (verdict,) = findings.verdict
    assert (verdict.level, verdict.attack) == ("exposed", "optimization")
    assert f"{verdict.strongest.value:.3f}" in first.out
    assert {result.source for result in findings.results if result.adversary is None} >= {
        *("distance-correlation", "class-mean", "mean-image"),
    }
    page = (audit / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "the server rebuilds its images" in page
    assert page.count('class="coarse"') == 15
    assert [example.label for example in findings.examples] != [None] * 5
    assert set(findings.galleries) == {path.name for path in (audit / "attacks").glob("tier-*.png")}
    assert findings.about is not None
    assert (findings.about.dataset, findings.about.inputs, findings.about.title) == ("digits", "images", None)
    assert verdict.sentence.partition(" [")[0] in page
    drawn = [line.partition(": ")[2] for line in first.out.splitlines() if line.startswith("picture: ")]
    assert "plain/audit/leakage-ssim.png" in drawn
    for picture in drawn:
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def test_each_job_is_a_line_and_all_were_expected(first):
    lines = [line for line in first.out.splitlines() if line.partition("/")[0].isdigit()]
    total = len(lines)
    assert [line.partition("  ")[0] for line in lines] == [f"{number}/{total}" for number in range(1, total + 1)]
    # The guess at md1 of a run without defenses was made for the sanity check.
    assert [line.partition("  ")[2] for line in lines if "cached" in line] == ["optimization, tier 1, seed 0  cached"]


@pytest.mark.usefixtures("first", "no_pictures")
def test_a_second_audit_reuses_what_the_first_has_done(folder, audit):
    before = found_in(folder / "plain")
    answer = audit("plain")
    assert (answer.status, answer.err) == (0, "")
    lines = [line for line in answer.out.splitlines() if line.partition("/")[0].isdigit()]
    assert lines
    assert all(line.endswith("cached") for line in lines)
    assert found_in(folder / "plain") == before


@pytest.mark.usefixtures("first", "no_pictures")
def test_the_report_alone_is_written_anew_with_another_title(folder):
    report = folder / "plain" / "audit" / "report.html"
    assert dtfl("audit", "plain", "--report-only").status == 0
    before = report.read_text()
    answer = dtfl("audit", "plain", "--report-only", "--title", "<b>Pilot</b>", "--organisation", "A & B")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "report: plain/audit/report.html\n"
    after = report.read_text()
    assert "<h1>&lt;b&gt;Pilot&lt;/b&gt;</h1>" in after
    assert "Privacy audit by A &amp; B" in after
    assert after.partition("<nav")[2] == before.partition("<nav")[2]
    assert dtfl("audit", "plain", "--report-only", "--fail-if", "ssim>0.5@tier=1").status == 3


@pytest.mark.usefixtures("first")
def test_the_report_alone_is_refused_with_what_would_change_the_measurement():
    refused = dtfl("audit", "plain", "--report-only", "--victims", "8")
    assert refused.status == 2
    assert (
        refused.err == "error: --victims changes what is measured, and --report-only measures nothing: leave one out\n"
    )
    too_long = dtfl("audit", "plain", "--title", "x" * 200)
    assert (too_long.status, too_long.out) == (2, "")
    assert "--title of 200 characters is refused: expected 1 to 120" in too_long.err


@pytest.mark.usefixtures("first", "no_pictures")
def test_a_crossed_gate_leaves_with_status_3_when_everything_is_written(folder, audit):
    report = folder / "plain" / "audit" / "report.html"
    report.unlink()
    answer = audit("plain", "--fail-if", "ssim>0.5@tier=1", "--fail-if", "psnr>400@tier=1")
    assert answer.status == 3
    assert answer.err.startswith("gate ssim>0.5@tier=1 crossed: tier 1, optimization: ssim ")
    placed, scheduled = answer.err.splitlines()
    assert "tier 1, as scheduled, optimization" in scheduled
    assert "as scheduled" not in placed
    assert answer.out.endswith("report: plain/audit/report.html\n")
    assert report.is_file()


@pytest.mark.usefixtures("folder", "first", "no_pictures")
def test_no_encoding_of_the_output_costs_the_status_of_a_crossed_gate(monkeypatch):
    """The table marks what is exposed by a character that Windows' usual encoding for files and pipes lacks."""
    out, err = (TextIOWrapper(BytesIO(), encoding="cp1252") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as left:
        main(["audit", "plain", *AUDIT, "--fail-if", "ssim>0.5@tier=1"])
    assert left.value.code == 3
    out.flush()
    assert "^ exposed" in out.buffer.getvalue().decode("cp1252")


@pytest.mark.usefixtures("first")
def test_a_folder_without_write_permission_is_said_before_any_work(audit, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr("dtfl_private.auditing.runner.plan_audit", None)
    answer = audit("plain")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "error: folder 'plain/audit' cannot be written: Permission denied\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("plain --preset slow", "unknown preset 'slow': known: quick, thorough"),
        ("plain --fail-if sim>0.5", "unknown metric in gate 'sim>0.5' 'sim': did you mean 'ssim'?"),
        ("plain --fail-if ssim", "gate 'ssim' is refused: expected METRIC>NUMBER"),
        ("plain --attack decodr", "unknown attack 'decodr': did you mean 'decoder'?"),
        ("plain --attack decoder:step=3", "unknown setting of attack 'decoder' 'step': did you mean 'steps'?"),
        ("plain --tier 9", "tier 9 does not exist in this network: its tiers are 1, 2, 3, 4"),
        ("plain --tier deep", "tier 'deep' is refused"),
        (
            "plain --aux some",
            "auxiliary knowledge 'some' is none of same, mixture, client:K, shifted:DATASET, architecture, none",
        ),
        ("plain --victims 0", "Invalid value for '--victims'"),
        ("plane", "'plane' is not a run folder: it has no config.toml"),
        ("", "Missing argument 'RUN'"),
    ],
)
def test_wrong_input_is_answered_in_one_line_and_writes_nothing(folder, arguments, said):
    before = content(folder)
    answer = dtfl("audit", *arguments.split(), "--out", "elsewhere")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert content(folder) == before
    assert not (folder / "elsewhere").exists()


def test_a_run_to_compare_with_that_is_not_there_is_noticed_before_any_work(folder, audit):
    before = content(folder)
    answer = audit("plain", "--compare", "plane", "--out", "elsewhere")
    assert answer.status == 2
    assert answer.err.startswith("error: 'plane' is not a run folder")
    assert answer.err.count("\n") == 1
    assert content(folder) == before


@pytest.mark.usefixtures("first", "no_pictures")
def test_a_defended_run_is_compared_with_its_undefended_one_and_another(folder, audit, monkeypatch):
    monkeypatch.setattr(runner, "save_pictures", lambda *_: [])
    assert dtfl("train", *RUN, "--defense", "gaussian-noise:sd=5", "--out", "noise").status == 0
    # The undefended run is there and is not trained again.
    answer = audit("noise", "--undefended", "plain", "--compare", "plain")
    assert (answer.status, answer.err) == (0, "")
    assert not (folder / "noise" / "audit" / "undefended").exists()
    findings = read_findings(folder / "noise" / "audit" / "audit.json")
    mse = next(result for result in findings.strongest if result.metric == "mse")
    assert mse.value > mse.undefended
    assert findings.training.undefended_accuracy == read_findings(Path("plain/audit/audit.json")).training.test_accuracy
    assert findings.compared.run == "plain"
    assert next(row for row in findings.compared.rows if row.metric == "mse").apart
    assert "Compared with another run" in (folder / "noise" / "audit" / "report.html").read_text()


def test_the_schema_is_the_published_one():
    published = Path(__file__).parents[2] / "docs" / "audit.schema.json"
    answer = dtfl("audit", "--schema")
    assert (answer.status, answer.err, answer.out) == (0, "", published.read_text("utf-8"))

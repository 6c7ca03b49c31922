"""A finished audit's report, written anew from what lies in its folder."""

import pytest
from audit_samples import examples, full, minimal, picture

from dtfl_private.auditing import written_audit
from dtfl_private.auditing.written_audit import AuditPictures, write_audit, write_report_again
from dtfl_private.errors import InputError
from dtfl_private.verdicts.findings_file import read_findings

GALLERY = "tier-1-hybrid.png"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder with an audit in it, whose plots take no time."""
    monkeypatch.setattr(written_audit, "audit_pictures", lambda _: {})
    monkeypatch.setattr(written_audit, "audit_page", page)
    folder = tmp_path / "run" / "audit"
    (folder / "attacks").mkdir(parents=True)
    (folder / "attacks" / GALLERY).write_bytes(picture(7))
    shown, pictures = examples(1)
    write_audit(
        folder,
        full(examples=shown, galleries=[GALLERY]),
        AuditPictures(galleries={GALLERY: picture(7)}, examples=pictures),
    )
    return folder.parent


def page(findings, galleries, pictures):
    """Stand in for the page: all that it is made of."""
    assert findings.about is not None
    return repr((findings.about, sorted(galleries.items()), sorted(pictures.items())))


def test_a_report_is_made_anew_of_what_lies_in_the_folder(run):
    report = run / "audit" / "report.html"
    before = report.read_text()
    report.unlink()
    again = write_report_again(run)
    assert again.report.read_text() == before


def test_title_and_organisation_are_kept_and_can_be_changed(run):
    before = read_findings(run / "audit" / "audit.json")
    write_report_again(run, title="  A \n pilot ")
    after = read_findings(run / "audit" / "audit.json")
    assert after.about is not None
    assert (after.about.title, after.about.organisation, after.about.date) == (
        "A pilot",
        "Example Hospital",
        "2026-11-29",
    )
    assert after.model_copy(update={"about": before.about}) == before
    write_report_again(run, organisation="Other")
    assert "A pilot" in (run / "audit" / "report.html").read_text()


def test_an_older_audit_shows_the_galleries_that_lie_there(run):
    path = run / "audit" / "audit.json"
    old = full(about=None, galleries=[], examples=[])
    path.write_text(old.model_dump_json())
    (run / "audit" / "attacks" / "tier-9-decoder.png").write_bytes(picture())
    write_report_again(run)
    text = (run / "audit" / "report.html").read_text()
    assert GALLERY in text
    assert "tier-9" not in text


@pytest.mark.parametrize(("what", "says"), [(None, "cannot be read"), (b"<svg/>", "no PNG file")])
def test_a_picture_that_is_missing_or_none_is_refused_and_nothing_is_written(run, what, says):
    damaged = run / "audit" / "examples" / "tier-1-1-true.png"
    damaged.unlink()
    if what is not None:
        damaged.write_bytes(what)
    report = (run / "audit" / "report.html").read_text()
    with pytest.raises(InputError, match=says):
        write_report_again(run, title="new")
    assert (run / "audit" / "report.html").read_text() == report


@pytest.mark.parametrize("linked", ["audit", "audit/attacks", f"audit/attacks/{GALLERY}", "audit/report.html"])
def test_nothing_is_read_or_written_through_a_link(run, linked, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (run / linked).rename(elsewhere)
    (run / linked).symlink_to(elsewhere)
    before = (run / "audit" / "audit.json").read_bytes()
    with pytest.raises(InputError, match=f"{linked}' is a link"):
        write_report_again(run, title="new")
    assert (run / "audit" / "audit.json").read_bytes() == before


def test_without_an_audit_it_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"there is no audit at .*: audit the run first"):
        write_report_again(tmp_path)


@pytest.mark.parametrize("given", [{"title": " "}, {"title": "x" * 121}, {"organisation": "x" * 81}])
def test_empty_and_long_texts_are_refused(run, given):
    with pytest.raises(InputError, match=r"--(title|organisation) of \d+ characters is refused: expected 1 to"):
        write_report_again(run, **given)


def test_no_name_of_a_metric_leads_a_picture_out_of_the_folder(tmp_path):
    folder = tmp_path / "run" / "audit"
    (folder / "leakage-x").mkdir(parents=True)
    (tmp_path / "mine.png").write_bytes(b"precious")
    (folder / "audit.json").write_text(renamed(minimal(), "x/../../../mine").model_dump_json())
    again = write_report_again(tmp_path / "run")
    assert [path.parent for path in again.pictures] == [folder] * 2
    assert (tmp_path / "mine.png").read_bytes() == b"precious"


def renamed(findings, metric):
    """Return findings that were decided by a metric of another name."""

    def of(result):
        return result.model_copy(update={"metric": metric})

    results = tuple(of(one) for one in findings.results if one.metric == "ssim")
    verdicts = tuple(one.model_copy(update={"strongest": of(one.strongest)}) for one in findings.verdict)
    changes = {"results": results, "strongest": results, "verdict": verdicts, "convergence": None}
    return findings.model_copy(update={**changes, "auxiliary_curve": ()})


def test_strongest_results_that_are_not_among_the_results_are_refused_and_nothing_is_written(run):
    path = run / "audit" / "audit.json"
    findings = full(examples=[])
    others = tuple(one for one in findings.results if one.metric != "psnr")
    path.write_text(findings.model_copy(update={"results": others}).model_dump_json())
    (run / "audit" / "report.html").unlink()
    with pytest.raises(InputError, match=r"audit\.json: the results do not hold the strongest ones by psnr"):
        write_report_again(run)
    assert not (run / "audit" / "report.html").exists()

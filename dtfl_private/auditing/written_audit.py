"""An audit on disk: audit.json, report.html and pictures; written, and read back to write the report anew.

The report holds nothing but what audit.json and the pictures next to it hold, so that it can be made again, with
another title or by a later version of this program, without measuring anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dtfl_private.auditing.about import headed
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.folder import RunFolder, locked, require_no_links_below
from dtfl_private.files.reading import read_bytes, reason
from dtfl_private.files.writing import output_path, require_usable, write_atomic
from dtfl_private.report.html.page import audit_page
from dtfl_private.report.notebook.audit import audit_html, audit_text
from dtfl_private.report.pictures.audit import audit_pictures, drawn_results
from dtfl_private.verdicts.about import About
from dtfl_private.verdicts.example import VIEWS
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.findings_file import findings_document, read_findings
from dtfl_private.verdicts.selected_results import drawn_metrics

AUDIT = "audit.json"
REPORT = "report.html"
ATTACKS = "attacks"
EXAMPLES = "examples"

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_PICTURE = 2**25
LARGEST_PICTURES = 2**28
"""Bytes of one picture and of all in a report that is written anew."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit that is done.

    Attributes:
        findings: all that it found.
        path: audit.json.
        report: report.html.
        pictures: PNG files.
    """

    findings: Findings
    path: Path
    report: Path
    pictures: Sequence[Path]

    def __repr__(self) -> str:
        return audit_text(self.findings, self.report)

    def _repr_html_(self) -> str:
        return audit_html(self.findings, self.report)


@dataclass(frozen=True, kw_only=True)
class AuditPictures:
    """The pictures that a report shows besides its plots: PNG files by name.

    Attributes:
        galleries: of reconstructions, those that ``galleries`` of the findings names.
        examples: of the victims that ``examples`` of the findings describes.
    """

    galleries: Mapping[str, bytes] = field(default_factory=dict)
    examples: Mapping[str, bytes] = field(default_factory=dict)


def write_audit(folder: Path, findings: Findings, pictures: AuditPictures) -> Audit:
    """Write audit.json, the report and the pictures, each in one step, once all of them are made."""
    plots = {folder / name: data for name, data in audit_pictures(findings).items()}
    page = audit_page(findings, pictures.galleries, pictures.examples).encode()
    if pictures.examples:
        (folder / EXAMPLES).mkdir(exist_ok=True)
    files = {**plots, **{folder / EXAMPLES / name: data for name, data in pictures.examples.items()}}
    for path, data in {**files, folder / REPORT: page, folder / AUDIT: findings_document(findings)}.items():
        write_atomic(path, data)
    return Audit(findings=findings, path=folder / AUDIT, report=folder / REPORT, pictures=list(plots))


def write_report_again(
    run: Path | str, *, out: Path | str | None = None, title: str | None = None, organisation: str | None = None
) -> Audit:
    """Write report.html and the plots of a finished audit anew, from audit.json and the pictures next to it.

    Args:
        run: folder of the run.
        out: folder of the audit; by default ``audit`` in the run folder.
        title: heading, instead of the one that the audit has.
        organisation: likewise, who ran the audit.

    Raises:
        InputError: there is no audit, or a file of it is missing or refused; nothing is written.
    """
    heading = headed(title, organisation)
    folder = Path(run) / "audit" if out is None else output_path(out)
    path = folder / AUDIT
    require_no_links_below(folder)  # what a link leads to would be written over, or shown in the report
    if not path.is_file():
        raise InputError(f"there is no audit at {path}: audit the run first, without --report-only")
    require_usable(folder)
    with locked(RunFolder(path=folder)):
        findings = read_findings(path)
        _require_drawable(findings, path)
        about = (findings.about or About()).model_copy(update=heading)
        return write_audit(folder, findings.model_copy(update={"about": about}), _read_pictures(folder, findings))


def _require_drawable(findings: Findings, path: Path) -> None:
    """Refuse findings, which may come from anybody, whose strongest results are of no attack among the results.

    Raises:
        InputError: by one of their metrics there would be nothing to draw.
    """
    for metric in drawn_metrics(findings):
        if not drawn_results(findings, metric):
            raise InputError(
                f"audit {path}: the results do not hold the strongest ones by {metric}: audit the run again"
            )


def _read_pictures(folder: Path, findings: Findings) -> AuditPictures:
    """Return the pictures that findings name; of files of older versions the galleries that lie there."""
    tiers = [verdict.tier for verdict in findings.verdict]
    older = findings.about is None
    found = sorted(path.name for tier in tiers for path in (folder / ATTACKS).glob(f"tier-{tier}-*.png"))
    galleries = found if older else findings.galleries
    files = [example.file(view) for example in findings.examples for view in VIEWS]
    left = LARGEST_PICTURES
    read: dict[Path, bytes] = {}
    for path in [*(folder / ATTACKS / name for name in galleries), *(folder / EXAMPLES / name for name in files)]:
        read[path] = _read_png(path, min(left, LARGEST_PICTURE))
        left -= len(read[path])
    return AuditPictures(
        galleries={name: read[folder / ATTACKS / name] for name in galleries},
        examples={name: read[folder / EXAMPLES / name] for name in files},
    )


def _read_png(path: Path, most_bytes: int) -> bytes:
    """Return a PNG file, which may come from anybody; a browser decodes it, this program does not.

    Raises:
        InputError: it is missing, too large, or no PNG file.
    """
    try:
        data = read_bytes(path, most_bytes=most_bytes)
    except (OSError, ValueError) as error:
        raise InputError(f"picture {path} of the audit cannot be read: {reason(error)}; audit the run again") from None
    if not data.startswith(PNG):
        raise InputError(f"picture {path} of the audit is no PNG file: audit the run again")
    return data

"""Audit: what leaks at every tier of a run, to whom, how sure that is, and what its defenses buy, in one page.

run -> twin without defenses -> attacks on both, at every tier and as scheduled -> measures -> sanity checks
-> findings -> audit.json, report.html, pictures -> gates
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.replay import open_run
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.comparison import compare_findings, require_comparable, unequal_terms
from dtfl_private.auditing.gate import parse_gate, require_gates
from dtfl_private.auditing.steps import Work, describe_training
from dtfl_private.data.dataset import Dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config_files import read_run_config
from dtfl_private.experiments.run_folder import RunFolder, locked, require_no_links
from dtfl_private.experiments.train import Run
from dtfl_private.files.writing import output_path, require_usable, write_atomic
from dtfl_private.leakage.findings import (
    Findings,
    NotTested,
    Training,
    findings_document,
    read_findings,
)
from dtfl_private.plugins.own_objects import Allowed, allowance
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Scheduler
from dtfl_private.report.html.page import audit_page
from dtfl_private.report.pictures.audit import audit_pictures
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.runtime.progress import Progress

AUDIT = "audit.json"
REPORT = "report.html"


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


def audit(
    run: Run | RunFolder | Path | str,
    config: AuditConfig | None = None,
    *,
    fail_if: Sequence[str] = (),
    compare: Path | str | None = None,
    attacks: Sequence[Attack] | None = None,
    out: Path | str | None = None,
    dataset: Dataset | None = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
    data_dir: Path | str | None = None,
    allow_plugins: Iterable[str] = (),
    listener: Progress | None = None,
) -> Audit:
    """Audit a finished run and leave audit.json, report.html and pictures.

    What an interrupted or failed audit has finished is kept, and a second audit of the same run reuses it.

    Args:
        run: a run, or its folder.
        config: what to audit and how.
        fail_if: gates such as ``ssim>0.5@tier<=2``, checked once everything is written.
        compare: folder of another run to be set beside; it is audited likewise if it has not been.
        attacks: attacks as objects, instead of those that the configuration names.
        out: folder to write to; by default ``audit`` in the run folder.
        dataset: what `train` was given as an object; likewise ``model``, ``scheduler``, ``defenses``.
        model: see there.
        scheduler: see there.
        defenses: see there.
        data_dir: where the run's data are now, if they have moved.
        allow_plugins: modules whose objects the runs' configurations may name (``package.module:function``).
        listener: hears how the audit proceeds.

    Raises:
        InputError: wrong input; nothing was attacked.
        RunError: the run is damaged, or an attack failed; what was finished is kept.
        GateCrossedError: a gate was crossed; everything is written.
    """
    gates = [parse_gate(text) for text in fail_if]
    config, listener = (config or AuditConfig()).settled(), listener or Progress()
    allowed = allowance(allow_plugins)
    objects: dict[str, Any] = {"dataset": dataset, "model": model, "scheduler": scheduler, "defenses": defenses}
    with ExitStack() as stack:
        stack.enter_context(deterministic_kernels())
        stack.enter_context(one_thread())
        opened = open_run(run, data_dir=data_dir, allow_plugins=allowed, **objects)
        folder = opened.folder.path / "audit" if out is None else output_path(out)
        require_no_links(opened.folder)
        require_usable(folder)
        work = Work(opened, config, attacks, folder, objects, listener)
        beside = None
        if compare is not None:
            beside = _findings_of(
                compare, describe_training(opened, None), config, attacks, objects, data_dir, allowed, listener
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"folder '{folder}' cannot be made: {error.strerror}") from None
        stack.enter_context(locked(RunFolder(path=folder)))
        findings, galleries = work.findings()
        if beside is not None and findings.valid:
            unequal = [
                NotTested(what="equal terms of the two audits", why=why) for why in unequal_terms(findings, beside)
            ]
            findings = findings.model_copy(
                update={
                    "compared": compare_findings(findings, beside),
                    "not_tested": (*findings.not_tested, *unequal),
                }
            )
        done = _write(folder, findings, galleries)
    require_gates(gates, findings)
    return done


def _findings_of(
    run: Path | str,
    own: Training,
    config: AuditConfig,
    attacks: Sequence[Attack] | None,
    objects: Mapping[str, Any],
    data_dir: Path | str | None,
    allowed: Allowed,
    listener: Progress,
) -> Findings:
    """Return the findings on another run, which is audited if it has not been.

    Raises:
        InputError: it is no run, or of another data set or network; it was not audited then.
    """
    path = RunFolder(path=Path(run)).path / "audit" / AUDIT
    if not path.is_file():
        other = read_run_config(RunFolder(path=Path(run)))
        for what, mine, its in (("data set", own.dataset, other.dataset), ("model", own.model, other.model)):
            if mine != its:
                raise InputError(f"{run} is of {what} '{its}', this run of '{mine}': not comparable")
        require_usable(path.parent)
        listener.note(f"auditing {run} first, to set it beside")
        given = {name: thing for name, thing in objects.items() if name != "defenses"}
        audit(run, config, attacks=attacks, data_dir=data_dir, allow_plugins=allowed, listener=listener, **given)
    findings = read_findings(path)
    require_comparable(own, findings)
    return findings


def _write(folder: Path, findings: Findings, galleries: Mapping[int, Sequence[tuple[str, bytes]]]) -> Audit:
    """Write audit.json, the report and the pictures, each in one step."""
    pictures = []
    for name, data in audit_pictures(findings).items():
        pictures.append(folder / name)
        write_atomic(pictures[-1], data)
    write_atomic(folder / REPORT, audit_page(findings, galleries).encode())
    write_atomic(folder / AUDIT, findings_document(findings))
    return Audit(findings=findings, path=folder / AUDIT, report=folder / REPORT, pictures=pictures)

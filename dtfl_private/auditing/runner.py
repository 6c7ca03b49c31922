"""Audit: what leaks at every tier of a run, to whom, how sure that is, and what its defenses buy, in one page.

run -> plan -> sanity checks -> trainings -> attacks at every tier -> convergence -> leakage against the attacker's data
-> clients compared -> measures -> attacks as scheduled -> findings -> comparison with another run
-> audit.json, report.html, pictures -> gates
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.parallel import NamedRun, guess_tasks, open_once
from dtfl_private.attacking.runner import AttackReport
from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.auditing.about import about_run, headed
from dtfl_private.auditing.attack_as_scheduled import attack_as_scheduled
from dtfl_private.auditing.attack_trainings import attack_training, compared_with_undefended, galleries
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.audit_plan import AuditPlan, expected_jobs, plan_audit
from dtfl_private.auditing.auxiliary_curve import auxiliary_curve, curve_sizes
from dtfl_private.auditing.build_findings import AuditResults, describe_training, gather_findings, stopped_findings
from dtfl_private.auditing.by_client import by_client, client_jobs
from dtfl_private.auditing.compared_audits import compare_findings, require_comparable, unequal_terms
from dtfl_private.auditing.convergence_check import check_convergence
from dtfl_private.auditing.equal_victims import equal_victims
from dtfl_private.auditing.examples import examples
from dtfl_private.auditing.gate import parse_gate, require_gates
from dtfl_private.auditing.identity_check import identity_check
from dtfl_private.auditing.measuring import measure_training
from dtfl_private.auditing.pooled_results import pooled
from dtfl_private.auditing.random_check import check_random
from dtfl_private.auditing.sanity_attacks import sanity_attacks
from dtfl_private.auditing.shallowest_check import check_shallowest
from dtfl_private.auditing.text_examples import text_examples
from dtfl_private.auditing.trainings import attacked_trainings
from dtfl_private.auditing.update_check import update_check, update_check_attacks
from dtfl_private.auditing.work_ahead import work_ahead
from dtfl_private.auditing.written_audit import AUDIT, Audit, AuditPictures, write_audit
from dtfl_private.data.from_python import given_dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.folder import RunFolder, locked, require_no_links
from dtfl_private.experiments.run_folder.summary import read_summary
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train_loop import model_card
from dtfl_private.experiments.trained.model_card import write_card
from dtfl_private.files.writing import output_path, require_usable
from dtfl_private.plugins.own_objects import Allowed, allowance
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Scheduler
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.device import deterministic_kernels, device_on, one_thread
from dtfl_private.runtime.executor_choice import LOCAL, require_names
from dtfl_private.runtime.executors import cluster_kept
from dtfl_private.runtime.jobs import processes_kept
from dtfl_private.runtime.progress import within
from dtfl_private.verdicts.findings import Findings, NotTested, SanityCheck
from dtfl_private.verdicts.findings_file import read_findings


def audit(
    run: Run | RunFolder | Path | str,
    config: AuditConfig | None = None,
    *,
    fail_if: Sequence[str] = (),
    compare: Path | str | None = None,
    title: str | None = None,
    organisation: str | None = None,
    attacks: Sequence[Attack] | None = None,
    out: Path | str | None = None,
    dataset: object = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
    data_dir: Path | str | None = None,
    allow_plugins: Iterable[str] = (),
    callbacks: Sequence[Callback] = (),
) -> Audit:
    """Audit a finished run and leave audit.json, report.html and pictures.

    What an interrupted or failed audit has finished is kept, and a second audit of the same run reuses it.

    Args:
        run: a run, or its folder.
        config: what to audit and how.
        fail_if: gates such as ``ssim>0.5@tier<=2``, checked once everything is written.
        compare: folder of another run to compare with; it is audited likewise if it has not been.
        title: heading of the report, instead of one made of data set, network and method.
        organisation: who runs the audit, for the report.
        attacks: attacks as objects, instead of those that the configuration names.
        out: folder to write to; by default ``audit`` in the run folder.
        dataset: what `train` was given as an object, if it was.
        model: likewise.
        scheduler: likewise.
        defenses: likewise.
        data_dir: where the run's data are now, if they have moved.
        allow_plugins: modules whose objects the runs' configurations may name (``package.module:function``).
        callbacks: hear how the audit proceeds.

    Raises:
        InputError: wrong input; nothing was attacked.
        RunError: the run is damaged, or an attack failed; what was finished is kept.
        GateCrossedError: a gate was crossed; everything is written.
    """
    with told(callbacks) as progress, deterministic_kernels(), one_thread():
        gates, heading = [parse_gate(text) for text in fail_if], headed(title, organisation)
        config = (config or AuditConfig()).settled()
        config = config.model_copy(update={"device": device_on(config.executor, config.device)})
        allowed = allowance(allow_plugins)
        objects = RunObjects(dataset=given_dataset(dataset), model=model, scheduler=scheduler, defenses=defenses)
        require_names(config.executor, by_name=attacks is None and not objects)
        opened = open_run(run, data_dir=data_dir, objects=objects, allow_plugins=allowed)
        for line in opened.notes:
            progress.note(line)
        folder = opened.folder.path / "audit" if out is None else output_path(out)
        require_no_links(opened.folder)
        require_usable(folder)
        plan = plan_audit(opened, config, attacks, folder)
        other = None if compare is None else _findings_of(compare, plan, data_dir, allowed, progress)
        _make(folder)
        with locked(RunFolder(path=folder)):
            with processes_kept(*_processes(plan)), cluster_kept(config.executor):
                findings, pictures = carry_out(plan, progress)
            findings = findings.model_copy(update={"about": about_run(opened, heading)})
            done = write_audit(folder, findings if other is None else _compared(findings, other), pictures)
            if out is None:
                _write_verdict_into_card(opened, done.findings, progress)
        require_gates(gates, done.findings)
    return done


def carry_out(plan: AuditPlan, progress: Callback) -> tuple[Findings, AuditPictures]:
    """Carry a planned audit out, step by step; return what it found, and pictures of reconstructions.

    It ends at once, before hours are spent, if attacks fail where nothing, or as good as nothing, is hidden.
    """
    checks = check_attacks(plan, progress)
    if not all(check.passed for check in checks):
        return stopped_findings(plan, checks), AuditPictures()
    trainings = attacked_trainings(plan.opened, plan.config, plan.folder, progress)
    reports = [attack_training(plan, training, progress) for training in trainings]
    progress = work_ahead(plan, trainings[0], reports[0], progress)
    convergence = check_convergence(plan, reports[0], progress)
    curve = auxiliary_curve(plan, reports[0], progress)
    clients = by_client(plan, reports[0], progress)
    measured, measured_undefended = measure_training(plan, trainings[0], progress)
    found = AuditResults(
        trainings=trainings,
        sanity=checks,
        attacked=pooled([compared_with_undefended(report) for report in reports]),
        measured=measured,
        measured_undefended=measured_undefended,
        scheduled=attack_as_scheduled(plan, reports[0], progress),
        convergence=convergence,
        auxiliary_curve=curve,
        by_client=clients,
        equal_victims=equal_victims(reports[0].verdicts),
    )
    return _with_pictures(plan, gather_findings(plan, found), reports[0])


def _with_pictures(plan: AuditPlan, findings: Findings, report: AttackReport) -> tuple[Findings, AuditPictures]:
    """Return findings that name the pictures of their report, and the pictures."""
    files, prepared = galleries(report, plan.tiers), plan.opened.prepared
    labels, classes = prepared.worker.train_labels, prepared.data.classes
    shown, pictures = examples(report.verdicts, findings.verdict, labels, classes)
    named: dict[str, tuple[object, ...]] = {"examples": tuple(shown), "galleries": tuple(files)}
    if plan.opened.vocabulary is not None:
        named["texts"] = tuple(text_examples(report.verdicts, plan.opened.vocabulary, labels, classes))
    return findings.model_copy(update=named), AuditPictures(galleries=files, examples=pictures)


def check_attacks(plan: AuditPlan, progress: Callback) -> list[SanityCheck]:
    """Return the sanity checks: on inputs sent as they are, on the update of one record, and if these passed at md1.

    Of texts at md1, and on random numbers.
    """
    of_inputs, of_updates = sanity_attacks(plan), update_check_attacks(plan)
    of_md1 = len(of_inputs) if plan.knows_weights else 0
    sanity_jobs = len(of_inputs) + len(of_updates) + of_md1  # of texts: on random numbers, in place of the identity
    progress.jobs_expected(expected_jobs(plan, sanity_jobs, len(curve_sizes(plan)), client_jobs(plan)))
    checks: list[SanityCheck] = []
    if of_inputs and not plan.of_texts:  # no network sends tokens as they are
        checks.append(identity_check(plan.opened, plan.attack_config, list(of_inputs.values()), plan.cache, progress))
    if of_updates:
        checks.append(update_check(plan, of_updates, progress))
    if of_md1 and all(check.passed for check in checks):
        checks.append(check_shallowest(plan, of_inputs, progress))
        if plan.of_texts:
            checks.append(check_random(plan, of_inputs, progress))
    return checks


def _findings_of(
    run: Path | str, plan: AuditPlan, data_dir: Path | str | None, allowed: Allowed, progress: Callback
) -> Findings:
    """Return the findings on another run, which is audited if it has not been.

    Raises:
        InputError: it is no run, or of another data set or network; it was not audited then.
    """
    own, folder = describe_training(plan.opened, None), RunFolder(path=Path(run))
    path = folder.path / "audit" / AUDIT
    if not path.is_file():
        other = read_run_config(folder)
        for what, mine, its in (("data set", own.dataset, other.dataset), ("model", own.model, other.model)):
            if mine != its:
                raise InputError(f"{run} is of {what} '{its}', this run of '{mine}': not comparable")
        require_usable(path.parent)
        progress.note(f"auditing {run} first, to compare with it")
        audit(
            run,
            plan.config,
            attacks=plan.attacks,
            data_dir=data_dir,
            allow_plugins=allowed,
            callbacks=[within(progress)],
            **plan.opened.objects.undefended().arguments(),
        )
    findings = read_findings(path)
    require_comparable(own, findings)
    return findings


def _compared(findings: Findings, other: Findings) -> Findings:
    """Return findings with the comparison, and what differs in the terms of the two audits; an invalid one as it is."""
    if not findings.valid:
        return findings
    unequal = [NotTested(what="equal terms of the two audits", why=why) for why in unequal_terms(findings, other)]
    compared = {"compared": compare_findings(findings, other), "not_tested": (*findings.not_tested, *unequal)}
    return findings.model_copy(update=compared)


def _processes(plan: AuditPlan) -> tuple[int, Callable[[], object]]:
    """Return how many processes will be needed, and what they can do while the first checks are made."""
    here = plan.by_name and plan.workers > 1 and plan.config.executor == LOCAL
    tasks = len(guess_tasks(plan.attack_plan)) if here else 0
    return min(plan.workers, tasks), partial(open_once, NamedRun.of(plan.opened))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder '{folder}' cannot be made: {error.strerror}") from None


def _write_verdict_into_card(opened: OpenedRun, findings: Findings, progress: Callback) -> None:
    """Write the run's model card anew, with the verdict."""
    card = model_card(opened.prepared, opened.after, opened.records, read_summary(opened.folder))
    card = replace(card, findings=findings)
    if not write_card(opened.folder, card):
        progress.note(f"{opened.folder.card} was changed by hand and is left as it is: it does not tell of this audit")

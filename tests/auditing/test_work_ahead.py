"""What the steps after the attacks need, done ahead: the same findings, every job told of once, nothing done twice."""

import pickle
from contextlib import nullcontext

import pytest
import torch
from audit_progress import HeardJobs

from dtfl_private.attacking import parallel
from dtfl_private.attacking import runner as attacking
from dtfl_private.auditing import (
    auxiliary_curve,
    identity_check,
    measuring,
    shallowest_check,
    work_ahead,
    written_audit,
)
from dtfl_private.auditing import runner as auditing
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.measured_release import measured_run
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.train import train
from dtfl_private.leakage.measures.base import Figure
from dtfl_private.runtime.device import threads
from dtfl_private.runtime.jobs import run_jobs


class Constant:
    """A measure that takes no time."""

    def figures(self, release):
        return [Figure(metric="effective-rank", value=float(release.records), low=0.0, high=999.0, n=release.records)]

    def remarks(self, release):
        return []

    def __repr__(self):
        return "Constant"


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> RunFolder:
    """A run by names alone, defended, and too small to learn anything."""
    config = TrainConfig(
        dataset="digits:size=8",
        max_train_images=120,
        clients=2,
        rounds=1,
        batch_size=8,
        device="cpu",
        workers=1,
        defense=("dropout:p=0.1",),
    )
    return train(config, out=tmp_path_factory.mktemp("run") / "run").folder


@pytest.fixture
def examine(named, tmp_path, monkeypatch):
    """Audit the run with so many workers, whose work is done here, after a journey: ``examine(workers, listener)``."""
    handed_over = []

    def as_if_in_processes(function, jobs, processes, on_event, cluster):
        assert (processes, cluster) == (2, None)
        handed_over.extend(jobs)
        with threads(2):  # as a new process has
            run_jobs(function, pickle.loads(pickle.dumps(jobs)), 1, on_event)

    def measured_by_one_thread(*given):
        assert torch.get_num_threads() == 1
        return measured_run(*given)

    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])
    monkeypatch.setattr(written_audit, "audit_pictures", lambda _: {})
    monkeypatch.setattr(written_audit, "audit_page", lambda *_: "a page")
    monkeypatch.setattr(auditing, "processes_kept", lambda *_: nullcontext())
    monkeypatch.setattr(identity_check, "IDENTITY_SSIM", 0.0)
    monkeypatch.setattr(shallowest_check, "SHALLOWEST_SSIM", 0.0)
    monkeypatch.setattr(auxiliary_curve, "SIZES", (20,))
    monkeypatch.setattr(measuring, "MEASURES", {"constant": Constant()})
    monkeypatch.setattr(measuring, "measured_run", measured_by_one_thread)
    for module in (parallel, work_ahead):
        monkeypatch.setattr(module, "run_jobs", as_if_in_processes)

    def run(workers, listener):
        config = AuditConfig(
            attacks=("decoder:size=small,steps=1",),
            tiers=(1,),
            victims=8,
            aux_images=60,
            aux_curve="on",
            seeds=1,
            measured=100,
            workers=workers,
            device="cpu",
        )
        return auditing.audit(named, config, out=tmp_path / f"{workers}", callbacks=[listener]).findings

    run.handed_over = handed_over
    return run


def test_several_workers_find_the_same_tell_of_each_job_once_and_a_second_audit_does_nothing_twice(examine):
    alone, several = HeardJobs(), HeardJobs()
    one, two = examine(1, alone), examine(2, several)
    assert examine.handed_over
    differing = {name for name in type(one).model_fields if getattr(one, name) != getattr(two, name)}
    assert differing <= {"environment", "settings", "repeat"}
    assert sorted(alone.kept) == sorted(several.kept)
    assert several.running == alone.running == set()
    assert several.expected == alone.expected
    counted = {job: len(kept) for job, kept in several.kept.items()}
    assert counted == {job: len(kept) for job, kept in alone.kept.items()}
    purposes = {job.rpartition(", ")[2] for job in several.kept}
    assert {"twice the effort", "as scheduled", "sanity check at md1", "20 auxiliary images", "undefended"} <= purposes
    examine.handed_over.clear()
    again = HeardJobs()
    assert examine(2, again) == two
    assert examine.handed_over == []
    assert [job for job, kept in again.kept.items() if not all(kept)] == []

"""What the tests of audits share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fast_attacks import LeastSquares

from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.auditing import audit_plan as planning
from dtfl_private.auditing import identity_check, measuring, shallowest_check, written_audit
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.audit_plan import AuditPlan, plan_audit
from dtfl_private.auditing.runner import audit
from dtfl_private.leakage.measures.base import Figure
from dtfl_private.report.html import page

QUICKLY = {"victims": 8, "aux_images": 60, "seeds": 2, "measured": 100, "workers": 1, "device": "cpu"}


@dataclass(frozen=True)
class Constant:
    """A measure that takes no time."""

    def figures(self, release):
        return [Figure(metric="effective-rank", value=float(release.releases), low=0.0, high=99.0, n=release.records)]

    def remarks(self, release):
        return [f"{release.records} records were enough"]


@pytest.fixture
def examine(objects, tmp_path, monkeypatch):
    """Audit a run without pictures, with one measure that takes no time: ``examine(run, attacks, **settings)``."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])
    monkeypatch.setattr(written_audit, "audit_pictures", lambda _: {"leakage.png": b"a picture"})
    for picture in ("by_tier_picture", "accuracy_leakage_picture", "auxiliary_curve_picture", "by_client_picture"):
        monkeypatch.setattr(page, picture, lambda *_, **__: b"<svg/>")
    # Least squares gets images back well, but not well enough for the real limits.
    monkeypatch.setattr(identity_check, "IDENTITY_SSIM", 0.5)
    monkeypatch.setattr(shallowest_check, "SHALLOWEST_SSIM", 0.6)
    for module in (planning, measuring):
        monkeypatch.setattr(module, "MEASURES", {"constant": Constant()})

    def run(folder, attacks=None, *, defenses=None, callbacks=(), fail_if=(), compare=None, out=None, **values):
        given = {name: values.pop(name) for name in objects.keys() & values.keys()}
        config = AuditConfig.model_validate({**QUICKLY, **values})
        return audit(
            folder,
            config,
            attacks=attacks or [LeastSquares()],
            out=out or tmp_path / "audit",
            callbacks=callbacks,
            fail_if=fail_if,
            compare=compare,
            defenses=defenses,
            **{**objects, **given},
        )

    return run


@pytest.fixture
def plan(tmp_path) -> Callable[..., AuditPlan]:
    """Plan an audit of an opened run: ``plan(opened, attacks, **settings)``."""

    def plan_quickly(run: OpenedRun, attacks: Any = None, *, folder: Path | None = None, **values: Any) -> AuditPlan:
        config = AuditConfig.model_validate({**QUICKLY, **values}).settled()
        return plan_audit(run, config, attacks or [LeastSquares()], folder or tmp_path / "audit")

    return plan_quickly

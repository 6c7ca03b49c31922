"""What the tests of whole runs share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dtfl_private.experiments.train import train
from dtfl_private.verdicts.findings_file import findings_document

CUTS = {1: (4, 8, 8), 2: (8, 4, 4), 3: (8, 4, 4)}
"""What the tiers of the tiny network send of the patterns."""


@pytest.fixture
def run_tiny(tiny_config, patterns, tiny_network, tmp_path):
    """Train the tiny network on the patterns: ``run_tiny(out, resume=..., callbacks=..., **settings)``."""

    def run(out: Path | str | None, *, resume: bool = False, callbacks: Any = (), objects: Any = None, **values: Any):
        place = None if out is None else tmp_path / out
        given = {"dataset": patterns, "model": tiny_network(), **(objects or {})}
        return train(tiny_config(**values), out=place, resume=resume, callbacks=callbacks, **given)

    return run


@pytest.fixture
def finished(run_tiny, tmp_path) -> Path:
    run_tiny(tmp_path / "run", rounds=1)
    return tmp_path / "run"


@pytest.fixture
def write_audit(tmp_path, figure, findings_of) -> Callable[..., Path]:
    """Write an audit of the tiny network on the patterns: ``write_audit({1: 0.9, 3: 0.2}, norm="group")``."""

    def write(ssim: dict[int, float], name: str = "audit.json", cuts: Mapping[int, Any] = CUTS, **values: Any) -> Path:
        of_tiny = {"dataset": "object:ImageDataset", "model": "object:StagedModel"}
        results = [figure(tier, value, cut=cuts.get(tier, (1,))) for tier, value in ssim.items()]
        path = tmp_path / name
        path.write_bytes(findings_document(findings_of(results, **{**of_tiny, **values})))
        return path

    return write

"""Plans whose tiers a leakage budget limits."""

from pathlib import Path
from typing import Any

import pytest

from dtfl_private.cli.plan_output import planned_lines
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.plan import plan
from dtfl_private.verdicts.findings_file import findings_document


@pytest.fixture
def audit_of_resnet(tmp_path, figure, findings_of) -> Path:
    path = tmp_path / "resnet.json"
    results = [figure(1, 0.9), figure(2, 0.3), figure(4, 0.2)]
    path.write_bytes(findings_document(findings_of(results, model="resnet-8", norm="group", dataset="digits:size=32")))
    return path


def planned(config: TrainConfig, **arguments: Any):
    return plan(config, input_shape=(1, 8, 8), images_per_client=150, **arguments)


def test_a_plan_says_what_the_budget_costs_in_time(audit_of_resnet: Path):
    limited = make_config({"rounds": 4, "leakage_budget": f"{audit_of_resnet}:max=0.4"})
    found, free = planned(limited, compare_static=True), planned(make_config({"rounds": 4}))
    assert found.table.tiers_M.tolist() == [2, 4] == list(found.static_time_s)
    assert found.virtual_time_s == planned(make_config({"rounds": 4, "allowed_tiers": [2, 4]})).virtual_time_s
    assert found.unlimited_time_s == free.virtual_time_s
    assert free.unlimited_time_s is None
    assert planned_lines(free) == []
    ratio = found.virtual_time_s / free.virtual_time_s
    assert planned_lines(found) == [
        f"tier 3 is not measured in {audit_of_resnet} (ssim), hence not allowed",
        f"tiers allowed: 2, 4, by the leakage budget ssim at most 0.4, as measured in {audit_of_resnet} "
        "(measured, not proven)",
        f"this takes {ratio:.2f} times as long as with all tiers",
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "resnet-20"}, "model resnet-8 there, resnet-20 here"),
        ({"norm": "batch"}, "norm group there, batch here"),
        ({"dataset": "cifar-10"}, "dataset digits:size=32 there, cifar-10 here"),
        ({"defense": ["gaussian-noise"]}, "defense none there, gaussian-noise here"),
        ({"method": "fedavg"}, "method fedavg has no tiers to choose from"),
        ({"scheduler": "static:1"}, "static:1 names a tier that is not allowed here: tiers 2, 4 are"),
    ],
)
def test_a_plan_refuses_what_is_said_and_does_not_fit(audit_of_resnet: Path, values, said):
    with pytest.raises(InputError) as refused:
        planned(make_config({"leakage_budget": f"{audit_of_resnet}:max=0.4", **values}))
    assert said in str(refused.value)


def test_a_plan_takes_a_run_that_is_known_already(audit_of_resnet: Path):
    config = make_config({"rounds": 1, "leakage_budget": f"{audit_of_resnet}:max=0.4", "allowed_tiers": [4]})
    audit_of_resnet.unlink()
    assert planned(config).table.tiers_M.tolist() == [4]

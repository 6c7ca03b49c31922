"""Runs and plans whose tiers a leakage budget, or the user, limits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtfl_private.cli.train import train_config
from dtfl_private.data.dataset import ImageDataset
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.files import read_run_config, read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.plan import COMPARED, plan, planned_lines
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.setup.allowed_tiers import allowed_line
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.experiments.train import train
from dtfl_private.leakage.findings import Findings, SanityCheck, findings_document
from dtfl_private.leakage.result import Result
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.plugins.installed import installed
from dtfl_private.protocol.contracts import tier_names
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.schedule import ScheduleState
from dtfl_private.simulation.scheduling import schedule_round

Figure = Callable[..., Result]
FindingsOf = Callable[..., Findings]
PrepareTiny = Callable[..., Prepared]

# Of the tiny network on the patterns.
CUTS = {1: (4, 8, 8), 2: (8, 4, 4), 3: (8, 4, 4)}
NETWORK = "object:StagedModel"
FAILED = SanityCheck(name="md1", attack="decoder", metric="ssim", value=0.3, needed=0.9, passed=False)


@pytest.fixture
def write_audit(tmp_path: Path, figure: Figure, findings_of: FindingsOf) -> Callable[..., Path]:
    """Write an audit of the tiny network on the patterns: ``write_audit({1: 0.9, 3: 0.2}, norm="group")``."""

    def write(ssim: dict[int, float], name: str = "audit.json", **values: Any) -> Path:
        of_tiny = {"dataset": "object:ImageDataset", "model": NETWORK}
        results = [figure(tier, value, cut=CUTS.get(tier, (1,))) for tier, value in ssim.items()]
        path = tmp_path / name
        path.write_bytes(findings_document(findings_of(results, **{**of_tiny, **values})))
        return path

    return write


@pytest.fixture
def run_tiny(
    tmp_path: Path, patterns: ImageDataset, tiny_network: Callable[[], StagedModel], tiny_config: Callable[..., Any]
) -> Callable[..., Any]:
    def run(out: str, *, resume: bool = False, **values: Any) -> Any:
        config = tiny_config(**values)
        return train(config, out=tmp_path / out, resume=resume, dataset=patterns, model=tiny_network())

    return run


def tiers(prepared: Prepared) -> list[int]:
    return prepared.settings.schedule.table.tiers_M.tolist()


# Which tiers are left.


@pytest.mark.parametrize(
    ("limit", "left"), [("max=0.95", [1, 2, 3]), ("max=0.5", [1, 3]), ("max=0.3", [3]), ("max=0.22", [3])]
)
def test_a_budget_leaves_the_tiers_within_it(prepare_tiny: PrepareTiny, write_audit, limit, left):
    audit = write_audit({1: 0.4, 2: 0.9, 3: 0.2})
    prepared = prepare_tiny(leakage_budget=f"{audit}:{limit}")
    assert tiers(prepared) == left == prepared.config.allowed_tiers
    assert prepared.config.tiers == 3
    assert prepared.config.leakage_budget == f"{audit}:metric=ssim,{limit}"
    assert prepared.notes == []


def test_a_tier_that_was_not_measured_is_not_allowed_and_that_is_said(prepare_tiny: PrepareTiny, write_audit):
    audit = write_audit({2: 0.1})
    prepared = prepare_tiny(leakage_budget=f"{audit}:max=0.4")
    assert tiers(prepared) == [2]
    assert prepared.notes == [f"tiers 1, 3 are not measured in {audit} (ssim), hence not allowed"]


def test_budget_tier_floor_and_fewer_tiers_hold_together(prepare_tiny: PrepareTiny, write_audit):
    audit = write_audit({1: 0.1, 2: 0.2, 3: 0.1})
    budget = f"{audit}:max=0.15"
    assert tiers(prepare_tiny(leakage_budget=budget)) == [1, 3]
    floored = prepare_tiny(leakage_budget=budget, defense=["tier-floor:modules=2"])
    assert tiers(floored) == [3]
    assert floored.config.tiers == 2  # as without a budget: the tiers that the floor leaves
    assert tiers(prepare_tiny(leakage_budget=budget, tiers=2)) == [3]
    assert tiers(prepare_tiny(allowed_tiers=[1, 2], tiers=2)) == [2]


def test_the_weights_of_the_run_do_not_depend_on_the_limit(prepare_tiny: PrepareTiny):
    limited, free = prepare_tiny(allowed_tiers=[1, 3]), prepare_tiny()
    assert limited.initial.weights.heads.keys() == {1, 3}
    for tier, head in limited.initial.weights.heads.items():
        assert all((head[name] == free.initial.weights.heads[tier][name]).all() for name in head)


# Wrong input: one line, nothing written.


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"leakage_budget": "AUDIT:max=0.1"}, "the least leaky is tier 3 with 0.220: max=0.220 is feasible"),
        ({"leakage_budget": "AUDIT:max=0.3", "scheduler": "static:1"}, "static:1 names a tier that is not allowed"),
        ({"leakage_budget": "AUDIT:max=0.5", "scheduler": "static:2"}, "not allowed here: tiers 1, 3 are"),
        ({"leakage_budget": "AUDIT:max=0.3", "method": "fedavg"}, "method fedavg has no tiers to choose from"),
        ({"allowed_tiers": [1], "method": "splitfed-v1"}, "method splitfed-v1 has no tiers to choose from"),
        ({"leakage_budget": "AUDIT:max=0.3", "norm": "group"}, "(norm batch there, group here)"),
        ({"leakage_budget": "AUDIT:max=0.3", "defense": ["gaussian-noise"]}, "(defense none there, gaussian-noise"),
        ({"leakage_budget": "AUDIT:metric=mse,min=0.1"}, "has no mse of an attack that a leakage budget can count"),
        ({"leakage_budget": "AUDIT.gone:max=0.3"}, "cannot be read: No such file"),
        ({"leakage_budget": "AUDIT:max=0.5", "tiers": 1, "scheduler": "static:1"}, "not allowed here: tier 3 is"),
        ({"leakage_budget": "AUDIT:max=0.1", "tiers": 2}, "none of tiers 2, 3 is within"),
        ({"leakage_budget": "AUDIT:max=0.5", "defense": ["tier-floor:modules=4"]}, "tier floor 4 leaves no tier"),
        ({"allowed_tiers": [1], "defense": ["tier-floor:modules=2"]}, "tier floor 2 leaves no tier: .* [1]"),
        ({"allowed_tiers": [1, 4]}, "allowed tier 4 does not exist: the tiers of object:StagedModel are 1..3"),
        ({"allowed_tiers": [1], "tiers": 2}, "allowed tiers 1 are none of the 2 deepest, 2..3"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run_tiny, write_audit, tmp_path, values, said):
    audit = write_audit({1: 0.4, 2: 0.9, 3: 0.2})
    if "leakage_budget" in values:
        values = {**values, "leakage_budget": values["leakage_budget"].replace("AUDIT", str(audit))}
    with pytest.raises(InputError) as refused:
        run_tiny("run", **values)
    assert all(part in str(refused.value) for part in said.split(" .* "))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"valid": False, "sanity": (FAILED,)}, "is invalid (sanity check not passed: md1)"),
        ({"dataset": "digits"}, "(dataset digits there, object:ImageDataset here)"),
        ({"model": "resnet-8"}, "(model resnet-8 there, object:StagedModel here)"),
        ({"defense": ("no.module:here",)}, "(defense no.module:here there, none here)"),
        ({"defense": ("gone:x=1",)}, "(defense gone:x=1 there, none here)"),
    ],
)
def test_an_audit_of_another_kind_of_run_is_refused(prepare_tiny: PrepareTiny, write_audit, values, said):
    audit = write_audit({1: 0.1}, **values)
    with pytest.raises(InputError) as refused:
        prepare_tiny(leakage_budget=f"{audit}:max=0.4")
    assert said in str(refused.value)
    assert str(audit) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_audit_of_a_network_with_other_cuts_is_refused(prepare_tiny: PrepareTiny, write_audit, monkeypatch):
    monkeypatch.setitem(CUTS, 3, (8, 2, 2))
    audit = write_audit({1: 0.1, 3: 0.1})
    with pytest.raises(InputError, match="tier 3 sends 8x2x2 there, 8x4x4 here"):
        prepare_tiny(leakage_budget=f"{audit}:max=0.4")


def test_spellings_of_one_run_are_the_same_and_guards_send_nothing(prepare_tiny: PrepareTiny, write_audit):
    defense = ("gaussian-noise", "tier-floor:modules=2")
    audit = write_audit({3: 0.1}, defense=defense)
    explicit = prepare_tiny(defense=["gaussian-noise"]).config.defense
    assert explicit != ["gaussian-noise"]
    assert tiers(prepare_tiny(leakage_budget=f"{audit}:max=0.4", defense=explicit)) == [3]


# A run is begun once, whatever becomes of the audit.


def test_a_run_repeats_from_its_own_configuration_and_resumes_without_the_audit(run_tiny, write_audit):
    audit = write_audit({1: 0.4, 2: 0.9, 3: 0.2})
    budget = f"{audit}:max=0.5"
    first = run_tiny("first", rounds=2, leakage_budget=budget)
    used = {tier for record in first.records for tier in record["tiers"].values()}
    assert used <= {1, 3}
    audit.unlink()
    written = read_toml(first.folder.config)
    assert (written["allowed_tiers"], written["leakage_budget"]) == ([1, 3], f"{audit}:metric=ssim,max=0.5")

    own = {key: value for key, value in written.items() if key not in ("dataset", "model")}
    again = run_tiny("again", **own)
    assert [record["tiers"] for record in again.records] == [record["tiers"] for record in first.records]
    assert to_toml(again.config) == to_toml(first.config)
    # The command that began the run resumes it, and so does one without the budget's text.
    assert run_tiny("first", resume=True, rounds=2, leakage_budget=budget).records == first.records
    assert run_tiny("first", resume=True, rounds=2, leakage_budget=budget, allowed_tiers=[1, 3]).records
    write_audit({1: 0.9, 2: 0.1, 3: 0.9})
    assert run_tiny("first", resume=True, rounds=2, leakage_budget=budget).records == first.records


def test_the_tier_of_the_whole_network_is_within_every_limit(run_tiny, write_audit):
    """It sends no activations; so the limit on record names cut tiers alone, and the run repeats from it."""
    budget = f"{write_audit({1: 0.9, 2: 0.9, 3: 0.2})}:max=0.5"
    first = run_tiny("first", rounds=3, method="dtfl-full", leakage_budget=budget)
    assert {tier for record in first.records for tier in record["tiers"].values()} == {3, 4}
    assert first.config.allowed_tiers == [3]
    own = {key: value for key, value in read_toml(first.folder.config).items() if key not in ("dataset", "model")}
    again = run_tiny("again", **own)
    assert [record["tiers"] for record in again.records] == [record["tiers"] for record in first.records]
    assert run_tiny("first", resume=True, rounds=3, method="dtfl-full", leakage_budget=budget).records == first.records


@pytest.mark.parametrize("values", [{"defense": ["tier-floor:4"]}, {"defense": ["tier-floor:3"], "allowed_tiers": [1]}])
def test_a_floor_that_leaves_only_the_whole_network_is_refused(run_tiny, tmp_path, values):
    with pytest.raises(InputError, match=r"tier floor . leaves only the tier of the whole network: .* --method fedavg"):
        run_tiny("run", method="dtfl-full", **values)
    assert not (tmp_path / "run").exists()


def test_a_resume_with_another_limit_is_refused(run_tiny, write_audit):
    audit = write_audit({1: 0.4, 2: 0.9, 3: 0.2})
    run_tiny("run", rounds=1, leakage_budget=f"{audit}:max=0.5")
    with pytest.raises(InputError, match=r"another configuration \(.*allowed_tiers: \[1, 3\] -> \[3\]"):
        run_tiny("run", resume=True, rounds=1, leakage_budget=f"{audit}:max=0.3")
    with pytest.raises(InputError, match=r"another configuration \(.*allowed_tiers: \[1, 3\] -> None"):
        run_tiny("run", resume=True, rounds=1)


def test_runs_from_before_there_were_limits_resume(run_tiny):
    run = run_tiny("run", rounds=1)
    lines = run.folder.config.read_text().splitlines()
    old = [line for line in lines if not line.startswith(("allowed_tiers", "leakage_budget"))]
    assert len(old) == len(lines) - 2
    run.folder.config.write_text("\n".join(old) + "\n")
    assert run_tiny("run", resume=True, rounds=1).records == run.records


@pytest.mark.parametrize(
    ("given", "allowed", "budget"),
    [
        ({}, [1, 3], "OLD"),
        ({"rounds": "5"}, [1, 3], "OLD"),
        ({"leakage_budget": "b.json:max=0.2"}, None, "b.json:metric=ssim,max=0.2"),
        ({"leakage_budget": "none"}, None, None),
        ({"allowed_tiers": "2,1"}, [1, 2], None),
        ({"allowed_tiers": "none"}, None, None),
        ({"norm": "group"}, None, "OLD"),
        ({"model": "resnet-20"}, None, "OLD"),
    ],
)
def test_an_option_wins_over_the_tiers_in_a_file(tmp_path, given, allowed, budget):
    old = "/x/a.json:metric=ssim,max=0.4"
    path = tmp_path / "config.toml"
    path.write_text(to_toml(make_config({"allowed_tiers": [3, 1], "leakage_budget": old})))
    config = train_config(str(path), None, False, given)
    assert config.allowed_tiers == allowed
    assert config.leakage_budget == (old if budget == "OLD" else budget)


def test_tiers_that_the_user_allowed_stay_with_another_network(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(to_toml(make_config({"allowed_tiers": [3, 1]})))
    assert train_config(str(path), None, False, {"model": "resnet-20"}).allowed_tiers == [1, 3]


def test_both_options_together_are_refused():
    with pytest.raises(InputError, match="give one of them"):
        train_config(None, None, False, {"allowed_tiers": "1", "leakage_budget": "a.json:max=1"})


@pytest.mark.parametrize("value", ["", "x", "0", "1,x", [], [1.5], True])
def test_wrong_tiers_are_refused(value):
    with pytest.raises(InputError, match="allowed_tiers"):
        make_config({"allowed_tiers": value})


# Every scheduler obeys.


class Disobedient:
    """A scheduler of somebody's own that names tier 2 whatever is allowed."""

    uses_times = False

    def assign(self, choice, rng):
        return np.full(len(choice.times_s_KM), 2)


SCHEDULERS = [*COMPARED, "efficient:rounds_ratio=0.7", "static:m=3"]


@pytest.mark.parametrize("first_tier", ["probe", "shallowest", "middle", "deepest"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_client_is_ever_in_a_forbidden_tier(prepare_tiny: PrepareTiny, write_audit, scheduler, first_tier):
    chance = {"drift_share": 0.5, "drift_every": 2, "noise": 1.0, "dropout": 0.3, "absent": 0.3, "leave": 0.2}
    audit = write_audit({1: 0.4, 2: 0.9, 3: 0.2})
    budget = f"{audit}:max=0.5"
    values = {"scheduler": scheduler, "first_tier": first_tier, "clients": 12, "fraction": 0.7, "join": 0.3}
    prepared = prepare_tiny(leakage_budget=budget, server_workers=2, **values, **chance)
    settings = prepared.settings.schedule
    state, seen = ScheduleState.start(settings), set()
    for number in range(1, 31):
        state, planned = schedule_round(state, settings, number)
        seen |= set(planned.tiers_P.tolist())
    assert seen <= {1, 3}
    assert seen == ({3} if scheduler == "static:m=3" else {1, 3} if scheduler == "random" else seen)


def test_every_installed_scheduler_is_among_those_tested():
    assert set(installed("scheduler")) == {name.partition(":")[0] for name in SCHEDULERS}


def test_a_scheduler_that_does_not_obey_is_stopped(
    patterns: ImageDataset, tiny_network: Callable[[], StagedModel], tiny_config: Callable[..., Any], tmp_path: Path
):
    config = tiny_config(allowed_tiers=[1, 3])
    with pytest.raises(RunError, match=r"must name one of the tiers \[1, 3\]"):
        train(config, out=tmp_path / "run", dataset=patterns, model=tiny_network(), scheduler=Disobedient())


# What is shown.


def test_the_closing_line_says_which_tiers_and_why():
    config = TrainConfig(allowed_tiers=[1, 3], leakage_budget="/a.json:max=0.4")
    assert allowed_line(config) == (
        "tiers allowed: 1, 3, by the leakage budget ssim at most 0.4, as measured in /a.json (measured, not proven)"
    )
    assert allowed_line(TrainConfig(allowed_tiers=[3])) == "tier allowed: 3, as allowed_tiers says"
    full = TrainConfig(allowed_tiers=[3], method="dtfl-full")
    said = "tier allowed: 3, as allowed_tiers says; beside these the whole network, which sends weights alone"
    assert allowed_line(full) == f"{said} (their leakage is not measured)"
    assert allowed_line(TrainConfig()) is None


@pytest.mark.parametrize(("tiers", "text"), [([3], "3"), ([1, 2], "1..2"), ([2, 3, 4], "2..4"), ([1, 2, 4], "1, 2, 4")])
def test_tiers_are_named_shortly_only_where_none_is_missing(tiers, text):
    assert tier_names(tiers) == text


def test_a_table_of_some_tiers_has_their_rows(four_tiers: TierTable):
    assert four_tiers.only([4, 1, 9]).rows == (four_tiers.rows[0], four_tiers.rows[3])


# Plans.


@pytest.fixture
def audit_of_resnet(tmp_path: Path, figure: Figure, findings_of: FindingsOf) -> Path:
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


def test_a_recorded_run_keeps_its_configuration_as_json_and_toml(run_tiny):
    run = run_tiny("run", rounds=1, allowed_tiers=[1, 2])
    assert read_run_config(RunFolder(path=run.folder.path)) == run.config
    assert json.loads(run.config.model_dump_json())["allowed_tiers"] == [1, 2]

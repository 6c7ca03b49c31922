"""Runs whose tiers a leakage budget, or the user, limits."""

from collections.abc import Callable

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.experiments.setup.tiers_allowed_by_audit import allowed_line
from dtfl_private.verdicts.findings import SanityCheck

PrepareTiny = Callable[..., Prepared]

FAILED = SanityCheck(name="md1", attack="decoder", metric="ssim", value=0.3, needed=0.9, passed=False)


def tiers(prepared: Prepared) -> list[int]:
    return prepared.settings.schedule.table.tiers_M.tolist()


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
        ({"assumed": ("secure-aggregation",)}, "assumes secure-aggregation, which this run does not: audit without it"),
    ],
)
def test_an_audit_of_another_kind_of_run_is_refused(prepare_tiny: PrepareTiny, write_audit, values, said):
    audit = write_audit({1: 0.1}, **values)
    with pytest.raises(InputError) as refused:
        prepare_tiny(leakage_budget=f"{audit}:max=0.4")
    assert said in str(refused.value)
    assert str(audit) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_may_assume_what_its_audit_assumed_or_more(prepare_tiny: PrepareTiny, write_audit):
    assume, limit = ["secure-aggregation"], ":max=0.4"
    for name, assumed in (("one.json", ("secure-aggregation",)), ("other.json", ())):
        audit = write_audit({1: 0.1}, name, assumed=assumed)
        assert prepare_tiny(leakage_budget=f"{audit}{limit}", assume=assume).config.allowed_tiers == [1]


FORMATS = ["int4", "int8", "bf16", "fp32", "scheduled"]


@pytest.mark.parametrize("audited", [*FORMATS, None])
@pytest.mark.parametrize("own", [*FORMATS, "auto"])
def test_an_audit_of_a_coarser_wire_is_none_of_this_run(prepare_tiny: PrepareTiny, write_audit, audited, own):
    audit = write_audit({1: 0.1, 2: 0.1, 3: 0.1}, wire=audited)
    limited = {"leakage_budget": f"{audit}:max=0.4", "wire": own}
    # What a run sends at its finest, and what an audit saw at its coarsest; the tiny run computes in fp32.
    sent = {"scheduled": "bf16", "auto": "fp32"}.get(own, own)
    seen = {"scheduled": "int4", None: "int4"}.get(audited, audited)
    if FORMATS.index(sent) <= FORMATS.index(seen):
        assert tiers(prepare_tiny(**limited)) == [1, 2, 3]
        return
    with pytest.raises(InputError) as refused:
        prepare_tiny(**limited)
    there, here = audited or "not recorded", "fp32" if own == "auto" else own
    assert f"(wire {there} there, {here} here)" in str(refused.value)


def test_a_coarse_audit_serves_a_run_that_computes_in_bf16_only_if_it_saw_bf16(prepare_tiny, write_audit):
    audit = write_audit({3: 0.1}, wire="bf16")
    assert tiers(prepare_tiny(leakage_budget=f"{audit}:max=0.4", precision="bf16")) == [3]
    with pytest.raises(InputError, match="wire bf16 there, fp32 here"):
        prepare_tiny(leakage_budget=f"{audit}:max=0.4", precision="fp32")


def test_an_audit_of_a_network_with_other_cuts_is_refused(prepare_tiny: PrepareTiny, write_audit):
    audit = write_audit({1: 0.1, 3: 0.1}, cuts={1: (4, 8, 8), 3: (8, 2, 2)})
    with pytest.raises(InputError, match="tier 3 sends 8x2x2 there, 8x4x4 here"):
        prepare_tiny(leakage_budget=f"{audit}:max=0.4")


def test_spellings_of_one_run_are_the_same_and_guards_send_nothing(prepare_tiny: PrepareTiny, write_audit):
    defense = ("gaussian-noise", "tier-floor:modules=2")
    audit = write_audit({3: 0.1}, defense=defense)
    explicit = prepare_tiny(defense=["gaussian-noise"]).config.defense
    assert explicit != ["gaussian-noise"]
    assert tiers(prepare_tiny(leakage_budget=f"{audit}:max=0.4", defense=explicit)) == [3]


def test_the_closing_line_says_which_tiers_and_why():
    config = TrainConfig(allowed_tiers=[1, 3], leakage_budget="/a.json:max=0.4")
    assert allowed_line(config) == (
        "tiers allowed: 1, 3, by the leakage budget ssim at most 0.4, as measured in /a.json (measured, not proven)"
    )
    assert allowed_line(TrainConfig(allowed_tiers=[3])) == "tier allowed: 3, as allowed_tiers says"
    full = TrainConfig(allowed_tiers=[3], method="dtfl-full")
    said = "tier allowed: 3, as allowed_tiers says; also the whole network, which sends weights alone"
    assert allowed_line(full) == f"{said} (no budget counts what they leak)"
    assert allowed_line(TrainConfig()) is None


def test_an_audit_of_the_same_defenses_under_other_rules_is_of_another_kind_of_run(run_tiny, write_audit):
    """The tiers share one network: also a tier that no rule touches sends what the others' defenses have made of it."""
    audited = write_audit({1: 0.2, 2: 0.2, 3: 0.2}, defense=("gaussian-noise:sd=1.0@tier<=2",))
    budget = f"{audited}:metric=ssim,max=0.4"
    run_tiny("same", rounds=1, defense=["gaussian-noise:sd=1.0@tier<=2", "weight-jump@tier=1"], leakage_budget=budget)
    with pytest.raises(
        InputError, match=r"defense gaussian-noise:sd=1.0@tier<=2 there, gaussian-noise:sd=1.0@tier=1 here"
    ):
        run_tiny("other", rounds=1, defense=["gaussian-noise:sd=1.0@tier=1"], leakage_budget=budget)

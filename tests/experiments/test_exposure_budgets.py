"""Runs with an exposure budget: what they count, where they end, and what they refuse."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

from dtfl_private.cli.plan_output import planned_lines
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.plan import plan
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.checkpoint import load_checkpoint, save_checkpoint
from dtfl_private.experiments.setup.exposure_by_audit import exposure_line
from dtfl_private.experiments.train import train
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.runtime.callback import Callback
from dtfl_private.verdicts.leakage_source import parse_leakage

LEAKAGE = "1=0.8,2=0.5,3=0.2"
LIMITED = {"exposure_budget": 2, "tier_leakage": LEAKAGE, "rounds": 5}
EVENTFUL = {"dropout": 0.3, "fraction": 0.67, "noise": 0.3, "seed": 3, "local_epochs": 2, "send_every": 2}


class Notes(Callback):
    """Keeps what is said, and ends the run by a crash after a round."""

    def __init__(self, last: int | None = None) -> None:
        self.heard: list[str] = []
        self.last = last

    def note(self, text: str) -> None:
        self.heard.append(text)

    def round_finished(self, record) -> None:
        if record["round"] == self.last:
            raise KeyboardInterrupt


def rounds_of(run: Run) -> list[dict[str, object]]:
    return [{key: value for key, value in record.items() if key != "wall_time_s"} for record in run.records]


@pytest.mark.parametrize("values", [EVENTFUL, {**EVENTFUL, "exposure_spending": "greedy"}, {"scheduler": "dynamic"}])
def test_a_run_counts_the_images_that_the_server_received(tiny_config, patterns, tiny_network, tmp_path, values):
    """By the messages, of clients that drop out too, not by the schedule."""
    received: Counter[tuple[int, int]] = Counter()

    def see(message: object) -> None:
        if isinstance(message, SmashedBatch):
            received[message.client, message.tier] += len(message.labels)

    config = tiny_config(**{**LIMITED, **values})
    run = train(config, out=tmp_path / "run", dataset=patterns, model=tiny_network(), observers=[see])
    assert run.config.max_train_images == 40
    images = {0: 14, 1: 13, 2: 13}
    leakage = parse_leakage(LEAKAGE)
    counted = dict.fromkeys(images, 0.0)
    for (client, tier), sent in received.items():
        counted[client] += sent / images[client] * leakage[tier]
    exposure = run.summary["exposure"]
    assert {int(client): value for client, value in exposure["clients"].items()} == pytest.approx(counted)
    assert exposure["highest"] == max(exposure["clients"].values()) <= 2 * (1 + 1e-9)
    last: dict[str, float] = {}
    for record in run.records:
        last |= record["exposure"]
        assert list(record["exposure"]) == [str(client) for client in record["participants"]]
    assert last == {client: value for client, value in exposure["clients"].items() if value or client in last}
    assert "exposure" in json.loads((tmp_path / "run" / "summary.json").read_text())


def test_a_resumed_run_is_the_same(run_tiny, tmp_path):
    values = {**LIMITED, **EVENTFUL}
    whole = run_tiny("whole", **values)
    with pytest.raises(KeyboardInterrupt):
        run_tiny("cut", callbacks=[Notes(last=2)], **values)
    resumed = run_tiny("cut", resume=True, **values)
    assert rounds_of(resumed) == rounds_of(whole)
    assert resumed.summary["exposure"] == whole.summary["exposure"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_who_has_spent_its_budget_rests_and_the_run_ends_when_all_have(run_tiny):
    notes = Notes()
    values = {"exposure_budget": 1, "exposure_spending": "greedy", "scheduler": "static:1", "fraction": 0.67}
    run = run_tiny("run", **{**LIMITED, **values, "rounds": 9, "seed": 1}, callbacks=[notes])
    assert run.summary["stopped"] == "all clients have spent their exposure budgets"
    assert notes.heard[-1] == f"the run ends after round {len(run.records)} of 9: {run.summary['stopped']}"
    assert notes.heard[0] == (
        "exposure budget 1 does not last: clients rest when they have spent theirs; about 1.206 lasts for all 9 rounds"
    )
    # Once in tier 1 for 0.8, once in tier 3 for the 0.2 that are left.
    tiers: dict[str, list[int]] = {}
    rests: Counter[str] = Counter()
    for record in run.records:
        assert not set(record["rested"]) & set(record["participants"])
        rests.update(str(client) for client in record["rested"])
        for client, tier in record["tiers"].items():
            tiers.setdefault(client, []).append(tier)
    assert tiers == {"0": [1, 3], "1": [1, 3], "2": [1, 3]}
    assert run.summary["exposure"]["rested"] == dict(rests)
    assert rests


def test_a_client_that_keeps_the_whole_network_exposes_nothing(run_tiny):
    run = run_tiny("run", **{**LIMITED, "exposure_budget": 0.3, "method": "dtfl-full"})
    assert len(run.records) == 5
    assert {tier for record in run.records for tier in record["tiers"].values()} >= {4}
    assert run.summary["exposure"]["highest"] <= 0.3
    assert run.summary["exposure"]["rested"] == {}


def test_less_is_exposed_by_sending_less(run_tiny):
    values = {**LIMITED, "exposure_budget": 100, "scheduler": "static:1"}
    every, third = run_tiny("every", **values), run_tiny("third", send_every=3, **values)
    assert every.summary["exposure"]["highest"] == pytest.approx(5 * 0.8)
    assert third.summary["exposure"]["highest"] < 0.5 * every.summary["exposure"]["highest"]


def test_the_audit_is_read_once_and_what_it_says_stands_in_the_configuration(run_tiny, write_audit):
    audit = write_audit({1: 0.78, 3: 0.18})
    limited = {"exposure_budget": 2, "leakage_from": str(audit), "rounds": 3}
    with pytest.raises(KeyboardInterrupt):
        run_tiny("run", callbacks=[Notes(last=1)], **limited)
    audit.unlink()
    run = run_tiny("run", resume=True, **limited)
    # Without a trivial guess in the audit it counts from SSIM -1 on.
    assert run.config.tier_leakage == "1=0.9,3=0.6"
    assert run.config.leakage_from == f"{audit}:metric=ssim"
    assert read_run_config(run.folder).tier_leakage == run.config.tier_leakage
    assert {tier for record in run.records for tier in record["tiers"].values()} <= {1, 3}
    assert exposure_line(run.config) == (
        "exposure budget 2 for each client, paced; a release leaks tier 1: 0.9, tier 3: 0.6, by ssim as measured in "
        f"{audit} (measured, not proven)"
    )


def test_both_budgets_hold_together(prepare_tiny, write_audit):
    audit = write_audit({1: 0.78, 2: 0.3, 3: 0.1})
    both = {"leakage_budget": f"{audit}:max=0.5", "exposure_budget": 5, "leakage_from": str(audit)}
    prepared = prepare_tiny(**both)
    assert prepared.config.allowed_tiers == [2, 3]
    assert prepared.config.tier_leakage == "2=0.66,3=0.56"
    assert prepared.settings.schedule.exposure.leakage_M.tolist() == [0.66, 0.56]
    floored = prepare_tiny(**both, defense=["tier-floor:modules=3"])
    assert floored.settings.schedule.exposure.leakage_M.tolist() == [0.56]


def test_tiers_that_were_not_measured_are_said(prepare_tiny, write_audit):
    audit = write_audit({2: 0.1})
    prepared = prepare_tiny(exposure_budget=5, leakage_from=str(audit))
    assert prepared.notes == [f"tiers 1, 3 are not measured in {audit} (ssim), hence not allowed"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"exposure_budget": 1}, "exposure_budget 1 needs to know what each tier leaks: add leakage_from"),
        ({"leakage_from": "AUDIT"}, "leakage_from is of use to an exposure budget alone"),
        ({"tier_leakage": LEAKAGE}, "tier_leakage is of use to an exposure budget alone"),
        ({**LIMITED, "method": "fedavg"}, "method fedavg has no tiers to choose from: leave exposure_budget out"),
        ({**LIMITED, "method": "splitfed-v1"}, "method splitfed-v1 has no tiers to choose from"),
        ({**LIMITED, "tier_leakage": "4=0.1"}, "tier_leakage names tier 4, which does not exist"),
        ({**LIMITED, "tier_leakage": "1=0.1", "tiers": 2}, "tier_leakage names tiers 1, none of those in use, 2..3"),
        (
            {**LIMITED, "exposure_budget": 0.19},
            "exposure budget 0.19 is too small for a single round of client 0, which exposes 0.2 in tier 3, its least "
            "exposing one: 0.2 lets all take part in one round, 1 in all 5",
        ),
        ({"exposure_budget": 1, "leakage_from": "AUDIT:metric=psnr"}, "has no psnr of an attack that an exposure"),
        ({"exposure_budget": 1, "leakage_from": "AUDIT.gone"}, "cannot be read: No such file"),
        ({"exposure_budget": 1, "leakage_from": "AUDIT", "norm": "group"}, "(norm batch there, group here)"),
        ({"exposure_budget": 1, "leakage_from": "AUDIT", "defense": ["gaussian-noise"]}, "(defense none there, gauss"),
        ({"exposure_budget": 1, "leakage_from": "COARSE"}, "(wire int4 there, fp32 here)"),
        ({"exposure_budget": 1, "leakage_from": "OTHER"}, "tier 3 sends 8x2x2 there, 8x4x4 here"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run_tiny, write_audit, tmp_path, values, said):
    audits = {
        "AUDIT": write_audit({1: 0.4, 2: 0.9, 3: 0.2}),
        "COARSE": write_audit({1: 0.4}, name="coarse.json", wire="int4"),
        "OTHER": write_audit({3: 0.4}, name="other.json", cuts={3: (8, 2, 2)}),
    }
    for name, audit in audits.items():
        if str(values.get("leakage_from", "")).startswith(name):
            values = {**values, "leakage_from": values["leakage_from"].replace(name, str(audit))}
    with pytest.raises(InputError) as refused:
        run_tiny("run", **values)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("values", [[0.1, 0.2, 9.0], [0.1, -0.2, 1.0], [0.1, float("nan"), 1.0]])
def test_exposures_beyond_the_budget_are_no_state_of_the_run(prepare_tiny, play, tmp_path, values):
    run = prepare_tiny(**LIMITED)
    ((state, _),) = play(run, 1)
    spoilt = torch.tensor(values, dtype=torch.float64).numpy()
    save_checkpoint(tmp_path, state)
    assert load_checkpoint(tmp_path, run.initial, run.settings.schedule, print).schedule.exposure_K.tolist() == (
        state.schedule.exposure_K.tolist()
    )
    save_checkpoint(tmp_path, replace(state, round=2, schedule=replace(state.schedule, exposure_K=spoilt)))
    heard: list[str] = []
    found = load_checkpoint(tmp_path, run.initial, run.settings.schedule, heard.append)
    assert found.round == 1
    assert "is not within the budget 2" in heard[0]


def planned(**values: object):
    config = make_config({"rounds": 12, "cpu_gmacs": 0.1, "link_unit": "mbyte", **values})
    return plan(config, input_shape=(1, 8, 8), images_per_client=150)


OF_RESNET = {"tier_leakage": "1=0.9,2=0.5,3=0.4,4=0.3"}


def test_a_plan_says_what_an_exposure_budget_costs():
    free, limited = planned(), planned(exposure_budget=6, **OF_RESNET)
    assert free.exposure is None
    assert limited.unlimited_time_s == free.virtual_time_s < limited.virtual_time_s
    assert limited.exposure is not None
    assert pytest.approx(12 * 0.3) == limited.exposure.median <= limited.exposure.highest <= 6 * (1 + 1e-9)
    ratio = limited.virtual_time_s / free.virtual_time_s
    assert planned_lines(limited) == [
        "exposure budget 6 for each client, paced; a release leaks tier 1: 0.9, tier 2: 0.5, tier 3: 0.4, tier 4: 0.3, "
        "as tier_leakage says",
        f"exposure at the end: {limited.exposure.highest:.4g} of 6 the most exposed client, "
        f"{limited.exposure.median:.4g} the median one; clients took part 120 times and rested 0 times",
        f"this takes {ratio:.2f} times as long as without limits",
    ]


def test_a_plan_ends_when_all_budgets_are_spent():
    short = planned(exposure_budget=1.3, exposure_spending="greedy", **OF_RESNET)
    assert len(short.rounds) < 12
    assert [*short.notes] == [
        "exposure budget 1.3 does not last: clients rest when they have spent theirs; 3.6 lasts for all 12 rounds",
        f"the run ends after round {len(short.rounds)} of 12: all clients have spent their exposure budgets",
    ]
    with pytest.raises(InputError, match=r"exposure budget 0\.1 is too small for a single round"):
        planned(exposure_budget=0.1, **OF_RESNET)


def test_a_plan_is_the_schedule_of_the_run(patterns, tiny_config, tmp_path):
    values = {**LIMITED, **OF_RESNET, "exposure_budget": 1, "exposure_spending": "greedy", "scheduler": "static:1"}
    config = tiny_config(model="resnet-8", **{**values, "dropout": 0.3, "seed": 4, "clients": 4, "fraction": 0.5})
    run = train(config, out=tmp_path / "run", dataset=patterns)
    result = plan(config, input_shape=(1, 8, 8), images_per_client=10, classes=3)
    assert [row.virtual_time_s for row in result.rounds] == [record["virtual_time_s"] for record in run.records]
    assert [row.rested for row in result.rounds] == [len(record["rested"]) for record in run.records]
    assert sum(row.rested for row in result.rounds)
    assert result.exposure is not None
    assert result.exposure.highest == run.summary["exposure"]["highest"]

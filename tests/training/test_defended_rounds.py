"""Defenses inside the trainer: what they are given, what is charged for them, and what a round makes of it."""

from dataclasses import replace
from functools import cache
from typing import ClassVar

import pytest
import torch

from dtfl_private import InputError, TrainConfig, train
from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.tier_floor import TierFloor
from dtfl_private.defenses.weight_jump import WeightJump
from dtfl_private.experiments.run_folder.checkpoint import load_checkpoint, save_checkpoint
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.models.cutting.staged import split
from dtfl_private.plugins.installed import installed
from dtfl_private.privacy.budget import planned_ledgers
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, Remark
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, Transcript, WeightUpdate
from dtfl_private.simulation.round_plan import planned_bytes
from dtfl_private.training.state import FederatedState
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker


@pytest.fixture(scope="module")
def defended(patterns, tiny_config):
    """Prepare a run of ResNet-8 on the patterns under these defenses."""

    def prepared(*defense: str, **values):
        return prepare(
            tiny_config(model="resnet-8", defense=list(defense), **values), objects=RunObjects(dataset=patterns)
        )

    return prepared


def spelled(name: str) -> str:
    """Give a defense settings that suit activations of one pixel."""
    return {"patch-shuffle": "patch-shuffle:1", "batch-patch-shuffle": "batch-patch-shuffle:1"}.get(name, name)


def method_for(name: str) -> dict[str, str]:
    """Return the method that a defense can act in: DTFL, which returns no gradient to be watched, or SplitFed."""
    return {"method": "splitfed-v1"} if name == "gradient-scrutinizer" else {}


@pytest.fixture(scope="module")
def under(defended):
    """Prepare two rounds under one defense, anew each time: ``under(name)``."""

    def prepared(name: str):
        # With this seed both complete round 1, so that both remember, and one drops out of round 2.
        settings = {"precision": "fp32", "clients": 2, "rounds": 2, "batch_size": 10, "dropout": 0.2, "seed": 8}
        return defended(spelled(name), **settings, **method_for(name))

    return prepared


@pytest.fixture(scope="module")
def played_under(under, play):
    """Two rounds under each defense, played once: ``played_under(name)``."""
    return cache(lambda name: play(under(name), 2))


@pytest.mark.parametrize("name", sorted(installed("defense")))
def test_rounds_under_every_defense_send_the_bytes_that_were_planned(under, played_under, name):
    prepared = under(name)
    settings = prepared.settings
    for state, outcome in played_under(name):
        assert outcome.traffic == planned_bytes(outcome.plan, settings.schedule.table, settings.registration)
        assert outcome.plan.tiers_P.min() >= prepared.worker.defense.tier_floor
        assert all(torch.isfinite(tensor).all() for tensor in state.weights.model.values())
        assert [entry["what"] for entry in outcome.privacy].count("smashed") == 1


def comparable(state: FederatedState) -> tuple[dict[str, bytes], object, object]:
    """Return all tensors of a state, and what else it holds."""
    kinds = {"model": state.weights.model, "extra": state.extras}
    kinds |= {f"head {tier}": head for tier, head in state.weights.heads.items()}
    kinds |= {f"memory {client}": memory for client, memory in state.memories.items()}
    tensors = {
        f"{kind} {key}": tensor.numpy().tobytes() for kind, all_ in kinds.items() for key, tensor in all_.items()
    }
    return tensors, state.ledgers, state.plateau


@pytest.mark.parametrize("name", sorted(installed("defense")))
def test_rounds_under_every_defense_go_on_exactly_from_a_checkpoint(under, played_under, play, tmp_path, name):
    """Memory, ledgers and chance are all that a defense has, and all of it is in the checkpoint."""
    (first, _), (expected, figures) = played_under(name)
    save_checkpoint(tmp_path, first)
    prepared, warnings = under(name), []  # with a defense that has seen nothing
    state = load_checkpoint(tmp_path, prepared.initial, prepared.settings.schedule, warnings.append)
    assert warnings == []
    ((resumed, outcome),) = play(replace(prepared, initial=state))
    assert comparable(resumed) == comparable(expected)
    for one in ("test_accuracy", "test_loss", "local_loss", "server_loss", "traffic", "macs", "privacy", "remarks"):
        assert getattr(outcome, one) == getattr(figures, one)


def test_worker_processes_pass_memory_and_guarantees_on(patterns, tiny_config, tmp_path):
    config = tiny_config(model="resnet-8", defense=["adversarial-decoder", "label-rr:2"], rounds=2)
    here = train(config, out=tmp_path / "here", dataset=patterns)
    there = train(config.model_copy(update={"workers": 2}), out=tmp_path / "there", dataset=patterns)
    assert [{**r, "wall_time_s": 0} for r in here.records] == [{**r, "wall_time_s": 0} for r in there.records]
    assert here.folder.model.read_bytes() == there.folder.model.read_bytes()


# Releases apart from the training.


def test_a_release_apart_sends_each_record_once_as_the_finished_client_half_sees_it(defended, play):
    huge = 1e6  # clips nothing
    prepared = defended(f"dp-activations:noise_multiplier=1e-12,clip={huge:g}", scheduler="static:2")
    transcript = Transcript()
    play(prepared, observers=[transcript.record])
    update = next(m for m in transcript.messages if isinstance(m, WeightUpdate) and m.client == 1)
    sent = [m for m in transcript.messages if isinstance(m, SmashedBatch) and m.client == 1]
    part = prepared.worker.parts[1]
    assert sum(len(message.labels) for message in sent) == len(part)

    half, _ = split(prepared.worker.model, 2)
    half.load_state_dict(update.weights)
    with torch.no_grad():
        inputs = prepared.worker.normaliser(prepared.worker.train_images[torch.from_numpy(part)])
        expected = half.eval()(inputs).flatten(1)
    smashed = torch.cat([message.smashed for message in sent]).flatten(1)
    distances = torch.cdist(smashed, expected)
    assert sorted(distances.argmin(dim=1).tolist()) == list(range(len(part)))
    assert distances.min(dim=1).values.max() < 0.01


def test_the_time_model_knows_the_second_pass(defended):
    plain = defended(norm="group").settings.schedule.table
    apart = defended("dp-activations:noise_multiplier=1").settings.schedule.table
    for before, after in zip(plain.rows, apart.rows, strict=True):
        assert (before.release_macs, after.release_macs) == (0, before.client_forward_macs)
        assert after.client_train_macs == before.client_train_macs


# Ledgers and budgets.


def noisy_release(epsilon: float) -> str:
    return f"dp-activations:noise_multiplier=20,clip=1,epsilon={epsilon}"


def test_what_was_released_adds_up_over_rounds_and_tiers(defended, play):
    prepared = defended("dp-activations:noise_multiplier=20,clip=1", dropout=0.0)
    spent = [outcome.privacy[0]["epsilon"] for _, outcome in play(prepared, 3)]
    assert spent[0] < spent[1] < spent[2]
    # Exact: mu = 2 sqrt(k) / s.
    assert spent[2] == pytest.approx(0.6206, abs=2e-3)


def test_a_client_whose_budget_is_spent_retires_and_the_run_ends_when_all_have(patterns, tiny_config, tmp_path):
    config = tiny_config(model="resnet-8", defense=[noisy_release(0.5)], fraction=0.67, rounds=9)
    run = train(config, out=tmp_path / "run", dataset=patterns)
    taken = [client for record in run.records for client in record["participants"]]
    # Two releases cost 0.49, three 0.62.
    assert {client: taken.count(client) for client in range(3)} == {0: 2, 1: 2, 2: 2}
    assert run.summary["rounds"] < 9
    assert run.summary["stopped"] == "all clients have spent their privacy budgets"
    assert run.summary["finished"]
    for record in run.records:
        assert not set(record["participants"]) & set(record["retired"])
    assert max(entry["epsilon"] or 0 for record in run.records for entry in record["privacy"]) <= 0.5
    assert read_records(run.folder)[0] == run.records
    # A resume of a run that ended so has nothing left to do.
    assert train(out=tmp_path / "run", resume=True, config=config, dataset=patterns).records == run.records


def test_the_run_stops_at_the_first_spent_budget_if_it_is_to(patterns, tiny_config, tmp_path):
    config = tiny_config(
        model="resnet-8", defense=[noisy_release(0.5)], fraction=0.67, rounds=9, on_budget="stop", seed=1
    )
    run = train(config, out=tmp_path / "run", dataset=patterns)
    taken = [client for record in run.records for client in record["participants"]]
    assert sorted(taken.count(client) for client in range(3)) != [2, 2, 2]
    assert "on_budget = stop" in run.summary["stopped"]


def test_a_budget_that_not_even_one_round_keeps_is_refused(defended):
    with pytest.raises(InputError, match="not a single round is within the privacy budget"):
        defended(noisy_release(0.2))


@pytest.mark.parametrize(("epsilon", "releases"), [(0.5, 2), (0.63, 3), (50, 9)])
def test_what_is_announced_is_what_the_budget_allows(defended, epsilon, releases):
    privacy = defended(noisy_release(epsilon)).settings.privacy
    assert [ledger[0].releases for ledger in planned_ledgers(privacy, 9).values()] == [releases] * 2  # 13 or 14 records
    assert planned_ledgers(defended().settings.privacy, 9) == {0: (), 1: ()}


def test_a_client_that_drops_out_is_charged_for_what_it_sent_and_for_the_weights_that_made_it(defended, play):
    prepared = defended("dp-weights:noise_multiplier=2", noisy_release(50), dropout=1.0)
    ((state, outcome),) = play(prepared)
    assert outcome.plan.dropped_P.all()
    sent = dict(zip(outcome.plan.clients_P.tolist(), outcome.plan.sent_batches_P.tolist(), strict=True))
    for client, ledger in state.ledgers.items():
        assert [guarantee.what for guarantee in ledger] == (["weights", "smashed"] if sent[client] else [])


# Norms.


def test_group_norm_is_chosen_as_soon_as_a_defense_needs_it(defended):
    assert defended("gaussian-noise").config.norm == "batch"
    assert defended("dp-weights:noise_multiplier=1").config.norm == "group"
    assert defended("gaussian-noise", norm="group").config.norm == "group"


def test_batch_norm_under_a_dp_defense_is_refused(defended, patterns, tiny_network, tiny_config):
    with pytest.raises(InputError, match=r"dp-activations cannot be combined with --norm batch: .* use --norm group"):
        defended("dp-activations:noise_multiplier=1", norm="batch")
    config = tiny_config(defense=["dp-activations:noise_multiplier=1"])
    with pytest.raises(InputError, match=r"batch norm \(stem\.1 is a BatchNorm2d\)"):
        prepare(config, objects=RunObjects(dataset=patterns, model=tiny_network()))


def test_dp_weights_trains_the_token_transformer_and_refuses_vit_s_dropout_before_anything_is_written(
    patterns, tiny_config, tmp_path
):
    tokens = tiny_config(
        dataset="sentences:train=30,test=10",
        model="transformer:depth=1",
        defense=["dp-weights:noise_multiplier=1"],
        rounds=1,
    )
    assert train(tokens, out=tmp_path / "tokens").records[0]["privacy"][0]["epsilon"] > 0
    vit = tiny_config(model="vit:depth=1,width=16", defense=["dp-weights:noise_multiplier=1"], rounds=1)
    with pytest.raises(
        InputError, match=r"parameters of its own next to dropout; switch dropout off, as in vit:dropout=0"
    ):
        train(vit, out=tmp_path / "vit", dataset=patterns)
    assert not (tmp_path / "vit").exists()
    assert train(
        vit.model_copy(update={"model": "vit:depth=1,width=16,dropout=0"}), out=tmp_path / "vit", dataset=patterns
    )


# Memory and guards.


class Counting(Defense):
    """Counts its client's rounds."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="nothing", acts_on=())

    def inspect(self, download: ModelDownload, at: ClientRound):
        seen = at.memory.get("rounds", torch.tensor(0))
        at.memory["rounds"] = seen + 1
        return (Remark(text=f"round {int(seen) + 1} of this client"),)


def test_what_a_defense_remembers_is_there_in_the_clients_next_round(prepare_tiny, play):
    prepared = prepare_tiny(defenses=[Counting(), Counting()], fraction=0.67)
    played = play(prepared, 3)
    state = played[-1][0]
    rounds = {client: sum(client in outcome.plan.clients_P for _, outcome in played) for client in range(3)}
    for client, memory in state.memories.items():
        assert {name: int(tensor) for name, tensor in memory.items()} == {
            "0/rounds": rounds[client],
            "1/rounds": rounds[client],
        }
    # The states of earlier rounds are as they were.
    assert {int(t) for memory in played[0][0].memories.values() for t in memory.values()} == {1}


def test_a_client_that_drops_out_forgets_the_round(prepare_tiny, play):
    state = play(prepare_tiny(defenses=[Counting()], dropout=1.0), 2)[-1][0]
    assert state.memories == {}


def test_a_tier_below_the_floor_is_never_scheduled_and_refused_when_offered_all_the_same(prepare_tiny):
    prepared = prepare_tiny(defenses=[TierFloor(modules=2)])
    assert prepared.settings.schedule.table.tiers_M.tolist() == [2, 3]
    undefended = prepare_tiny()
    transcript = Transcript()
    worker = Worker(replace(undefended.worker, defense=prepared.worker.defense), [transcript.record])
    task = ClientTask(client=0, round=1, tier=1, lr=0.01, batches=3, completes=True)
    (result,) = worker.setup.work.train(worker, [task], undefended.initial.weights)
    assert result.remarks == [Remark(text="tier 1 is below the floor of 2 modules", refuses=True)]
    assert transcript.messages == []
    assert result.model == {}
    assert {kind for kind, sent in result.traffic.items() if sent} == {"down_weights"}
    with pytest.raises(InputError, match="tier floor 9 leaves no tier"):
        prepare_tiny(defenses=[TierFloor(modules=9)])


def jumps(
    prepared, play, numbers: range, *, planted: int | None = None
) -> tuple[FederatedState, list[tuple[int, str]]]:
    """Play rounds, with weights planted before one of them; return the state and (round, remark) of all guards."""
    state, remarks = prepared.initial, []
    for number in numbers:
        if number == planted:
            model = {name: t + 3 if t.is_floating_point() else t for name, t in state.weights.model.items()}
            state = replace(state, weights=replace(state.weights, model=model))
        ((state, outcome),) = play(replace(prepared, initial=state))
        remarks += [(number, remark.text) for _, remark in outcome.remarks]
    return state, remarks


def test_planted_weights_are_noticed_and_training_is_not(prepare_tiny, play):
    honest = prepare_tiny(defenses=[WeightJump()], scheduler="static:2")
    state, none = jumps(honest, play, range(1, 6))
    assert none == []
    going_on = replace(honest, initial=state)
    assert jumps(going_on, play, range(6, 8))[1] == []
    noticed = jumps(going_on, play, range(6, 8), planted=6)[1]
    assert [number for number, _ in noticed] == [6, 6, 6]
    assert all("client weights jumped by" in text for _, text in noticed)
    refusing = prepare_tiny(defenses=[WeightJump(action="refuse")], scheduler="static:2")
    # Until then both have seen the same.
    assert jumps(replace(refusing, initial=state), play, range(6, 7), planted=6)[1] == noticed


def test_guards_are_logged_in_the_run(patterns, tiny_config, tmp_path, tiny_network):
    run = train(tiny_config(), out=tmp_path / "run", dataset=patterns, model=tiny_network(), defenses=[Counting()])
    assert run.records[2]["guard"] == [
        {"client": client, "text": "round 3 of this client", "refused": False} for client in range(3)
    ]


def test_the_default_configuration_has_no_defense():
    assert TrainConfig().defense == []
    assert DpActivations(noise_multiplier=1.0).tier_floor == 1


# What a review found.


def test_a_chain_inside_a_chain_hides_nothing(patterns, tiny_config):
    inner = DefenseChain([DpActivations(noise_multiplier=1.0)])
    prepared = prepare(tiny_config(model="resnet-8"), objects=RunObjects(dataset=patterns, defenses=[inner]))
    assert prepared.config.norm == "group"
    assert prepared.worker.defense.releases_apart
    with pytest.raises(InputError, match="dp-activations is given twice"):
        prepare(tiny_config(model="resnet-8"), objects=RunObjects(dataset=patterns, defenses=[inner, inner]))


class SelfTaught(Defense):
    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="nothing", acts_on=())

    def training_pass(self, training, at):
        return []


def test_a_defense_that_would_never_be_called_is_refused(prepare_tiny):
    with pytest.raises(InputError, match=r"self-taught trains the client half itself.*releases_apart=True"):
        prepare_tiny(defenses=[SelfTaught()])


def test_under_a_guarantee_per_record_no_input_depends_on_another_record(defended):
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    plain, private = defended().worker.normaliser, defended("dp-weights:noise_multiplier=1").worker.normaliser
    assert private(images).flatten().tolist() == pytest.approx([-1, 1], abs=1e-6)
    assert plain(images).flatten().tolist() != pytest.approx([-1, 1], abs=1e-2)


class Claiming(Defense):
    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="z", acts_on=("smashed",), guarantee="a bound of my own")


def test_a_claim_without_a_value_is_no_guarantee(prepare_tiny, play):
    ((_, outcome),) = play(prepare_tiny(defenses=[Claiming()]))
    assert outcome.privacy[0]["sentence"] == "smashed data pass claiming: no formal guarantee"

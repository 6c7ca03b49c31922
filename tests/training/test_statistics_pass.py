"""FedYogi and FedAdam under batch norm: its statistics are measured for the weights that the server stepped to."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.statistics import measure_statistics
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.guarantees import PrivacyTarget, SampledGaussian
from dtfl_private.protocol.messages import Transcript, WeightUpdate
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.simulation.round_plan import planned_bytes, planned_macs
from dtfl_private.training.method import Method
from dtfl_private.training.methods.server_optimizers import AdaptiveServer
from examples.paper_pseudocode import batches

UNEVEN = {"precision": "fp64", "partition": "dirichlet:1", "local_epochs": 2, "augment": []}


def by_hand(prepared, weights, participants, number: int) -> dict[str, torch.Tensor]:
    """Return the statistics of all images of these clients under these weights, from what each batch norm is given."""
    model = copy.deepcopy(prepared.worker.model)
    model.load_state_dict(weights)
    model.train()
    model.late[2].eval()  # no dropout
    seen: dict[str, list[torch.Tensor]] = {"stem.1": [], "body.1": []}
    with torch.no_grad():
        for client in participants:
            every = batches(prepared.worker, client, number)
            for x, _ in every[: len(every) // 2]:  # the first of two epochs: each image once
                convolved = model.stem[0](x)
                seen["stem.1"].append(convolved)
                seen["body.1"].append(model.body[0](model.stem[2](model.stem[1](convolved))))
    expected = {}
    for name, parts in seen.items():
        values = torch.cat(parts)
        expected[f"{name}.running_mean"] = values.mean(dim=(0, 2, 3))
        expected[f"{name}.running_var"] = values.var(dim=(0, 2, 3), correction=0)
    return expected


@pytest.mark.parametrize("name", ["fedyogi", "fedadam"])
def test_the_judged_statistics_are_those_of_the_participants_images_under_the_new_weights(prepare_tiny, play, name):
    prepared = prepare_tiny(method=f"{name}:server_lr=0.3", clients=4, fraction=0.7, **UNEVEN)
    for number, (state, outcome) in enumerate(play(prepared, 2), start=1):
        assert len({len(prepared.worker.parts[client]) for client in outcome.plan.clients_P}) > 1
        expected = by_hand(prepared, state.weights.model, outcome.plan.clients_P.tolist(), number)
        for key, tensor in expected.items():
            torch.testing.assert_close(state.weights.model[key], tensor, rtol=1e-9, atol=1e-12)


def test_who_dropped_out_measures_nothing(prepare_tiny, play):
    prepared = prepare_tiny(method="fedyogi", clients=6, dropout=0.5, seed=9, **UNEVEN)
    ((state, outcome),) = play(prepared)
    plan = outcome.plan
    assert 0 < plan.dropped_P.sum() < 6
    stayed = plan.clients_P[~plan.dropped_P].tolist()
    for key, tensor in by_hand(prepared, state.weights.model, stayed, 1).items():
        torch.testing.assert_close(state.weights.model[key], tensor, rtol=1e-9, atol=1e-12)
    images = [len(prepared.worker.parts[client]) for client in plan.clients_P]
    assert plan.measured_P.tolist() == np.where(plan.dropped_P, 0, images).tolist()
    table = prepared.settings.schedule.table
    assert outcome.traffic == planned_bytes(plan, table, prepared.settings.registration)
    assert outcome.macs == planned_macs(plan, table)


def test_the_pass_takes_its_time_after_the_slowest_client(prepare_tiny, play):
    """By hand, from FedAvg's round: the weights down, a forward pass, 12 means and variances up, two latencies."""
    common = {"clients": 5, "dropout": 0.3, "seed": 2}
    ((_, plain),) = play(prepare_tiny(method="fedavg", **common))
    prepared = prepare_tiny(method="fedyogi", **common)
    ((state, outcome),) = play(prepared)
    plan, settings = outcome.plan, prepared.settings.schedule
    assert 0 < plan.dropped_P.sum() < 5
    forward = 8 * 8 * 4 * 9 + 4 * 4 * 8 * (36 + 72) + 24
    weights = sum(t.numel() * t.element_size() for t in state.weights.model.values())
    passes_s = []
    for place, client in enumerate(plan.clients_P.tolist()):
        profile = settings.environment.profiles[state.schedule.environment.profile_K[client]]
        pass_s = 2 * profile.latency_ms / 1e3 + 8 * (weights / profile.down_mbit_s + 96 / profile.up_mbit_s) / 1e6
        pass_s += len(prepared.worker.parts[client]) * forward / (profile.cpus * settings.cpu_macs_per_s)
        alone_s = plain.plan.client_time_s_P[place]
        passes_s.append(0 if plan.dropped_P[place] else pass_s)
        assert plan.client_time_s_P[place] == pytest.approx(alone_s + passes_s[-1], rel=1e-9)
        own_s = plan.compute_s_P[place] + plan.transfer_s_P[place]
        assert plan.client_time_s_P[place] == pytest.approx(own_s, rel=1e-9)
    assert plan.round_time_s == pytest.approx(plain.plan.round_time_s + max(passes_s), rel=1e-9)
    assert outcome.virtual_time_s == plan.round_time_s


def digits(method: str) -> Prepared:
    """Prepare two rounds of three clients; 20 batches in each, so that running statistics have time to follow."""
    config = {"dataset": "digits:size=8", "model": "resnet-8", "max_train_images": 240, "clients": 3, "batch_size": 4}
    return prepare(TrainConfig(method=method, rounds=2, device="cpu", **config))


def test_the_average_of_the_clients_statistics_belongs_to_other_weights_than_the_servers(play, monkeypatch):
    """With it the very same weights lose at least 20 points (29 here); FedAvg's move by 10 at most (2 here)."""
    run = digits("fedyogi:server_lr=0.1")
    begun = replace(run, initial=play(run)[-1][0])  # statistics of the first round touch no weights of the second
    ours, outcome = play(begun)[-1]
    monkeypatch.setattr(AdaptiveServer, "measured", Method.measured)
    theirs, stale = play(begun)[-1]
    for name, _ in run.worker.model.named_parameters():
        assert torch.equal(ours.weights.model[name], theirs.weights.model[name])
    assert outcome.test_accuracy > stale.test_accuracy + 0.2

    run = digits("fedavg")
    state, averaged = play(run, 2)[-1]
    model = copy.deepcopy(run.worker.model)
    model.load_state_dict(state.weights.model)
    inputs = (x for client in range(3) for x, _ in batches(run.worker, client, 2))
    anew = {**state.weights.model, **measure_statistics(model, inputs, run.worker.numerics)}
    judged = InProcess(run.worker).evaluate(anew)
    assert abs(judged.correct / judged.images - averaged.test_accuracy) < 0.1


@pytest.fixture
def grouped(tiny_network):
    """Build the tiny network with group norm."""

    def build() -> StagedModel:
        network = tiny_network()
        network.stem[1], network.body[1] = torch.nn.GroupNorm(2, 4), torch.nn.GroupNorm(2, 8)
        return network

    return build


def test_group_norm_needs_no_pass_and_pays_for_none(prepare_tiny, play, grouped):
    transcripts = {"fedavg": Transcript(), "fedyogi": Transcript()}
    (plain, ours) = (
        play(prepare_tiny(method=name, model=grouped(), dropout=0.2), 2, [seen.record])
        for name, seen in transcripts.items()
    )
    assert len(transcripts["fedavg"].messages) == len(transcripts["fedyogi"].messages) > 0
    for (_, expected), (_, outcome) in zip(plain, ours, strict=True):
        assert (outcome.traffic, outcome.macs) == (expected.traffic, expected.macs)
        assert outcome.virtual_time_s == expected.virtual_time_s
        assert outcome.plan.client_time_s_P.tolist() == expected.plan.client_time_s_P.tolist()
        assert not outcome.plan.measured_P.any()


class Counting(Defense):
    """Refuses, as client 1, the second download of a round, and remembers how many it saw in all."""

    def inspect(self, download, at):
        seen = at.memory.get("seen", torch.tensor(0)) + 1
        at.memory["seen"] = seen
        return [Remark(text="no", refuses=at.client == 1 and int(seen) > download.round)]


def test_a_client_may_refuse_the_second_download_and_forgets_it(prepare_tiny, play):
    transcript = Transcript()
    prepared = prepare_tiny(method="fedyogi", defenses=[Counting()])
    ((state, outcome),) = play(prepared, 1, [transcript.record])
    measured = [message.client for message in transcript.messages if "stem.0.weight" not in message.weights]
    assert measured == [0, 2]
    assert len(outcome.remarks) == 6
    assert {int(memory["0/seen"]) for memory in state.memories.values()} == {1}
    whole = sum(t.numel() * t.element_size() for t in state.weights.model.values())
    assert outcome.traffic["down_weights"] == 6 * whole
    assert outcome.traffic["up_weights"] == 3 * whole + 2 * 96


class SameNoise(Defense):
    """Replaces all means by the first number that it draws."""

    facts = DefenseFacts(protects="", acts_on=("weights",))

    def protect_update(self, message, at):
        drawn = torch.rand((), generator=at.chance)
        means = {n: torch.full_like(t, float(drawn)) for n, t in message.weights.items() if "running_mean" in n}
        return replace(message, weights={**message.weights, **means})


def test_statistics_pass_the_defenses_with_chance_of_their_own(prepare_tiny, play):
    transcript = Transcript()
    play(prepare_tiny(method="fedyogi", defenses=[SameNoise()]), 1, [transcript.record])
    drawn = [float(m.weights["stem.1.running_mean"][0]) for m in transcript.messages if isinstance(m, WeightUpdate)]
    assert len(drawn) == len(set(drawn)) == 6


class Promise(Defense):
    """Guarantees something of the weight update."""

    facts = DefenseFacts(protects="", acts_on=("weights",))

    def guarantees(self, released):
        target = PrivacyTarget(delta=1e-5)
        return (SampledGaussian(noise_multiplier=1.0, sampling_rate=0.5, steps=released.steps, target=target),)


def test_a_guarantee_that_would_not_cover_the_statistics_is_refused(prepare_tiny, grouped):
    with pytest.raises(InputError, match=r"fedyogi has batch norm's statistics sent as well.*--norm group") as error:
        prepare_tiny(method="fedyogi", defenses=[Promise()])
    assert "\n" not in str(error.value)
    prepare_tiny(method="fedyogi", defenses=[Promise()], model=grouped())
    prepare_tiny(method="fedavg", defenses=[Promise()])

"""What every registered training method must do: on the tiny network, with three clients in the paper's environment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.dp_weights import DpWeights
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.checkpoint import load_checkpoint, save_checkpoint
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.compatibility import check_places
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import (
    GradientReply,
    LogitBatch,
    MiddleOutput,
    SmashedBatch,
    TailGradient,
    Transcript,
    WeightUpdate,
)
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.executors import open_executor
from dtfl_private.runtime.worker_pool import WorkerProcesses
from dtfl_private.simulation.round_plan import RoundPlan, planned_bytes, planned_macs
from dtfl_private.training.method import Method
from dtfl_private.training.round import run_round
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import LocalWork, Worker

METHODS = list(installed("method"))
SPLIT = {"splitfed-v1", "splitfed-v2"}
U_SHAPED = {"u-shaped"}
LOCAL = {"dtfl", "dtfl-full", "dtfl-shared", "local-loss"}
WHOLE = {"fedavg", "fedprox", "fedyogi", "fedadam", "tifl"}
MEASURING = {"fedyogi", "fedadam"}  # batch norm's statistics, in a pass of their own

# The tiny network by hand: bytes of parameters and buffers (a batch norm counts its batches in an int64), forward MACs.
STEM, BODY, LATE, TOP = 56 * 4 + 8, 328 * 4 + 8, 584 * 4, 27 * 4
HEAD = 27 * 4
MACS = {"stem": 8 * 8 * 4 * 9, "body": 4 * 4 * 8 * 36, "late": 4 * 4 * 8 * 72, "top": 24, "head": 24}
WHOLE_MACS = 2 * MACS["stem"] + 3 * (MACS["body"] + MACS["late"] + MACS["top"])
FORWARD_MACS, STATISTICS = MACS["stem"] + MACS["body"] + MACS["late"] + MACS["top"], 2 * (4 + 8) * 4
CUT_BYTES, LABEL_BYTES, LOGIT_BYTES = 8 * 4 * 4 * 4, 8, 3 * 4
SECOND_CUT_BYTES = 8 * 4 * 4 * 4  # behind late, whose output is as large
EPOCHS = 2


@pytest.fixture(scope="module")
def prepared(prepare_tiny) -> Mapping[str, Prepared]:
    """Each method, prepared; DTFL with the cut that the others have by default."""
    settings = {"local_epochs": EPOCHS, "scheduler": "static:2", "fraction": 1.0, "augment": ["crop"]}
    return {name: prepare_tiny(method=name, **settings) for name in METHODS}


@pytest.fixture(scope="module")
def played(prepared, play) -> Mapping[str, Any]:
    """Two rounds of each method in this process: state and outcome of each round."""
    return {name: play(prepared[name], 2) for name in METHODS}


def tensors_of(state) -> dict[str, torch.Tensor]:
    heads = {f"{tier}/{name}": t for tier, head in state.weights.heads.items() for name, t in head.items()}
    return {**state.weights.model, **heads, **{f"extra/{name}": t for name, t in state.extras.items()}}


def assert_same(ours, theirs) -> None:
    (state, outcome), (expected, figures) = ours, theirs
    tensors, wanted = tensors_of(state), tensors_of(expected)
    assert tensors.keys() == wanted.keys()
    assert [name for name, tensor in wanted.items() if not torch.equal(tensors[name], tensor)] == []
    for field in ("test_accuracy", "test_loss", "local_loss", "server_loss", "traffic", "macs", "virtual_time_s"):
        assert getattr(outcome, field) == getattr(figures, field)
    assert state.plateau == expected.plateau


def bytes_by_hand(name: str, plan: RoundPlan, images: int) -> dict[str, int]:
    """Return the bytes of a round whose participants have so many images in all."""
    clients, batches = len(plan.clients_P), {"up_smashed": 0, "up_labels": 0}
    weights = {**dict.fromkeys(LOCAL, STEM + BODY + HEAD), **dict.fromkeys(SPLIT, STEM + BODY)}
    weights |= dict.fromkeys(U_SHAPED, STEM + BODY + TOP)
    weights |= dict.fromkeys(WHOLE, STEM + BODY + LATE + TOP)
    if name in LOCAL | SPLIT:
        batches = {"up_smashed": EPOCHS * images * CUT_BYTES, "up_labels": EPOCHS * images * LABEL_BYTES}
    if name in SPLIT:
        batches["down_gradients"] = EPOCHS * images * CUT_BYTES
    if name in U_SHAPED:  # no label, and both ways at the second cut
        batches |= dict.fromkeys(("up_smashed", "down_gradients"), EPOCHS * images * CUT_BYTES)
        batches |= dict.fromkeys(("down_outputs", "up_gradients"), EPOCHS * images * SECOND_CUT_BYTES)
    if name == "fedgkt":  # each record once, whatever the epochs
        batches = {"up_smashed": images * CUT_BYTES, "up_labels": images * LABEL_BYTES}
        batches |= {"up_logits": images * LOGIT_BYTES, "down_logits": images * LOGIT_BYTES}
    sent = clients * weights.get(name, 0)
    if name in MEASURING:
        return {"down_weights": 2 * sent, "up_weights": sent + clients * STATISTICS, **batches}
    return {"down_weights": sent, "up_weights": sent, **batches}


def registration_by_hand(name: str, round_: int) -> dict[str, int]:
    """Three clients send a count and two sums of one channel, int64, and get a mean and a deviation, float64."""
    registered = 3 if round_ == 1 and name != "centralised" else 0
    return {"up_statistics": registered * 3 * 8, "down_statistics": registered * 2 * 8}


def macs_by_hand(name: str, images: int) -> dict[str, int]:
    """Return the MACs of a round: three passes where a gradient flows on, two where it ends."""
    client_half = 2 * MACS["stem"] + 3 * MACS["body"]
    server_half = 2 * MACS["late"] + 3 * MACS["top"]
    if name in WHOLE:
        measuring = images * FORWARD_MACS if name in MEASURING else 0
        return {"client": EPOCHS * images * WHOLE_MACS + measuring, "server": 0}
    if name == "centralised":
        return {"client": 0, "server": EPOCHS * images * WHOLE_MACS}
    if name in SPLIT:
        return {"client": EPOCHS * images * client_half, "server": EPOCHS * images * (server_half + MACS["late"])}
    if name in U_SHAPED:
        top = 3 * MACS["top"]
        return {"client": EPOCHS * images * (client_half + top), "server": EPOCHS * images * 3 * MACS["late"]}
    alone = client_half + 3 * MACS["head"]
    if name == "fedgkt":
        release = MACS["stem"] + MACS["body"] + MACS["head"]
        return {"client": images * (EPOCHS * alone + release), "server": images * server_half}
    return {"client": EPOCHS * images * alone, "server": EPOCHS * images * server_half}


@pytest.mark.parametrize("name", METHODS)
def test_bytes_and_macs_are_those_of_the_closed_formulas_and_of_the_schedule(prepared, played, name):
    parts, table = prepared[name].worker.parts, prepared[name].settings.schedule.table
    registration = prepared[name].settings.registration
    for _, outcome in played[name]:
        images = sum(len(parts[client]) for client in outcome.plan.clients_P)
        by_hand = bytes_by_hand(name, outcome.plan, images) | registration_by_hand(name, outcome.plan.round)
        assert outcome.traffic == by_hand == planned_bytes(outcome.plan, table, registration)
        assert outcome.macs == macs_by_hand(name, images) == planned_macs(outcome.plan, table)


@pytest.mark.parametrize("name", METHODS)
def test_the_simulated_time_is_that_of_the_bytes_and_macs_and_of_no_clock(prepared, played, name):
    """T_k without waiting, from each participant's own bytes and MACs and its profile; waits come on top."""
    settings = prepared[name].settings.schedule
    before = 0.0
    for state, outcome in played[name]:
        plan, waits = outcome.plan, []
        for place, client in enumerate(plan.clients_P.tolist()):
            profile = settings.environment.profiles[state.schedule.environment.profile_K[client]]
            images = len(prepared[name].worker.parts[client])
            one = replace(plan, clients_P=plan.clients_P[[place]])
            sent, work = bytes_by_hand(name, one, images), macs_by_hand(name, images)
            compute_s = work["client"] / (profile.cpus * settings.cpu_macs_per_s)
            server_s = work["server"] / (settings.server.cpus * settings.cpu_macs_per_s)
            up, down = (sum(n for kind, n in sent.items() if kind.startswith(way)) for way in ("up", "down"))
            transfer_s = 8 * (up / profile.up_mbit_s + down / profile.down_mbit_s) / 1e6
            both = max(compute_s, server_s) if name in LOCAL else compute_s + server_s
            waits.append(plan.client_time_s_P[place] - both - transfer_s)
        slowest_s = plan.client_time_s_P.max()  # with a second pass: in both, if it is the same client
        assert plan.round_time_s > 0
        assert plan.round_time_s >= slowest_s if name in MEASURING else plan.round_time_s == slowest_s
        assert np.min(waits) > -1e-9
        if name in {"splitfed-v2", "fedgkt", "dtfl-shared"}:
            assert plan.server_wait_s == pytest.approx(sum(waits), abs=1e-9)
        else:
            assert np.max(waits) < 1e-9
        assert outcome.virtual_time_s == pytest.approx(before + plan.round_time_s, rel=1e-12)
        before = outcome.virtual_time_s


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_something_and_judges_every_test_image_once(played, name):
    (first, opening), (second, outcome) = played[name]
    for judged in (opening, outcome):
        assert 0 <= judged.test_accuracy <= 1
        assert judged.test_accuracy * 12 == pytest.approx(round(judged.test_accuracy * 12))
        assert np.isfinite(judged.test_loss)
    changed = [not torch.equal(second.weights.model[n], t) for n, t in first.weights.model.items() if "weight" in n]
    assert all(changed)
    assert (outcome.local_loss is None) == (name in SPLIT | {"centralised"})
    assert (outcome.server_loss is None) == (name in WHOLE | U_SHAPED)


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_is_the_uninterrupted_one(prepared, played, play, tmp_path, name):
    run, warnings = prepared[name], []
    save_checkpoint(tmp_path, played[name][0][0])
    state = load_checkpoint(tmp_path, run.initial, run.settings.schedule, warnings.append)
    assert warnings == []
    (resumed,) = play(replace(run, initial=state))
    assert_same(resumed, played[name][1])


@dataclass(frozen=True)
class EveryWork:
    """The work of all methods in one pool of processes: a task says by its tag whose it is."""

    works: tuple[LocalWork, ...]
    parts: tuple[Any, ...]
    tails: tuple[int, ...]

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        number = int(tasks[0].extras["tag"])
        worker.setup = replace(worker.setup, parts=self.parts[number], tail=self.tails[number])
        own = [replace(task, extras={n: t for n, t in task.extras.items() if n != "tag"}) for task in tasks]
        return self.works[number].train(worker, own, weights)


class Tagged:
    """An executor that writes a method's number on its tasks."""

    def __init__(self, pool: WorkerProcesses, number: int) -> None:
        self._pool, self._number = pool, number

    def _tag(self, tasks: Sequence[ClientTask]) -> list[ClientTask]:
        return [replace(task, extras={**task.extras, "tag": torch.tensor(self._number)}) for task in tasks]

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        return self._pool.train(self._tag(tasks), weights)

    def train_groups(self, groups: Sequence[Sequence[ClientTask]], weights: GlobalWeights) -> Iterator[ClientResult]:
        return self._pool.train_groups([self._tag(tasks) for tasks in groups], weights)

    def evaluate(self, *arguments: Any) -> Any:
        return self._pool.evaluate(*arguments)


def test_worker_processes_give_the_same_rounds_bit_for_bit(prepared, played):
    """One pool for all methods, for starting one takes seconds."""
    runs = [prepared[name] for name in METHODS]
    workers = [run.worker for run in runs]
    works, parts, tails = (tuple(getattr(one, field) for one in workers) for field in ("work", "parts", "tail"))
    every = EveryWork(works=works, parts=parts, tails=tails)
    pool = open_executor(replace(prepared["dtfl"].worker, work=every), 2)
    assert isinstance(pool, WorkerProcesses)
    try:
        for number, name in enumerate(METHODS):
            state = prepared[name].initial
            for expected in played[name]:
                state, outcome = run_round(
                    prepared[name].method, state, prepared[name].settings, Tagged(pool, number), Callback()
                )
                assert_same((state, outcome), expected)
    finally:
        pool.close()


KINDS = {WeightUpdate: "weights", SmashedBatch: "smashed", LogitBatch: "logits", TailGradient: "tail gradients"}
ANSWERS = (GradientReply, MiddleOutput)


@pytest.mark.parametrize("name", METHODS)
def test_what_leaves_the_clients_is_what_the_method_says(prepared, play, name):
    transcript = Transcript()
    ((_, outcome),) = play(prepared[name], 1, [transcript.record])
    sends = set(prepared[name].method.sends)
    seen = {KINDS[type(message)] for message in transcript.messages if not isinstance(message, ANSWERS)}
    assert seen - {"logits", "tail gradients"} == sends - {"labels"}
    labelled = {message.labelled for message in transcript.messages if isinstance(message, SmashedBatch)}
    assert labelled == ({"labels" in sends} if "smashed" in sends else set())
    answered = any(isinstance(message, GradientReply) for message in transcript.messages)
    outputs = any(isinstance(message, MiddleOutput) for message in transcript.messages)
    assert outputs == ("tail gradients" in seen) == ("tail-gradients" not in prepared[name].method.hides)
    assert answered == ("replies" not in prepared[name].method.hides)
    assert ("logits" in seen) == ("logits" not in prepared[name].method.hides)
    assert not any(m.smashed.requires_grad for m in transcript.messages if isinstance(m, SmashedBatch))
    registered = {"statistics"} if prepared[name].statistics else set()
    told = {"labels"} if name in U_SHAPED else set()  # not sent, yet there is something to say of them
    assert {entry["what"] for entry in outcome.privacy} == (sends or {"smashed", "labels"}) | registered | told
    assert any("labels are not sent, but the gradients" in entry["sentence"] for entry in outcome.privacy) == bool(told)
    assert bool(registered) == (name != "centralised")
    said = {entry["sentence"] for entry in outcome.privacy}
    assert ("the server holds all inputs and labels themselves" in said) == (name == "centralised")
    if name in WHOLE:
        statistics = "each client's pixel count, sum and sum of squares per channel are sent once, in clear"
        assert said == {"weight updates are sent in clear", statistics}
    exempt = "smashed data and labels are sent in clear, except by clients that keep the whole network"
    assert (exempt in said) == (name in {"dtfl-full", "dtfl-shared"})


@pytest.mark.parametrize("name", METHODS)
def test_every_defense_can_act_where_it_wants_to_or_is_refused_in_one_line(name):
    method = create("method", name)
    assert isinstance(method, Method)
    for other in installed("defense"):
        defense = create("defense", other)
        wanted = set(defense.facts.acts_on)
        if wanted <= method.places:
            check_places(DefenseChain([defense]), method.places, name)
        else:
            with pytest.raises(
                InputError, match=rf"acts on .*method {name} defenses can act .*--method (dtfl|split)"
            ) as error:
                check_places(DefenseChain([defense]), method.places, name)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", METHODS)
def test_a_client_that_drops_out_leaves_what_it_had_sent_and_no_model(prepare_tiny, play, name):
    run = prepare_tiny(method=name, scheduler="static:2", dropout=1.0, seed=3)
    ((state, outcome),) = play(run)
    table = run.settings.schedule.table
    assert outcome.traffic == planned_bytes(outcome.plan, table, run.settings.registration)
    assert outcome.macs == planned_macs(outcome.plan, table)
    if name == "centralised":
        assert not outcome.plan.dropped_P.any()
        return
    assert outcome.plan.dropped_P.all()
    assert outcome.traffic["up_weights"] == 0
    for ours, theirs in zip(tensors_of(state).values(), tensors_of(run.initial).values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", METHODS)
def test_a_round_without_participants_changes_nothing(prepared, play, monkeypatch, name):
    everybody = frozenset(range(len(prepared[name].worker.parts)))
    monkeypatch.setattr("dtfl_private.training.round.spent_clients", lambda *_: everybody)
    ((state, outcome),) = play(prepared[name])
    assert len(outcome.plan.clients_P) == outcome.virtual_time_s == 0
    assert sum(outcome.traffic.values()) == sum(registration_by_hand(name, 1).values())
    for ours, theirs in zip(tensors_of(state).values(), tensors_of(prepared[name].initial).values(), strict=True):
        assert torch.equal(ours, theirs)


APART = {"dp-weights": DpWeights(noise_multiplier=1.0), "dp-activations": DpActivations(noise_multiplier=1.0)}


@pytest.mark.parametrize("defense", APART)
@pytest.mark.parametrize("name", METHODS)
def test_who_releases_apart_sends_after_its_training_or_is_refused(prepare_apart, play, name: str, defense: str):
    """T_k = T_train + T_com + max(T_release, T_s); who drops out while it trains has sent nothing."""
    method, chain = create("method", name), [APART[defense]]
    if not set(APART[defense].facts.acts_on) <= method.places:
        with pytest.raises(InputError, match=rf"acts on .*method {name} defenses can act"):
            prepare_apart(method=name, defenses=chain)
        return
    transcript, run = Transcript(), prepare_apart(method=name, defenses=chain)
    settings = run.settings.schedule
    rows, seen = {row.tier: row for row in settings.table.rows}, set()
    for state, outcome in play(run, 2, [transcript.record]):
        plan = outcome.plan
        assert outcome.traffic == planned_bytes(plan, settings.table)
        assert outcome.macs == planned_macs(plan, settings.table)
        for place, client in enumerate(plan.clients_P.tolist()):
            row, sent = rows[plan.tiers_P[place]], int(plan.sent_P[place])
            profile = settings.environment.profiles[state.schedule.environment.profile_K[client]]
            speed = profile.cpus * settings.cpu_macs_per_s
            training_s = plan.images_P[place] * row.client_train_macs / speed
            service_s = sent * row.server_train_macs / (settings.server.cpus * settings.cpu_macs_per_s)
            expected = training_s + plan.transfer_s_P[place] + max(sent * row.release_macs / speed, service_s)
            assert plan.client_time_s_P[place] == pytest.approx(expected, rel=1e-12)
            messages = [m for m in transcript.messages if (m.client, m.round) == (client, plan.round)]
            records = sum(len(m.labels) for m in messages if isinstance(m, SmashedBatch))
            assert records == (sent if row.smashed_bytes else 0)
            whole = plan.images_P[place] == len(run.worker.parts[client])
            assert whole or not messages
            seen.add((bool(plan.dropped_P[place]), bool(whole), records > 0))
    assert {(False, True, True), (True, False, False), (True, True, True)} <= seen


@pytest.fixture(scope="module")
def prepare_apart(patterns, tiny_config):
    """Prepare a run whose network has group norm and whose clients drop out often, in fixed tiers."""

    def prepared(*, defenses, **values):
        config = tiny_config(model="resnet-8", scheduler="static:2", dropout=0.7, server_cpus=0.3, seed=1, **values)
        return prepare(config, objects=RunObjects(dataset=patterns, defenses=defenses))

    return prepared

"""Formats that the server names client by client: as fine as the round's time allows, counted, sent, replayed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dtfl_private.attacks.shared.releaser import fingerprint
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import SmashedBatch, Transcript
from dtfl_private.simulation.round_plan import planned_bytes
from dtfl_private.simulation.schedule_state import WireOption
from dtfl_private.simulation.wire_choice import finest_within
from dtfl_private.training.recording import Recorder
from dtfl_private.training.round_record import round_record
from dtfl_private.training.tasks import tasks_of

OPTIONS = [
    WireOption(name="int4", image_bytes_M=np.array([10.0, 4.0])),
    WireOption(name="int8", image_bytes_M=np.array([20.0, 8.0])),
    WireOption(name="bf16", image_bytes_M=np.array([40.0, 16.0])),
]


@examples(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(0, 200)), min_size=1, max_size=6), st.data()
)
def test_each_takes_the_finest_format_with_which_it_is_within_the_limit(clients, data: st.DataObject):
    limit = data.draw(st.integers(0, 300))
    column, slowness, times = (np.array(values) for values in zip(*clients, strict=True))
    chosen = finest_within(OPTIONS, column, slowness.astype(float), times.astype(float), limit)
    for place, name in enumerate(chosen.names):
        sizes = [option.image_bytes_M[column[place]] for option in OPTIONS]
        late = [times[place] + (size - sizes[0]) * slowness[place] > limit for size in sizes]
        fitting = [number for number in range(3) if not late[number]] or [0]
        assert name == OPTIONS[fitting[-1]].name
        assert chosen.image_bytes_P[place] == sizes[fitting[-1]]


def test_who_was_never_measured_takes_the_coarsest():
    unknown = np.array([np.nan])
    assert finest_within(OPTIONS, np.array([0]), unknown, unknown, 5.0).names == ["int4"]


VALUES = {"wire": "scheduled", "clients": 6, "cpu_gmacs": 0.0005, "local_epochs": 2, "partition": "dirichlet:1"}


@pytest.fixture(scope="module", params=["dtfl", "dtfl-full", "dtfl-shared"])
def second_round(request, prepare_tiny, play):
    """The second round of a run in which all are measured: run, state before, outcome, messages."""
    run, transcript = prepare_tiny(method=request.param, scheduler="random", **VALUES), Transcript()
    (before, _), (_, outcome) = play(run, 2, [transcript.record])
    messages = [m for m in transcript.messages if isinstance(m, SmashedBatch) and m.round == 2]
    return run, before, outcome, messages


def test_no_format_makes_the_round_longer_and_no_client_could_have_a_finer_one(second_round):
    """With servers enough and nothing that changes, so that what is expected is what happens."""
    run, before, outcome, _ = second_round
    plan, schedule = outcome.plan, run.settings.schedule
    if run.config.method == "dtfl-shared":
        pytest.skip("clients wait for one another at one server network")
    assert {"int4", "bf16"} <= set(plan.wires)
    column = np.searchsorted(schedule.table.tiers_M, plan.tiers_P)
    coarsest = schedule.table.column("smashed_bytes")[column]
    truth = before.schedule.history.up_bytes_s_K[plan.clients_P]
    in_coarsest = plan.client_time_s_P - plan.sent_P * (plan.image_bytes_P - coarsest) / truth
    assert plan.round_time_s == pytest.approx(in_coarsest.max(), rel=1e-9)
    names = [option.name for option in schedule.wires]
    for place, name in enumerate(plan.wires):
        if (finer := names.index(name) + 1) < len(names):
            more = schedule.wires[finer].image_bytes_M[column[place]] - coarsest[place]
            assert in_coarsest[place] + plan.sent_P[place] * more / truth[place] > plan.round_time_s


def test_bytes_are_those_of_each_clients_own_format(second_round):
    run, _, outcome, messages = second_round
    assert outcome.traffic == planned_bytes(outcome.plan, run.settings.schedule.table)
    assert outcome.traffic["up_smashed"] == sum(m.smashed_bytes for m in messages)
    named = dict(zip(outcome.plan.clients_P.tolist(), outcome.plan.wires, strict=True))
    sizes = dict(zip(named, outcome.plan.image_bytes_P.tolist(), strict=True))
    most = {"int4": 16, "int8": 256, "bf16": 2**16}
    for message in messages:
        assert message.smashed_bytes == sizes[message.client] * len(message.labels)
        channels = message.smashed.flatten(2).flatten(0, 1)
        assert max(len(channel.unique()) for channel in channels) <= most[named[message.client]]
        assert (message.smashed.dtype == torch.bfloat16) == (named[message.client] == "bf16")
    assert round_record(outcome, 1.0)["wires"] == {str(client): name for client, name in named.items()}


def test_a_client_played_again_sends_in_the_same_format(second_round):
    run, before, outcome, messages = second_round
    recorder = Recorder(run.worker)
    for task in tasks_of(outcome.plan, before):
        sent = [message for message in messages if message.client == task.client]
        again = recorder.record(task, before.weights, batches=len(sent), whole=False).seen
        assert all(torch.equal(a.smashed, b.smashed) for a, b in zip(again.batches, sent, strict=True))
        assert again.download.wire == task.wire
        assert fingerprint(again.download) != fingerprint(replace(again.download, wire="fp32"))


@pytest.mark.parametrize("method", ["splitfed-v2", "local-loss", "fedgkt"])
def test_it_is_refused_where_there_are_no_tiers_to_schedule(prepare_tiny, method):
    with pytest.raises(InputError, match=f"--wire scheduled is refused: method {method} has no tiers to schedule"):
        prepare_tiny(method=method, wire="scheduled")

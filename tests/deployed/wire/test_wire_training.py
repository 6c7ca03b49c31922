"""A server half that trains on what came over the wire has, bit by bit, the weights of one in the same process."""

import copy
from types import SimpleNamespace

import pytest
import torch

from dtfl_private.deployed.wire.checks import ExpectedRound, Received, check_smashed, check_update
from dtfl_private.deployed.wire.frames import decode, encode
from dtfl_private.deployed.wire.kinds import OpenRound, Smashed, Update
from dtfl_private.deployed.wire.limits import LARGEST_FRAME, largest_frame, read_dtype, sent_cut
from dtfl_private.deployed.wire.server_checks import ExpectedDownload, check_open_round
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.models.cutting.staged import split
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.registry import create
from dtfl_private.protocol.messages import SmashedBatch, Transcript, WeightUpdate
from dtfl_private.training.participant import server_half
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker, honest_download
from tests.deployed.wire.frame_samples import same

WAYS = {
    "plain": {},
    "fp32": {"wire": "fp32"},
    "bf16": {"wire": "bf16"},
    "int8": {"wire": "int8"},
    "int4": {"wire": "int4"},
    "quantize": {"defense": "quantize:4"},
    "top-k": {"defense": "top-k:0.2"},
}


def run_of(prepare_tiny, way: str, numerics: Numerics) -> Prepared:
    values = dict(WAYS[way])
    defenses = [create("defense", values.pop("defense"))] if "defense" in values else None
    return prepare_tiny(
        **values,
        defenses=defenses,
        scheduler="static:2",
        local_epochs=2,
        batch_size=7,  # two batches in each epoch
        precision=numerics.precision,
        memory_format=numerics.memory_format,
    )


def expected_of(run: Prepared, task: ClientTask, session: int) -> ExpectedRound:
    setup = run.worker
    (row,) = run.settings.schedule.table.only({task.tier}).rows
    chain = setup.defense
    return ExpectedRound(
        session=session,
        client=task.client,
        download=honest_download(setup, task, run.initial.weights),
        batches=task.batches,
        records=len(setup.parts[task.client]),
        batch_size=setup.batch_size,
        classes=setup.classes,
        cut_shape=sent_cut(row),
        dtype=read_dtype(None if chain.wire is None else chain.wire.kind, setup.numerics),
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels-last"])
def test_what_came_over_the_wire_trains_the_same_server_half(prepare_tiny, play, way, precision, memory_format):
    numerics = Numerics(precision=precision, memory_format=memory_format)
    run, transcript = run_of(prepare_tiny, way, numerics), Transcript()
    play(run, 1, [transcript.record])
    sent = [message for message in transcript.messages if message.client == 1]
    batches = [message for message in sent if isinstance(message, SmashedBatch)]
    (update,) = (message for message in sent if isinstance(message, WeightUpdate))
    task = ClientTask(client=1, round=1, tier=2, lr=0.01, batches=len(batches), completes=True)
    setup = run.worker
    largest = largest_frame(run.settings.schedule.table, batch_size=setup.batch_size, numerics=numerics)
    expected, received = expected_of(run, task, session=3), Received()
    came = []
    for batch in batches:
        frame = decode(encode(Smashed(session=3, message=batch)), from_="client", largest=largest)
        received = check_smashed(frame, expected, received)
        assert same(frame.message.smashed, batch.smashed)
        assert frame.message.smashed.stride() == batch.smashed.stride()
        assert frame.message.smashed_bytes == batch.smashed_bytes
        came.append(frame.message)
    images = sum(len(batch.labels) for batch in batches)
    closing = encode(Update(session=3, message=update, compute_s=0.0, images=images))
    frame = decode(closing, from_="client", largest=largest)
    check_update(frame, expected, received)
    assert same(frame.message, update)
    trained = [_server_weights(run, task, messages) for messages in (batches, came)]
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def _server_weights(run: Prepared, task: ClientTask, messages: list[SmashedBatch]) -> dict[str, torch.Tensor]:
    worker = Worker(run.worker)
    torch.manual_seed(0)  # of dropout
    server = server_half(worker.setup, task, split(worker.model, task.tier)[1], run.initial.weights)
    for message in messages:
        server.train_on(message)
    return copy.deepcopy(server.weights())


def test_a_client_takes_the_weights_that_a_run_sends_it(prepare_tiny):
    run = prepare_tiny(scheduler="static:2")
    task = ClientTask(client=1, round=1, tier=2, lr=0.01, batches=3, completes=True)
    download = honest_download(run.worker, task, run.initial.weights)
    opened = OpenRound(session=3, message=download, lr=0.01, batches=3, profile="slow", deadline_s=60.0)
    frame = decode(encode(opened), from_="server", largest=2**24)
    expected = ExpectedDownload(session=3, client=1, tiers=(1, 2, 3), wires=(), batches=4, after_round=0, last_round=3)
    worker = Worker(run.worker)
    check_open_round(frame, expected, split(worker.model, 2)[0].state_dict(), worker.heads[2].state_dict())
    assert same(frame.message, download)


def test_batches_of_more_images_than_a_frame_holds_make_no_frame_that_no_client_takes():
    rows = [SimpleNamespace(cut_shape=(16, 32, 32), weight_bytes=1000)]
    assert (
        largest_frame(SimpleNamespace(rows=rows), batch_size=2**20, numerics=Numerics()) == LARGEST_FRAME == 2**31 - 1
    )

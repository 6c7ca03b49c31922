"""Smashed data on the wire: what arrives, in how many bytes, and that nothing else changes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.errors import InputError
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.release_reading import Reading, misfit
from dtfl_private.protection.wire_format import BITS, FINENESS, WireFormat
from dtfl_private.protocol.messages import SmashedBatch, Transcript
from dtfl_private.simulation.round_plan import planned_bytes

SENDING = ["dtfl", "dtfl-full", "dtfl-shared", "local-loss", "splitfed-v1", "splitfed-v2", "fedgkt"]


def message(smashed: torch.Tensor) -> SmashedBatch:
    return SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=smashed, labels=torch.zeros(len(smashed)).long())


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cut(*shape: int) -> Cut:
    size = 4 * math.prod(shape)
    return Cut(tier=1, input_shape=(1, 8, 8), cut_shape=shape, smashed_bytes=size, forward_macs=1, batch_size=4)


@pytest.mark.parametrize("kind", ["int8", "int4"])
@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(3, 2, 2, 4), (2, 5, 9), (4, 3, 8, 1)]))
def test_values_are_off_by_half_a_step_of_their_channels_range(kind, seed, shape):
    smashed = normal(*shape, seed=seed) * torch.logspace(-3, 3, shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
    channels = smashed.flatten(2)
    half_steps = (channels.amax(2) - channels.amin(2)) / (2 ** BITS[kind] - 1) / 2
    errors = (WireFormat(kind=kind).sent(message(smashed)).smashed - smashed).abs().flatten(2)
    assert (errors <= half_steps[:, :, None] * (1 + 1e-4) + 1e-6 * channels.abs().amax(2, keepdim=True)).all()


@pytest.mark.parametrize(
    ("kind", "shape", "size"),
    [
        ("fp32", (4, 3, 3), 144),
        ("bf16", (4, 3, 3), 72),
        ("int8", (4, 3, 3), 4 * (9 + 8)),
        ("int4", (4, 3, 3), 4 * (5 + 8)),
        ("int8", (4, 2, 4), 4 * (8 + 8)),
        ("int4", (64, 1, 1), 32 + 8),
        ("int8", (4, 7), 28 + 8),
        ("int8", (7,), 7 + 8),
        ("int4", (7,), 4 + 8),
    ],
)
def test_a_records_bytes_are_those_that_are_counted_before(kind, shape, size):
    wire = WireFormat(kind=kind)
    assert wire.sent(message(normal(5, *shape))).smashed_bytes == 5 * size
    assert wire.record_bytes(shape) == size == DefenseChain(wire=wire).wire_bytes(cut(*shape))


@given(shape=st.lists(st.integers(1, 20), min_size=1, max_size=3).filter(lambda shape: math.prod(shape) >= 8))
def test_a_coarser_format_is_never_larger(shape):
    sizes = [WireFormat(kind=kind).record_bytes(tuple(shape)) for kind in FINENESS]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("kind", ["int8", "int4"])
@pytest.mark.parametrize("planted", [math.nan, math.inf, 3e38])
def test_what_cannot_be_rounded_arrives_as_nan_and_spoils_its_channel_alone(kind, planted):
    smashed = normal(2, 3, 4, 4)
    smashed[1, 2, 0, 0], smashed[1, 2, 0, 1] = planted, -3e38
    arrived = WireFormat(kind=kind).sent(message(smashed)).smashed
    assert not arrived[1, 2].isfinite().all()
    assert arrived[0].isfinite().all()
    assert arrived[1, :2].isfinite().all()


def test_a_reader_knows_the_grid_of_each_channel():
    smashed = normal(2, 3, 4, 4) * torch.tensor([0.1, 1.0, 10.0]).reshape(1, 3, 1, 1)
    wire = WireFormat(kind="int4")
    arrived = wire.sent(message(smashed)).smashed
    reading = DefenseChain(wire=wire).read(Reading.of(arrived))
    steps = (smashed.flatten(2).amax(2) - smashed.flatten(2).amin(2)) / 15
    expected = (steps / 12**0.5)[:, :, None, None]
    assert torch.allclose(torch.as_tensor(reading.deviation), expected, rtol=1e-4)
    assert reading.shape == "uniform"
    # An error of a step counts the same in every channel, however small its values are.
    errors = [
        misfit(reading, arrived + steps[:, :, None, None] * (torch.arange(3) == c).reshape(1, 3, 1, 1))
        for c in range(3)
    ]
    assert torch.allclose(errors[0], errors[1], rtol=1e-3)
    assert torch.allclose(errors[1], errors[2], rtol=1e-3)


def test_it_comes_after_all_defenses():
    at = ClientRound(seed=0, client=0, round=1, tier=1, records=9, classes=2)
    chain = DefenseChain([GaussianNoise(sd=1.0)], WireFormat(kind="int4"))
    arrived = chain.protect_batch(message(normal(2, 3, 4, 4)), at).smashed
    assert all(len(channel.unique()) <= 16 for channel in arrived.flatten(0, 1))
    assert not list(chain.undefended)
    assert chain.undefended.wire == chain.wire


@pytest.mark.parametrize("method", SENDING)
@pytest.mark.parametrize("wire", ["bf16", "int8"])
def test_every_method_counts_its_bytes_in_table_schedule_and_traffic(prepare_tiny, play, method, wire):
    run = prepare_tiny(method=method, wire=wire, scheduler="static:2")
    transcript = Transcript()
    ((_, outcome),) = play(run, 1, [transcript.record])
    planned = planned_bytes(outcome.plan, run.settings.schedule.table, run.settings.registration)
    assert outcome.traffic == planned
    sent = [m for m in transcript.messages if isinstance(m, SmashedBatch)]
    assert sent
    assert sum(m.smashed_bytes for m in sent) == outcome.traffic["up_smashed"]
    assert wire == "int8" or {m.smashed.dtype for m in sent} == {torch.bfloat16}
    plain = prepare_tiny(method=method, scheduler="static:2").settings.schedule.table.rows[0]
    assert run.settings.schedule.table.rows[0].smashed_bytes < plain.smashed_bytes


def test_the_clients_own_training_is_untouched_and_the_server_trains_on_what_arrives(prepare_tiny, play):
    thin, plain = (
        play(prepare_tiny(method="dtfl", wire=wire, scheduler="static:2", precision="fp64"), 1)[0][0].weights.model
        for wire in ("int4", "auto")
    )
    client = [name for name in plain if name.startswith(("stem", "body"))]
    assert all(torch.equal(thin[name], plain[name]) for name in client)
    server = [name for name in plain if name.startswith(("late", "top")) and "weight" in name]
    assert not any(torch.equal(thin[name], plain[name]) for name in server)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "fedavg"}, "--wire is the format of smashed data, and method fedavg sends none: leave it out"),
        ({"defense": ["quantize"]}, "quantize packs the smashed data itself: leave --wire out"),
    ],
)
def test_it_is_refused_where_it_would_do_nothing(prepare_tiny, values, words):
    with pytest.raises(InputError, match=words):
        prepare_tiny(wire="int8", **values)

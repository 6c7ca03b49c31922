"""What a client believes of the server's frames: what its own configuration and network allow."""

import hashlib
from dataclasses import replace

import pytest
import torch
from torch import nn

from dtfl_private.deployed.wire import server_checks
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import (
    ClassScale,
    Closed,
    Finish,
    Measure,
    OpenRound,
    Probe,
    Scale,
    Welcome,
)
from dtfl_private.deployed.wire.server_checks import ExpectedDownload
from dtfl_private.protocol.messages import ChannelScale, ClassWeights, ModelDownload

MODULES = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
HEAD = nn.Linear(2, 3).state_dict()
EXPECTED = ExpectedDownload(
    session=5, client=4, tiers=(2, 3), wires=("int8", "int4"), batches=6, after_round=7, last_round=9
)
DOWNLOAD = ModelDownload(client=4, round=8, tier=2, weights=MODULES, head=HEAD, wire="int8")
OPEN = OpenRound(session=5, message=DOWNLOAD, lr=0.1, batches=6, profile="slow", deadline_s=60.0)


def opened(**changes: object) -> OpenRound:
    own = {name: changes.pop(name) for name in ("session", "lr", "batches", "deadline_s") if name in changes}
    return replace(OPEN, **own, message=replace(DOWNLOAD, **changes))


def check(frame: OpenRound) -> None:
    server_checks.check_open_round(frame, EXPECTED, MODULES, HEAD)


def test_a_round_of_the_runs_own_network_is_trained():
    check(OPEN)
    check(opened(wire=None, tier=3, batches=1))
    counted = {**MODULES, "1.num_batches_tracked": torch.tensor(70)}
    check(opened(weights=counted))
    # However far the client's own module has counted.
    server_checks.check_open_round(OPEN, EXPECTED, counted, HEAD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"session": 4}, "session 4, this is session 5"),
        ({"client": 3}, "for client 3, this is client 4"),
        ({"round": 7}, "round 7, expected 8 to 9"),
        ({"round": 10}, "round 10, expected 8 to 9"),
        ({"tier": 1}, "tier 1, this client can be in 2, 3"),
        ({"wire": "fp32"}, "wire format fp32, the run has int8, int4"),
        ({"lr": 101.0}, "learning rate 101, expected above 0 and at most 100"),
        ({"lr": -0.1}, "learning rate -0.1"),
        ({"lr": float("nan")}, "learning rate nan"),
        ({"batches": 0}, "0 batches, this client's records make 6"),
        ({"batches": 7}, "7 batches, this client's records make 6"),
        ({"deadline_s": 0.0}, "no time is left until the deadline"),
        ({"weights": {}}, "weights: '0.bias' is missing"),
        ({"weights": {**MODULES, "2.weight": torch.ones(1)}}, "weights: '2.weight' is unknown"),
        ({"weights": {**MODULES, "0.bias": torch.ones(3)}}, r"weights: 0.bias is torch.float32 \(3,\), expected"),
        ({"weights": {**MODULES, "0.bias": torch.ones(2).half()}}, r"weights: 0.bias is torch.float16"),
        ({"weights": {**MODULES, "0.bias": torch.tensor([1, torch.inf])}}, "weights: 0.bias are not finite"),
        ({"weights": {**MODULES, "1.running_var": -torch.ones(2)}}, "weights: 1.running_var has a negative variance"),
        ({"weights": {**MODULES, "1.num_batches_tracked": torch.tensor(-1)}}, "weights: the counter"),
        ({"head": {}}, "head: 'bias' is missing"),
    ],
)
def test_a_round_that_the_run_does_not_have_is_not_trained(changes, said):
    with pytest.raises(WireError, match=f"^open-round: {said}"):
        check(opened(**changes))


def test_a_probe_is_held_against_the_same_network():
    probe = Probe(session=5, message=replace(DOWNLOAD, round=0, wire=None), lr=0.1)
    server_checks.check_probe(probe, EXPECTED, MODULES, HEAD)
    for wrong, said in (
        (replace(probe, session=4), "session 4"),
        (replace(probe, lr=1e9), "learning rate 1e"),
        (replace(probe, message=replace(DOWNLOAD, tier=1)), "tier 1, this client can be in 2, 3"),
        (replace(probe, message=replace(DOWNLOAD, client=0)), "for client 0"),
        (replace(probe, message=replace(DOWNLOAD, head={})), "head: 'bias' is missing"),
    ):
        with pytest.raises(WireError, match=f"^probe: {said}"):
            server_checks.check_probe(wrong, EXPECTED, MODULES, HEAD)


def test_a_run_without_named_formats_has_its_own():
    with pytest.raises(WireError, match="wire format int8, the run has its own"):
        server_checks.check_open_round(OPEN, replace(EXPECTED, wires=()), MODULES, HEAD)


def test_a_welcome_brings_the_configuration_that_it_announces_and_that_is_pinned():
    config = "rounds = 3\n"
    digest = hashlib.sha256(config.encode()).hexdigest()
    good = Welcome(
        session=1,
        run="run",
        client=4,
        config=config,
        config_sha256=digest,
        largest=2**20,
        classes=("a", "b"),
        input_shape=(1, 8, 8),
    )
    server_checks.check_welcome(good, client=4)
    server_checks.check_welcome(good, client=4, pinned_sha256=digest)
    for wrong, said in (
        (replace(good, session=0), "session 0, expected 1 or more"),
        (replace(good, client=3), "for client 3, this is client 4"),
        (replace(good, largest=2**31), "frames of 2,147,483,648 bytes, at most 2,147,483,647 are read"),
        (replace(good, config="rounds = 4\n"), "the configuration's SHA-256 is .*, .* was announced"),
    ):
        with pytest.raises(WireError, match=f"^welcome: {said}"):
            server_checks.check_welcome(wrong, client=4)
    with pytest.raises(WireError, match=f"SHA-256 is {digest}, this client has pinned {'0' * 64}"):
        server_checks.check_welcome(good, client=4, pinned_sha256="0" * 64)


def test_what_is_closed_or_finished_is_this_round():
    finish, closed = Finish(session=5, round=8), Closed(session=5, round=8, accepted=True)
    server_checks.check_finish(finish, session=5, round_number=8)
    server_checks.check_closed(closed, session=5, round_number=8)
    for changes, said in (({"session": 4}, "session 4"), ({"round": 7}, ".*round 7, this is round 8")):
        with pytest.raises(WireError, match=f"^finish: {said}"):
            server_checks.check_finish(replace(finish, **changes), session=5, round_number=8)
        with pytest.raises(WireError, match=f"^closed: {said}"):
            server_checks.check_closed(replace(closed, **changes), session=5, round_number=8)


def test_a_measurement_asks_for_no_more_than_is_sent():
    measure = Measure(session=5, number=1, payload=b"", reply_bytes=100)
    server_checks.check_measure(measure, session=5, most_reply_bytes=100)
    for wrong, said in (
        (replace(measure, session=6), "session 6"),
        (replace(measure, reply_bytes=101), "asks for 101 bytes, at most 100"),
    ):
        with pytest.raises(WireError, match=f"^measure: {said}"):
            server_checks.check_measure(wrong, session=5, most_reply_bytes=100)


def test_pixels_are_scaled_by_what_pixels_can_have():
    half = torch.full((3,), 0.5, dtype=torch.float64)
    good = ChannelScale(client=4, mean=half, deviation=half)

    def check_scale(message: ChannelScale, session: int = 5) -> None:
        server_checks.check_scale(Scale(session=session, message=message), session=5, client=4, channels=3)

    check_scale(good)
    for changes, said in (
        ({"client": 3}, "for client 3"),
        ({"mean": half[:2]}, r"mean is torch.float64 \(2,\), expected float64 \(3,\)"),
        ({"deviation": half.float()}, "deviation is torch.float32"),
        ({"mean": half * torch.nan}, "values of mean are not finite"),
        ({"mean": half * 3}, "means .*, expected 0 to 1"),
        ({"mean": -half}, "means .*, expected 0 to 1"),
        ({"deviation": half * 0}, "deviations .*, expected above 0"),
        ({"deviation": half * 1.1}, "deviations .*, expected above 0 and at most 0.5"),
    ):
        with pytest.raises(WireError, match=f"^scale: {said}"):
            check_scale(replace(good, **changes))
    with pytest.raises(WireError, match=r"^scale: session 4"):
        check_scale(good, session=4)


def test_classes_weigh_something_finite():
    good = ClassWeights(client=4, weights=torch.tensor([1.0, 0, 2]).double())

    def check_weights(message: ClassWeights, session: int = 5) -> None:
        server_checks.check_class_scale(ClassScale(session=session, message=message), session=5, client=4, classes=3)

    check_weights(good)
    for changes, said in (
        ({"client": 3}, "for client 3"),
        ({"weights": good.weights[:2]}, r"torch.float64 \(2,\), expected float64 \(3,\)"),
        ({"weights": good.weights.float()}, "torch.float32"),
        ({"weights": good.weights / 0}, "values are not finite"),
        ({"weights": -good.weights}, "a weight is negative"),
    ):
        with pytest.raises(WireError, match=f"^class-weights: {said}"):
            check_weights(replace(good, **changes))
    with pytest.raises(WireError, match=r"^class-weights: session 4"):
        check_weights(good, session=4)

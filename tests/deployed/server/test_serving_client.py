"""One client's round at the server: whatever the client sends, the round ends in time, and says what was wrong."""

import re
import threading
from dataclasses import replace

import pytest
import torch

from dtfl_private.deployed.server import serving_client
from dtfl_private.deployed.server.serving_client import Rules, ServedClient
from dtfl_private.deployed.sessions.channel import ChannelClosedError
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.wire.checks import ExpectedRound
from dtfl_private.deployed.wire.frames import decode, encode
from dtfl_private.deployed.wire.kinds import Closed, Finish, OpenRound, Smashed, Update, Withdrawn
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, WeightUpdate
from dtfl_private.training.tasks import ClientTask

SESSION, CLIENT, ROUND, TIER = 5, 2, 3, 1
PATIENCE_S = 300.0
DOWNLOAD = ModelDownload(client=CLIENT, round=ROUND, tier=TIER, weights={"w": torch.zeros(2)}, head={})
EXPECTED = ExpectedRound(
    session=SESSION,
    client=CLIENT,
    download=DOWNLOAD,
    batches=2,
    records=8,
    batch_size=4,
    classes=3,
    cut_shape=(2,),
    dtype=torch.float32,
)


class Half:
    """Stands for the server's modules: knows what it was trained on."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def train_on(self, message: SmashedBatch) -> None:
        self.batches.append(message.batch)


def batch(number: int, **changes) -> bytes:
    message = SmashedBatch(
        client=CLIENT,
        round=ROUND,
        tier=TIER,
        batch=number,
        smashed=torch.ones(4, 2),
        labels=torch.zeros(4, dtype=torch.int64),
    )
    return encode(Smashed(session=SESSION, message=replace(message, **changes)))


def update(compute_s: float = 0.5, **changes) -> bytes:
    message = WeightUpdate(
        client=CLIENT, round=ROUND, tier=TIER, examples=8, weights={"w": torch.tensor([1.0, 2.0])}, head={}
    )
    message = replace(message, **changes)
    return encode(Update(session=SESSION, message=message, compute_s=compute_s, images=message.examples))


class Served:
    """A round with a client that sends these frames, and what it came to."""

    def __init__(self, *frames: bytes, then=None, rules: Rules | None = None) -> None:
        self.session = Session("client", 10_000)
        self.session.number = SESSION
        self.half = Half()
        sending = threading.Thread(target=self._send, args=(frames, then))
        sending.start()
        self.update, self.claimed_s, self.played = self._client(rules or Rules(deadline_s=PATIENCE_S)).play()
        self.session.incoming.close()
        sending.join(PATIENCE_S)

    def _send(self, frames, then) -> None:
        try:
            for frame in frames:
                self.session.arrived(frame)
            if then is not None:
                then(self.session)
        except ChannelClosedError:
            pass

    def _client(self, rules: Rules) -> ServedClient:
        task = ClientTask(client=CLIENT, round=ROUND, tier=TIER, lr=0.1, batches=2, completes=True, profile="client")
        return ServedClient(
            session=self.session,
            task=task,
            download=DOWNLOAD,
            expected=EXPECTED,
            server=self.half,
            rules=rules,
            turns=threading.Semaphore(1),
            draws=None,
            device="cpu",
            observer=lambda _: None,
        )

    def told(self) -> list:
        """Return what the client was told."""
        frames = []
        while True:
            try:
                frames.append(decode(self.session.outgoing.get(0.0), from_="server", largest=10_000))
            except (TimeoutError, ChannelClosedError):
                return frames


@pytest.fixture
def soon(monkeypatch) -> Rules:
    """Rules under which a client that does not answer is given up at once."""
    monkeypatch.setattr(serving_client, "LEAST_GRACE_S", 0.05)
    monkeypatch.setattr(serving_client, "LAST_WORDS_S", 0.0)
    return Rules(deadline_s=0.05)


def test_a_whole_round():
    served = Served(batch(0), batch(1), update())
    assert served.update.weights["w"].tolist() == [1.0, 2.0]
    assert served.claimed_s == 0.5
    assert served.half.batches == [0, 1]
    played = served.played
    assert (played.batches, played.images, played.completed, played.stopped) == (2, 8, True, False)
    assert played.refused == ()
    assert [type(frame) for frame in served.told()] == [OpenRound]
    assert (played.traffic["down_weights"], played.traffic["up_smashed"]) == (8, 64)
    assert (played.traffic["up_labels"], played.traffic["up_weights"]) == (64, 8)


NAN = torch.full((4, 2), float("nan"))


@pytest.mark.parametrize(
    ("frames", "why", "trained"),
    [
        ([b"GET / HTTP/1.1\r\n\r\n"], "not a frame of dtfl-private", []),
        ([batch(0, smashed=NAN)], "smashed: activations are not finite", []),
        ([batch(0, smashed=torch.ones(4, 3))], r"activations of shape \(3,\), the cut of tier 1 is \(2,\)", []),
        ([batch(0, smashed=torch.ones(4, 2).bfloat16())], "activations are torch.bfloat16, expected torch.float32", []),
        ([batch(0, client=0)], "says it is of client 0, the certificate is that of client 2", []),
        ([batch(0, round=4)], "of round 4, this is round 3", []),
        ([batch(0, labels=torch.full((4,), 3))], "labels from 3 to 3, expected 0 to 2", []),
        ([batch(1)], "batch 1, expected batch 0", []),
        ([batch(0), batch(1), batch(2)], "more than the 2 batches of the round", [0, 1]),
        (
            [batch(0), update(examples=4, weights={"w": torch.tensor([1.0, float("inf")])})],
            "update: weights: w are not",
            [0],
        ),
        ([batch(0), update(examples=4, weights={"w": torch.zeros(3)})], r"w is torch.float32 \(3,\), expected", [0]),
        ([batch(0), update(examples=9)], "9 examples, expected 1 to 4", [0]),
        ([update(123.0).replace(b'"compute_s":123.0', b'"compute_s":NaN  ')], "update|header", []),
        ([update()[:-1]], "update", []),
        ([encode(Withdrawn(session=SESSION, round=ROUND, reason="privacy budget spent"))], "it takes no part", []),
    ],
)
def test_what_a_client_may_not_send_puts_it_out_by_name_and_its_session_stays(frames, why, trained):
    served = Served(*frames)
    assert served.update is None
    assert served.played.completed is False
    (reason,) = served.played.refused
    assert re.search(why, reason)
    assert served.half.batches == trained
    assert not served.session.is_lost


def test_claims_that_are_no_seconds_cannot_be_sent():
    for claim in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError, match="compute_s"):
            update(claim)


def test_what_is_left_of_earlier_rounds_is_passed_over():
    late = [batch(1, round=2), update(round=2), encode(Withdrawn(session=SESSION, round=1, reason=""))]
    served = Served(*late, batch(0), batch(1), update())
    assert served.update is not None
    assert served.half.batches == [0, 1]


def test_late_frames_without_end_do_not_hold_up_a_round(soon):
    def flood(session: Session) -> None:
        while True:
            session.arrived(batch(0, round=2))

    served = Served(then=flood, rules=soon)
    assert served.update is None
    assert served.session.is_lost


def test_a_straggler_is_averaged_as_far_as_it_got(soon):
    def finish(session: Session) -> None:
        kinds = []
        while Finish not in kinds:
            kinds.append(type(decode(session.outgoing.get(PATIENCE_S), from_="server", largest=10_000)))
        session.arrived(update(examples=4))

    served = Served(batch(0), then=finish, rules=Rules(deadline_s=soon.deadline_s, stragglers="average"))
    if served.update is not None:  # on a machine that was too busy to answer within the grace it is given up
        assert served.update.examples == 4
        assert (served.played.completed, served.played.stopped, served.played.batches) == (True, True, 1)


def test_a_straggler_that_is_dropped_keeps_its_session(soon):
    served = Served(batch(0), rules=replace(soon, stragglers="drop"))
    assert served.update is None
    assert served.played.refused == ("not done after 0.05 s",)
    assert [type(frame) for frame in served.told()] == [OpenRound, Finish]
    assert not served.session.is_lost


def test_a_client_that_does_not_answer_loses_its_session_and_is_told_why(soon, monkeypatch):
    monkeypatch.setattr(serving_client, "LAST_WORDS_S", PATIENCE_S)  # it listens
    told = []

    def listen(session: Session) -> None:
        while True:
            told.append(decode(session.outgoing.get(PATIENCE_S), from_="server", largest=10_000))

    served = Served(then=listen, rules=soon)
    assert served.played.refused == ("no update 0.05 s after the deadline",)
    assert served.session.why_lost == "no update 0.05 s after the deadline"
    assert [type(frame) for frame in told] == [OpenRound, Finish, Closed]
    assert (told[2].accepted, told[2].reason) == (False, "no update 0.05 s after the deadline")


def lost_after_opening(session: Session) -> None:
    session.outgoing.get(PATIENCE_S)
    session.lose("the connection ended")


def test_an_update_that_had_arrived_counts_although_the_session_has_ended():
    served = Served(batch(0), batch(1), update(), then=lost_after_opening)
    assert served.update is not None


def test_a_session_that_ends_in_mid_round():
    served = Served(batch(0), then=lost_after_opening)
    assert served.update is None
    assert served.played.refused == ("the session ended: the connection ended",)
    assert (served.played.batches, served.half.batches) == (1, [0])

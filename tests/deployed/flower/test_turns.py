"""Sessions that travel in turns: what goes with which message, and what is not believed."""

from importlib.metadata import version

import numpy as np
import pytest
import torch

from dtfl_private.deployed.flower import turns
from dtfl_private.deployed.flower.content import Answer
from dtfl_private.deployed.flower.courier import Reply
from dtfl_private.deployed.flower.turns import ALL_READ, RelayedSession, TurnSession
from dtfl_private.deployed.sessions.session import SessionLostError
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import decode, encode
from dtfl_private.deployed.wire.kinds import (
    Closed,
    Finish,
    Goodbye,
    Hello,
    OpenRound,
    Probed,
    Register,
    Scale,
    Welcome,
)
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import ChannelScale, ModelDownload

LARGEST = 2**21
HELLO = encode(Hello(version=version("dtfl-private")))
AGAIN = encode(Hello(version=version("dtfl-private"), config_sha256="0" * 64, last_run="run"))
REGISTER = encode(Register(session=7, images=30))
PROBED = encode(Probed(session=7, batch_s=0.5, images=4))
WELCOME = Welcome(
    session=7,
    run="run",
    client=0,
    config="",
    config_sha256="0" * 64,
    largest=LARGEST,
    classes=("a", "b"),
    input_shape=(1, 8, 8),
)
SCALE = Scale(session=7, message=ChannelScale(client=0, mean=torch.zeros(1).double(), deviation=torch.ones(1).double()))
CLOSED, GOODBYE = Closed(session=7, round=1, accepted=True), Goodbye(session=7, reason="done")
DOWNLOAD = ModelDownload(client=0, round=1, tier=1, weights={"w": torch.ones(2)}, head={})
OPEN = OpenRound(session=7, message=DOWNLOAD, lr=0.1, batches=1, profile="client", deadline_s=10.0)


class Side:
    """A relayed session with what it has posted, by a clock that stands."""

    def __init__(self):
        self.posted, self.ended_by, self.now_s = [], [], 0.0
        self.session = RelayedSession(
            LARGEST, HELLO, 6.0, post=self.posted.append, gone=self.ended_by.append, clock=lambda: self.now_s
        )

    def answers(self, *frames, outcome="done", why=""):
        self.session.answered(Reply(answer=Answer(outcome=outcome, why=why), frames=frames))

    def asks(self):
        """Begin a turn, without waiting for what comes of it."""
        with pytest.raises(TimeoutError):
            self.session.receive(0.0)

    def greeted(self):
        assert isinstance(self.session.receive(0.0), Hello)
        self.session.send(WELCOME)
        self.session.number = 7
        self.asks()
        self.answers(AGAIN, REGISTER)
        assert self.session.receive(0.0) == Register(session=7, images=30)
        return self


def test_what_opens_a_session_goes_with_every_message_and_its_answers_are_read_once():
    side = Side().greeted()
    assert side.posted == [[encode(WELCOME)]]
    side.session.send(SCALE)
    side.session.send(CLOSED)
    assert len(side.posted) == 1  # it waits for its turn
    side.now_s = 4.0
    side.asks()
    assert side.posted[1] == [encode(WELCOME), encode(SCALE), encode(CLOSED)]
    side.now_s = 8.0
    side.answers(AGAIN, REGISTER, PROBED)
    assert side.session.receive(0.0) == Probed(session=7, batch_s=0.5, images=4)
    assert side.session.fixed_latency_s == 0.0  # the greeting took no time by this clock
    assert side.session.bytes_in == len(HELLO) + len(AGAIN + REGISTER) + len(AGAIN + REGISTER + PROBED)
    assert side.session.bytes_out == sum(len(frame) for frames in side.posted for frame in frames)


def test_there_is_one_turn_at_a_time():
    side = Side().greeted()
    side.session.send(CLOSED)
    side.asks()
    side.session.send(CLOSED)
    side.asks()
    assert len(side.posted) == 2
    side.answers(AGAIN, REGISTER, PROBED)
    side.session.receive(0.0)
    side.asks()
    assert len(side.posted) == 3


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ((), "has no frame"),
        ((REGISTER, AGAIN), "begins with hello"),
        ((encode(Hello(version="0.0.0")), REGISTER), "install the same version"),
        ((AGAIN, encode(Register(session=7, images=31)), PROBED), "something else of its images"),
        ((AGAIN, PROBED), "something else of its images"),
        ((b"junk", REGISTER), "first 10 say what it is"),
    ],
)
def test_a_client_that_greets_otherwise_than_before_is_out(frames, why):
    side = Side().greeted()
    side.session.send(CLOSED)
    side.asks()
    side.answers(*frames)
    with pytest.raises(SessionLostError, match=why):
        side.session.receive(0.0)
    assert side.ended_by == [None]


def test_frames_of_another_session_are_refused_where_they_are_read():
    side = Side().greeted()
    side.session.send(CLOSED)
    side.asks()
    side.answers(AGAIN, REGISTER, encode(Probed(session=6, batch_s=0.5, images=4)))
    with pytest.raises(WireError, match="session 6, expected 7"):
        side.session.receive(0.0)


def test_a_reply_that_ends_too_early_ends_the_session_instead_of_waiting_for_the_deadline():
    side = Side().greeted()
    side.session.send(CLOSED)
    side.asks()
    side.answers(AGAIN, REGISTER)
    with pytest.raises(SessionLostError, match="ends too early"):
        side.session.receive(600.0)
    assert side.ended_by == [None]


@pytest.mark.parametrize("outcome", ["lost", "refused"])
def test_a_turn_that_fails_ends_the_session_by_name(outcome):
    side = Side().greeted()
    side.session.send(CLOSED)
    side.asks()
    side.answers(outcome=outcome, why="of the disk")
    with pytest.raises(SessionLostError, match=f"{outcome}: of the disk"):
        side.session.receive(0.0)
    assert side.ended_by == [Answer(outcome=outcome, why="of the disk")]


def test_a_session_that_is_given_up_has_left_once_its_turn_is_over_and_takes_nothing_of_it():
    side = Side().greeted()
    side.session.send(CLOSED)
    side.asks()
    side.session.finish(why="too slow")
    assert side.ended_by == []
    side.answers(AGAIN, REGISTER, PROBED)
    assert side.ended_by == [None]
    assert list(side.session.last_words()) == []
    assert len(side.posted) == 2


def test_the_last_words_go_in_a_message_of_their_own():
    side = Side().greeted()
    side.session.send(CLOSED)
    side.session.send(GOODBYE)
    side.session.finish()
    assert side.posted[1] == [encode(WELCOME), encode(CLOSED), encode(GOODBYE)]
    side.answers(AGAIN, REGISTER, outcome="ended", why="done")
    assert side.ended_by == [None]
    with pytest.raises(SessionLostError):
        side.session.send(WELCOME)


def test_a_client_reads_its_turn_and_then_knows_that_nothing_more_comes():
    turn = TurnSession([encode(WELCOME), encode(GOODBYE)])
    assert turn.receive(60.0) == WELCOME
    turn.number = 7
    turn.send(Register(session=7, images=30))
    assert turn.receive() == GOODBYE
    with pytest.raises(TimeoutError):
        turn.receive(0.0)  # in the middle of a round
    with pytest.raises(SessionLostError, match=ALL_READ):
        turn.receive()
    assert turn.all_read
    assert turn.said() == [REGISTER]


def test_a_client_tells_itself_once_when_the_deadline_is_here(monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(turns.time, "monotonic", lambda: now_s[0])
    turn = TurnSession([encode(OPEN)])
    turn.number = 7
    np.testing.assert_equal(turn.receive().deadline_s, 10.0)
    now_s[0] = 109.9
    with pytest.raises(TimeoutError):
        turn.receive(0.0)
    now_s[0] = 110.0
    assert turn.receive(0.0) == Finish(session=7, round=1)
    with pytest.raises(TimeoutError):
        turn.receive(0.0)
    assert list(turn.last_words()) == []


def test_a_round_too_large_for_a_reply_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(turns, "MOST_BYTES", len(REGISTER))
    turn = TurnSession([])
    turn.send(decode(REGISTER, from_="client", largest=LARGEST))
    with pytest.raises(InputError, match="needs transport session"):
        turn.send(decode(REGISTER, from_="client", largest=LARGEST))

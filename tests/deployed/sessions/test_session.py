"""A session: what was sent before it ended counts, and nobody waits at one that has."""

import threading

import pytest

from dtfl_private.deployed.sessions.session import WAITING_FRAMES, Session, SessionLostError, expect
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import encode
from dtfl_private.deployed.wire.kinds import Finish, Goodbye, Withdrawn

PATIENCE_S = 60.0


@pytest.fixture
def session() -> Session:
    """A server's side of session 7."""
    made = Session("client", largest=10_000)
    made.number = 7
    return made


def frame(session: int = 7, number: int = 1) -> bytes:
    return encode(Withdrawn(session=session, round=number, reason="why"))


def test_frames_arrive_and_are_counted(session):
    session.arrived(frame())
    assert session.receive() == Withdrawn(session=7, round=1, reason="why")
    assert session.bytes_in == len(frame())
    session.send(Finish(session=7, round=1))
    assert session.outgoing.get() == encode(Finish(session=7, round=1))
    assert session.bytes_out == len(encode(Finish(session=7, round=1)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (frame(session=6), "session 6, expected 7"),
        (b"GET / HTTP/1.1\r\n\r\n", "not a frame of dtfl-private"),
        (encode(Goodbye(session=7, reason="")), "a client never sends it"),
        (bytes(10_001), "at most 10,000 are read"),
    ],
)
def test_what_does_not_belong_to_a_session_is_refused(session, data, why):
    session.arrived(data)
    with pytest.raises(WireError, match=why):
        session.receive()


def test_what_had_come_before_a_session_ended_can_still_be_received(session):
    session.arrived(frame())
    session.lose("the cable was cut")
    session.lose("and more")
    assert session.receive().round == 1
    with pytest.raises(SessionLostError, match="the cable was cut"):
        session.receive()
    with pytest.raises(SessionLostError, match="the cable was cut"):
        session.send(Finish(session=7, round=1))


def test_last_words_leave_out_what_is_no_frame(session):
    for data in (b"?", frame(number=1), frame(session=1), frame(number=2)):
        session.arrived(data)
    session.lose("")
    assert [message.round for message in session.last_words()] == [1, 2]


def test_whoever_sends_more_than_is_taken_waits_until_the_session_ends(session):
    """Back-pressure: a sender is as fast as the other side reads, and is released when that is gone."""
    for number in range(1, WAITING_FRAMES + 1):
        session.send(Finish(session=7, round=number))
    with pytest.raises(TimeoutError):
        session.send(Finish(session=7, round=9), timeout_s=0.0)
    found: list[str] = []

    def send() -> None:
        try:
            session.send(Finish(session=7, round=9))
        except SessionLostError as error:
            found.append(str(error))

    thread = threading.Thread(target=send)
    thread.start()
    session.lose("gone")
    thread.join(PATIENCE_S)
    assert found == ["gone"]
    assert session.bytes_out == sum(len(encode(Finish(session=7, round=n))) for n in range(1, WAITING_FRAMES + 1))


def test_a_session_that_is_finished_waits_until_what_was_sent_is_on_its_way(session):
    session.send(Finish(session=7, round=1))
    finishing = threading.Thread(target=session.finish, args=(PATIENCE_S, "done"))
    finishing.start()
    assert session.outgoing.get() == encode(Finish(session=7, round=1))
    finishing.join(PATIENCE_S)
    assert not finishing.is_alive()
    assert (session.is_lost, session.why_lost) == (True, "done")


def test_a_frame_of_another_kind_than_is_due():
    with pytest.raises(WireError, match="frame 'withdrawn' where 'finish' was due"):
        expect(Withdrawn(session=1, round=1, reason=""), Finish)

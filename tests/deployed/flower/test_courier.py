"""Between the server and Flower: letters go out once, and every one of them is answered."""

import contextlib
import threading
from types import SimpleNamespace

import pytest

from dtfl_private.deployed.flower import courier as courier_module
from dtfl_private.deployed.flower.content import Answer, Turn, written
from dtfl_private.deployed.flower.courier import Courier, Letter, Reply

PATIENCE_S = 600.0
DONE = Answer(outcome="done")


class Grid:
    """Answers each message as it is told to."""

    def __init__(self, *replies):
        self.replies, self.pushed, self.waiting, self.fails = list(replies), [], {}, 0

    def get_nodes(self):
        return [SimpleNamespace(node_id=2**63, name="client-0")]

    def push_messages(self, messages):
        (message,) = messages
        self.pushed.append(message)
        reply = self.replies.pop(0)
        if reply is ValueError:
            raise reply("no such node")
        if reply is None:
            return [None]
        number = f"m{len(self.pushed)}"
        if reply != "never":
            self.waiting[number] = reply
        return [number]

    def pull_messages(self, numbers):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the SuperLink is away\nfor a moment")
        return [came(number, self.waiting.pop(number)) for number in [*numbers] if number in self.waiting]


def came(number, reply):
    is_error = isinstance(reply, tuple)
    return SimpleNamespace(
        metadata=SimpleNamespace(reply_to_message_id=number),
        has_error=lambda: is_error,
        error=SimpleNamespace(code=reply[0], reason=reply[1]) if is_error else None,
        content=reply,
    )


@contextlib.contextmanager
def carrying(grid):
    """Yield a courier, what it says, and what sends a letter and waits for its reply."""
    said = []
    made = Courier(grid, said.append, lambda *message: message, poll_s=0.001)

    def asked(fields=None, frames=(), within_s=30.0):
        replies, is_there = [], threading.Event()

        def answered(reply):
            replies.append(reply)
            is_there.set()

        made.post(Letter(node=5, fields=fields or Turn(client=0), frames=frames, within_s=within_s, answered=answered))
        assert is_there.wait(PATIENCE_S)
        return replies[0]

    seen = []
    made.start(seen.append, largest=10)
    try:
        yield asked, said, seen
    finally:
        made.close(within_s=PATIENCE_S)
    assert seen[0] == {2**63: "client-0"}


def test_a_letter_goes_to_its_node_and_its_reply_comes_back():
    grid = Grid(written(DONE, [b"one", b"two"]))
    with carrying(grid) as (asked, said, _):
        assert asked(frames=[b"asked"]) == Reply(answer=DONE, frames=[b"one", b"two"])
    ((content, node, within_s),) = grid.pushed
    assert (content, node, within_s) == (written(Turn(client=0), [b"asked"]), 5, 30.0)
    assert said == []


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((8, "crashed\x1b[2J"), r"Flower says \(8\): crashed"),
        (ValueError, "Flower does not take the message: no such node"),
        (None, "Flower does not take the message"),
        (written(Turn(client=0)), "of kind 'turn', expected answer"),
        (written(DONE, [b"eleven bytes"]), "a frame of 12 bytes, at most 10 are read"),
    ],
)
def test_whatever_comes_in_place_of_an_answer_ends_the_session_by_name(reply, why):
    with carrying(Grid(reply)) as (asked, _, _):
        lost = asked()
    assert lost.answer.outcome == "lost"
    assert lost.answer.why.isprintable()
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(lost.answer.why)


def test_a_letter_that_nobody_answers_is_given_up_after_its_time(monkeypatch):
    monkeypatch.setattr(courier_module, "OVERDUE_S", 0.0)
    with carrying(Grid("never")) as (asked, _, _):
        assert asked(within_s=0.01).answer.why == "no answer within 0.01 s"


def test_a_superlink_that_is_away_for_a_moment_ends_nothing(monkeypatch):
    monkeypatch.setattr(courier_module, "NODES_S", 0.0)
    grid = Grid(written(DONE))
    grid.fails = 3
    with carrying(grid) as (asked, said, _):
        assert asked().answer == DONE
    assert said == ["Flower does not answer: the SuperLink is away for a moment"] * 3


def test_closing_waits_for_what_is_under_way_but_not_for_ever():
    grid, said = Grid("never"), []
    made = Courier(grid, said.append, lambda *message: message, poll_s=0.001)
    made.start(lambda _: None, largest=10)
    made.post(Letter(node=5, fields=Turn(client=0), within_s=1000.0, answered=said.append))
    made.close(within_s=0.05)
    assert len(grid.pushed) == 1
    assert said == []

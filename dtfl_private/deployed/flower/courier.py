"""Carries messages to Flower's nodes and their replies back: one thread, the only one that talks to Flower."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from dtfl_private.deployed.flower.attendance import Nodes
from dtfl_private.deployed.flower.content import Answer, read, written
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.printable import cut, one_line

POLL_S = 0.25
"""Between two questions to Flower: it is asked over the loopback interface."""

NODES_S = 2.0
"""Between two questions who is there."""

OVERDUE_S = 60.0
"""After a message's time has run out, Flower says so itself within so many seconds; or else it is given up."""

LONGEST_REASON = 300


class Grid(Protocol):
    """What is used of Flower's ``Grid``."""

    def get_nodes(self) -> Any:
        """Return the nodes that are online."""
        ...

    def push_messages(self, messages: Any) -> Any:
        """Send messages; return their ids."""
        ...

    def pull_messages(self, message_ids: Any) -> Any:
        """Return the replies that have come."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came of a letter.

    Attributes:
        answer: of the node; ``lost`` if Flower has none, with what it says.
        frames: that came with it.
    """

    answer: Answer
    frames: Sequence[bytes] = ()


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A message to a node.

    Attributes:
        node: Flower's id of it.
        fields: of the message.
        frames: likewise.
        within_s: for which message and reply are good.
        answered: called once with what came of it, in the courier's thread.
    """

    node: int
    fields: BaseModel
    frames: Sequence[bytes] = ()
    within_s: float
    answered: Callable[[Reply], None]


class Courier:
    """Talks to Flower in a thread of its own, from `start` to `close`.

    Args:
        grid: Flower's.
        say: called with a line for people.
        message: makes a message of content, node and time to live; by default Flower's own.
        poll_s: see `POLL_S`.
    """

    def __init__(
        self,
        grid: Grid,
        say: Callable[[str], None],
        message: Callable[[Any, int, float], Any] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._grid, self._say, self._message, self._poll_s = grid, say, message or _flower_message, poll_s
        self._largest = 0
        self._seen: Callable[[Nodes], None] = lambda _: None
        self._letters: list[Letter] = []
        self._under_way: dict[str, tuple[Letter, float]] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._carry_on, daemon=True, name="to Flower")
        self._look_s = 0.0

    def start(self, seen: Callable[[Nodes], None], largest: int) -> None:
        """Begin.

        Args:
            seen: called now and then with the nodes that are online.
            largest: bytes of the largest frame that is taken.
        """
        self._seen, self._largest = seen, largest
        self._thread.start()

    def post(self, letter: Letter) -> None:
        """Send a letter as soon as possible."""
        with self._changed:
            self._letters.append(letter)
            self._changed.notify_all()

    def close(self, within_s: float) -> None:
        """End, once all letters are answered or after so many seconds; nobody is told any more who is online."""
        with self._changed:
            self._seen = lambda _: None
            self._changed.wait_for(lambda: not self._letters and not self._under_way, within_s)
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _carry_on(self) -> None:
        while not self._closing:
            try:
                self._once()
            except Exception as error:  # of Flower's, whatever it is: the SuperLink may be back the next time
                self._say(f"Flower does not answer: {_words(error)}")
                time.sleep(NODES_S)
            with self._changed:
                if not self._letters and not self._closing:
                    self._changed.wait(self._poll_s)

    def _once(self) -> None:
        """Send what waits, take what has come, and look who is there."""
        with self._changed:
            letters, self._letters = self._letters, []
            for letter in letters:  # at once, so that `close` waits for them
                self._under_way[f"unsent {id(letter)}"] = letter, time.monotonic() + letter.within_s
        for letter in letters:
            self._push(letter)
        sent = [number for number in self._under_way if not number.startswith("unsent")]
        for message in self._grid.pull_messages(sent) if sent else ():
            self._came(message)
        for number, (letter, until_s) in list(self._under_way.items()):
            if time.monotonic() > until_s + OVERDUE_S:
                self._tell(number, lost(f"no answer within {letter.within_s:g} s"))
        if time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + NODES_S
            self._seen({int(node.node_id): str(node.name) for node in self._grid.get_nodes()})

    def _push(self, letter: Letter) -> None:
        unsent = f"unsent {id(letter)}"
        try:
            content = written(letter.fields, letter.frames)
            (number,) = self._grid.push_messages([self._message(content, letter.node, letter.within_s)])
        except Exception as error:  # as above; whoever has sent it tries again
            self._tell(unsent, lost(f"Flower does not take the message: {_words(error)}"))
            return
        if number is None:
            self._tell(unsent, lost("Flower does not take the message"))
            return
        with self._changed:
            self._under_way[str(number)] = self._under_way.pop(unsent)

    def _came(self, message: Any) -> None:
        number = str(message.metadata.reply_to_message_id)
        if number not in self._under_way:
            return
        if message.has_error():
            self._tell(number, lost(f"Flower says ({message.error.code}): {_words(message.error.reason)}"))
            return
        try:
            answer, frames = read(message.content, Answer, largest=self._largest)
        except WireError as error:
            self._tell(number, lost(str(error)))
        else:
            self._tell(number, Reply(answer=answer, frames=frames))

    def _tell(self, number: str, reply: Reply) -> None:
        letter, _ = self._under_way[number]
        letter.answered(reply)
        with self._changed:
            del self._under_way[number]
            self._changed.notify_all()


def lost(why: str) -> Reply:
    """Return the reply to a letter that has none."""
    return Reply(answer=Answer(outcome="lost", why=why))


def _words(error: object) -> str:
    return cut(one_line(str(error) or type(error).__name__), LONGEST_REASON)


def _flower_message(content: Any, node: int, within_s: float) -> Any:
    from flwr.app import Message, MessageType

    return Message(content, node, MessageType.TRAIN, ttl=within_s)

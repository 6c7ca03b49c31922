"""Flower as the courier sees it, without Flower's processes: each message starts a client, as a SuperNode does.

What crosses from one side to the other are the bytes of Flower's own records.
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import SimpleNamespace
from typing import Any

from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecords

from dtfl_private.deployed.flower.client_app import answered
from dtfl_private.deployed.flower.content import written

Answering = Callable[[Any, Mapping[str, Any]], Any]
"""What a client does with the content of a message and its node's configuration; returns the content of the reply."""


def as_a_client(content: Any, node_config: Mapping[str, Any]) -> Any:
    """Answer as the written app does."""
    return written(*answered(content, node_config, lambda _: None))


def sent(content: Any) -> bytes:
    """Return a content as it travels."""
    return recorddict_to_proto(content).SerializeToString()


def received(data: bytes) -> Any:
    """Return the content that has travelled."""
    return recorddict_from_proto(ProtoRecords.FromString(data))


@dataclass
class UnderWay:
    """A message whose reply has not come yet."""

    process: BaseProcess
    pipe: Connection


@dataclass
class ForkingGrid:
    """A federation whose nodes are online all the time.

    nodes: configurations, by id. names: of the registered keys, by id. answering: what clients do, by id. messages: the
    contents that were sent. killed: messages to kill right after they are delivered, by their position.
    """

    nodes: Mapping[int, Mapping[str, Any]]
    names: Mapping[int, str]
    answering: Mapping[int, Answering] = field(default_factory=dict)
    messages: list[tuple[int, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._under_way: dict[str, UnderWay] = {}
        self._numbers = itertools.count()

    def get_nodes(self) -> list[Any]:
        return [SimpleNamespace(node_id=node, name=self.names[node]) for node in self.nodes]

    def message(self, content: Any, node: int, within_s: float) -> Any:
        """Make a message, as `Courier` wants it."""
        return SimpleNamespace(content=content, node=node, within_s=within_s)

    def push_messages(self, messages: Iterable[Any]) -> list[str]:
        return [self._start(one) for one in messages]

    def pull_messages(self, numbers: Iterable[str]) -> list[Any]:
        return [reply for number in numbers if (reply := self._reply(number)) is not None]

    def close(self) -> None:
        """End what still runs."""
        for one in self._under_way.values():
            one.process.kill()
            one.process.join()
            one.pipe.close()

    def kill(self, node: int) -> None:
        """End the process of a node that is under way."""
        for number, one in self._under_way.items():
            if number.endswith(f"@{node}"):
                one.process.kill()

    def _start(self, message: Any) -> str:
        self.messages.append((message.node, message.content))
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe()
        answering = self.answering.get(message.node, as_a_client)
        arguments = (theirs, answering, sent(message.content), dict(self.nodes[message.node]))
        process = context.Process(target=_answer, args=arguments, daemon=True)
        process.start()
        theirs.close()
        number = f"{next(self._numbers)}@{message.node}"
        self._under_way[number] = UnderWay(process, ours)
        return number

    def _reply(self, number: str) -> Any:
        one = self._under_way[number]
        if not one.pipe.poll(0.0):
            return None
        try:
            content, error = received(one.pipe.recv_bytes()), None
        except EOFError:
            content, error = None, SimpleNamespace(code=8, reason="the process has crashed")
        one.process.join()
        one.pipe.close()
        del self._under_way[number]
        return SimpleNamespace(
            metadata=SimpleNamespace(reply_to_message_id=number),
            has_error=lambda: error is not None,
            error=error,
            content=content,
        )


def _answer(pipe: Connection, answering: Answering, content: bytes, node_config: Mapping[str, Any]) -> None:
    pipe.send_bytes(sent(answering(received(content), node_config)))
    pipe.close()


def wait_until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Wait for something that happens in another thread."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

"""One server network on the messages of several clients, in the order in which they come: `dtfl-shared`, deployed."""

import threading
from collections.abc import Mapping

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch, State
from dtfl_private.training.server import ServerHalf


class SharedHalf:
    """The server's half of each of its clients; one of them trains it at a time.

    A message after which the network is none any more is undone, and refused: nobody may spoil it for all others.

    Args:
        half: the network, behind the shallowest of its clients' cuts.
        merge: messages in a row that each step is on.
        defenses: of its clients.
        turns: one client's turn after the other; where layers draw, that of all networks.
    """

    def __init__(
        self, half: ServerHalf, merge: int, defenses: Mapping[int, DefenseChain], turns: threading.Semaphore
    ) -> None:
        self._half, self._merge, self._defenses, self.turns = half, merge, defenses, turns
        self._waiting = 0

    def train_on(self, message: SmashedBatch) -> None:
        """Take a client's message in, and step if it is the last of those that a step is on.

        Raises:
            WireError: the network would have no finite weights with it; it is as it was before.
        """
        before = self._half.kept()
        self._half.take_in(message, self._defenses[message.client])
        last = self._waiting + 1 == self._merge
        if last:
            self._half.step()
        if not self._half.is_finite():
            self._half.restore(before)
            raise WireError("smashed: with this batch the server's network is not finite")
        self._waiting = 0 if last else self._waiting + 1

    def finish(self) -> None:
        """Step on what is left once all of its clients are done."""
        before = self._half.kept()
        self._half.step()
        if not self._half.is_finite():
            self._half.restore(before)

    def weights(self) -> State:
        """Return a copy of the trained weights."""
        return self._half.weights()

    def mean_loss(self, client: int) -> float:
        """Return the mean loss over a client's messages so far; 0 before the first."""
        return self._half.mean_loss(client)

"""A U-shaped split: labels and the network's last modules stay on the client."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.errors import InputError
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.adversaries import Capability
from dtfl_private.protocol.guarantees import Protected
from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.timing import BatchByBatch, Timing
from dtfl_private.training.method import Method, Places, only_tier
from dtfl_private.training.methods.u_shaped_work import UShapedWork
from dtfl_private.training.worker import LocalWork

# The server's part of a batch: a forward pass; then the gradients to its weights and to what it was sent.
FORWARD_THEN_BACKWARD = (1 / 3, 2 / 3)


@dataclass(frozen=True, kw_only=True)
class UShaped(Method):
    """U-shaped split learning (Vepakomma et al. 2018): the server has the middle, the client both ends and the labels.

    Both ends and the middles are averaged over clients as in SplitFed v1. In every batch the client sends activations
    without labels, gets what the middle makes of them, computes the loss, returns its gradient at its last modules'
    input, and gets the gradient at the first cut. With the last modules' weights, which the server averages, the
    gradient that the client returns tells the labels. Time model: that of SplitFed v1 with two round trips per batch,
    and two visits at a server worker: T_k = T_c + T_com + waits + T_s.

    Attributes:
        cut: modules before the first cut.
        tail: last modules that the client keeps.
    """

    cut: Annotated[int, Field(ge=1)] = 2
    tail: Annotated[int, Field(ge=1)] = 1
    places: ClassVar[Places] = frozenset({"weights", "download", "replies", "labels", "activations"})
    sends: ClassVar[tuple[Protected, ...]] = ("smashed", "weights")
    hides: ClassVar[frozenset[Capability]] = frozenset({"labels", "logits", "chooses-tier"})
    token_labels: ClassVar[bool] = True
    also_sent: ClassVar[tuple[str, ...]] = ("down_gradients", "down_outputs", "up_gradients")

    @property
    def timing(self) -> Timing:
        """Batch by batch, each of which comes to the client's own middle twice."""
        return BatchByBatch(one_server_half=False, visits=FORWARD_THEN_BACKWARD)

    def work(self) -> LocalWork:
        """Return split training with labels and loss on the client."""
        return UShapedWork()

    @property
    def held_tail(self) -> int:
        """How many of the network's last modules clients hold."""
        return self.tail

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the row of the first cut: no labels, and what crosses the second cut both ways.

        Raises:
            InputError: the network has no such cuts, or a part of it has nothing to train.
        """
        first, second = only_tier(network, self.cut), self._second_cut(network)
        if first.client_params == 0:
            raise InputError(f"cut={self.cut} leaves the clients' first modules nothing to train: choose a later one")
        if first.server_params == second.server_params:
            raise InputError(
                f"cut={self.cut},tail={self.tail} leaves the server nothing to train: choose a smaller cut or tail"
            )
        return replace(network, rows=(_row(network, first, second),))

    def _second_cut(self, network: TierTable) -> TierCost:
        second = network.modules - self.tail
        if second <= self.cut:
            raise InputError(
                f"cut={self.cut},tail={self.tail} leaves the server none of the {network.modules} modules: "
                f"cut and tail must come to {network.modules - 1} at most"
            )
        return only_tier(network, second)


def _row(network: TierTable, first: TierCost, second: TierCost) -> TierCost:
    """Return the cost of a network cut at both places."""
    before_the_tail = second.weight_bytes - second.head_bytes
    return replace(
        first,
        client_params=first.client_params + second.server_params,
        server_params=first.server_params - second.server_params,
        client_frozen=first.client_frozen + second.server_frozen,
        server_frozen=first.server_frozen - second.server_frozen,
        head_params=0,
        client_train_macs=first.chained_client_macs + second.chained_server_macs,
        server_train_macs=first.chained_server_macs - second.chained_server_macs,
        label_bytes=0,
        weight_bytes=first.weight_bytes - first.head_bytes + network.weight_bytes - before_the_tail,
        gradient_bytes=first.smashed_bytes,
        tail_bytes=second.smashed_bytes,
    )

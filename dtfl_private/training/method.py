"""A training method: what its workers do, what it costs, what waits for what, how results become new weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

from dtfl_private.errors import InputError
from dtfl_private.numerics import Numerics
from dtfl_private.privacy.disclosure import EVERYTHING
from dtfl_private.protection.base import Place
from dtfl_private.protocol.adversaries import Capability
from dtfl_private.protocol.guarantees import Protected
from dtfl_private.protocol.messages import State
from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_state import Selection, Uniform
from dtfl_private.simulation.timing import Overlapping, Timing
from dtfl_private.training.executor import Executor
from dtfl_private.training.round_sums import Sums
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, tasks_of
from dtfl_private.training.worker import LocalWork, WorkerSetup

Places = frozenset[Place]
EVERYWHERE: Places = frozenset({"input", "labels", "activations", "loss", "training", "smashed", "weights", "download"})


class Method(ABC):
    """A training method (group ``dtfl_private.methods``): what its workers do, what it costs, what waits for what.

    A subclass is a frozen dataclass whose fields are the user's settings. It holds no state: what must last from round
    to round is in `FederatedState`, the method's own tensors in ``extras``; those of a client k are named
    ``client/k/...`` and travel with its task and result.

    Attributes:
        places: where defenses can act in it.
        sends: what leaves the clients.
        tiered: whether a scheduler names each client's tier; otherwise the method's table has one row.
        cuts: whether the network is cut between client and server.
        has_heads: whether the client half has an auxiliary head.
        hides: what no adversary has in it, whatever it has elsewhere: what is not sent, and what is in nobody's power.
        together: whether what a client sends depends on the other clients of the round: they share a server half.
        pooled: whether all images are at one place, which is then the one participant and always there.
        token_labels: whether it can train a language model, whose labels are one token for each place of a text.
        also_sent: kinds of bytes other than those that every method has.
        timing: the time model.
        selection: who takes part in a round.
    """

    places: ClassVar[Places]
    sends: ClassVar[tuple[Protected, ...]] = EVERYTHING
    tiered: ClassVar[bool] = False
    cuts: ClassVar[bool] = True
    has_heads: ClassVar[bool] = False
    hides: ClassVar[frozenset[Capability]] = frozenset({"replies", "chooses-replies", "logits", "tail-gradients"})
    together: ClassVar[bool] = False
    pooled: ClassVar[bool] = False
    token_labels: ClassVar[bool] = False
    also_sent: ClassVar[tuple[str, ...]] = ()

    @property
    def full_tier(self) -> bool:
        """Whether it also has a tier in which a client keeps the whole network."""
        return False

    @property
    def held_tail(self) -> int:
        """How many of the network's last modules clients hold, behind the server's."""
        return 0

    @property
    def sends_weights(self) -> bool:
        """Whether clients are sent weights at the start of a round; otherwise they keep their own."""
        return "weights" in self.sends

    @property
    def timing(self) -> Timing:
        """The time model; by default DTFL's."""
        return Overlapping()

    @property
    def selection(self) -> Selection:
        """Who takes part in a round; by default a uniform sample."""
        return Uniform()

    @abstractmethod
    def work(self) -> LocalWork:
        """Return what workers do for it."""

    @abstractmethod
    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the method's cost table from the network's own, which has a row for each tier.

        Raises:
            InputError: the network has no such cut.
        """

    def initial_extras(self, setup: WorkerSetup) -> State:
        """Return the method's own tensors before the first round; their names and shapes last for the run."""
        return {}

    def tasks(self, plan: RoundPlan, state: FederatedState) -> list[ClientTask]:
        """Return the tasks of a round's participants, ascending by client."""
        return tasks_of(plan, state)

    def train(self, plan: RoundPlan, state: FederatedState, executor: Executor) -> Iterator[ClientResult]:
        """Yield the results of the participants, in the order in which they are to be added up."""
        return executor.train(self.tasks(plan, state), state.weights)

    def combine(self, state: FederatedState, sums: Sums) -> tuple[GlobalWeights, State]:
        """Return the new global weights and the method's own tensors; by default the average of the clients' models."""
        return sums.average(), {**state.extras, **sums.extras}

    def measured(
        self, plan: RoundPlan, state: FederatedState, weights: GlobalWeights, sums: Sums, executor: Executor
    ) -> GlobalWeights:
        """Return the new global weights with batch norm's statistics that belong to them; by default as they are.

        An average of the clients' models has the average of their statistics. A method whose server goes elsewhere has
        its clients measure them, and counts in ``costs`` and ``sums`` what that takes.
        """
        return weights

    def own_networks(self, extras: State) -> Mapping[int, State]:
        """Return the modules of clients that are judged with networks of their own; by default one judges all images.

        Args:
            extras: the method's own tensors.
        """
        return {}


def only_tier(network: TierTable, cut: int) -> TierCost:
    """Return the row of the one tier that a method without tiers cuts at.

    Raises:
        InputError: the network has no such tier.
    """
    for row in network.rows:
        if row.tier == cut:
            return row
    raise InputError(f"cut={cut} is out of range: this network can be cut after module {network.tiers_M.tolist()}")

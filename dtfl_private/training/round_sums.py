"""What a round's results add up to, as they arrive."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.privacy.ledger import charge
from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.messages import State
from dtfl_private.training.aggregate import WeightedAverage
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import ClientResult


class Sums:
    """Running sums over a round's results: models over all clients, heads over the clients of a tier.

    ``latest`` is the model of the client that completed the round last, ``completed`` are all who did;
    ``registration`` is what was sent before the round, in bytes.
    """

    def __init__(
        self, state: FederatedState, also_sent: Sequence[str], registration: Mapping[str, int] = NO_TRAFFIC
    ) -> None:
        self._before = state.weights
        self._model = WeightedAverage()
        self._heads = {tier: WeightedAverage() for tier in state.weights.heads}
        self.ledgers = dict(state.ledgers)
        self.memories = dict(state.memories)
        self.extras: dict[str, Tensor] = {}
        self.remarks: list[tuple[int, Remark]] = []
        self.latest: State = {}
        self.completed: list[int] = []
        self._losses = {"local_loss": _Mean(), "server_loss": _Mean()}
        self._whole_loss = _Mean()
        kinds = ("down_weights", "up_weights", "up_smashed", "up_labels", *also_sent)
        self.traffic = {**dict.fromkeys(kinds, 0), **registration}

    def add(self, result: ClientResult) -> None:
        """Add one client's result."""
        self.note(result)
        if not result.model:
            return
        self.latest = result.model
        self.completed.append(result.client)
        self._model.add(result.model, result.examples)
        if result.head:
            self._heads[result.tier].add(result.head, result.examples)
        for side, mean in self._losses.items():
            mean.add(getattr(result, side), result.examples)
        self._whole_loss.add(result.local_loss if result.server_loss is None else result.server_loss, result.examples)

    def note(self, result: ClientResult) -> None:
        """Add what a result says other than its model: bytes, what its defenses did, what the method keeps."""
        for kind, sent in result.traffic.items():
            self.traffic[kind] += sent
        if result.guarantees:
            self.ledgers[result.client] = charge(self.ledgers.get(result.client, ()), result.guarantees)
        if result.memory:
            self.memories[result.client] = result.memory
        self.extras |= {f"client/{result.client}/{name}": tensor for name, tensor in result.extras.items()}
        self.remarks += [(result.client, remark) for remark in result.remarks]

    def average(self) -> GlobalWeights:
        """Return the new global weights; what nobody trained stays as it was."""
        return GlobalWeights(
            model=self._model.result(self._before.model),
            heads={tier: self._heads[tier].result(head) for tier, head in self._before.heads.items()},
        )

    @property
    def whole_loss(self) -> float | None:
        """Mean loss of the whole network, weighted by examples: the server's, or a client's that holds all of it."""
        return self._whole_loss.value

    @property
    def local_loss(self) -> float | None:
        """Mean local loss, weighted by examples; None if there is none."""
        return self._losses["local_loss"].value

    @property
    def server_loss(self) -> float | None:
        """Mean loss of the server, weighted by examples; None if there is none."""
        return self._losses["server_loss"].value


class _Mean:
    """Mean of the values that are there, weighted by examples."""

    def __init__(self) -> None:
        self._sum, self._examples = 0.0, 0

    def add(self, value: float | None, examples: int) -> None:
        if value is not None:
            self._sum += examples * value
            self._examples += examples

    @property
    def value(self) -> float | None:
        return self._sum / self._examples if self._examples else None

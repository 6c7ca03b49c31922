"""The client's side of a round: train md1..md_m and the auxiliary head by a local loss, emit messages."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.contracts import Defense
from dtfl_private.federated.optimizers import OptimizerSettings, make_optimizer
from dtfl_private.messages import ModelDownload, SmashedBatch, WeightUpdate
from dtfl_private.models.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics


class ClientHalf:
    """A client in one round. All that leaves it passes its defense and is a message.

    Args:
        download: the server's message that opens the round.
        modules: md1..md_m, whose weights are overwritten by the download's.
        head: auxiliary head of the tier, likewise.
        examples: N_k.
        optimizer: kind and constants of the optimiser, which lives for this round.
        lr: the round's learning rate.
        numerics: device and precision.
        defense: rewrites what leaves the client.
        rng: the defense's random stream.
    """

    def __init__(
        self,
        *,
        download: ModelDownload,
        modules: StagedModel,
        head: nn.Module,
        examples: int,
        optimizer: OptimizerSettings,
        lr: float,
        numerics: Numerics,
        defense: Defense,
        rng: torch.Generator,
    ) -> None:
        modules.load_state_dict(download.weights)
        head.load_state_dict(download.head)
        self._download = download
        self._modules = modules.train()
        self._head = head.train()
        self._examples = examples
        self._optimizer = make_optimizer([*modules.parameters(), *head.parameters()], optimizer, lr)
        self._numerics = numerics
        self._defense = defense
        self._rng = rng
        self._losses: list[Tensor] = []

    def train(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[SmashedBatch]:
        """Take one local step per batch of (inputs, labels) and yield what leaves the client of it.

        The smashed data are the activations of the same forward pass that the local loss was computed from.
        """
        for number, (inputs, labels) in enumerate(batches):
            with self._numerics.autocast():
                smashed = self._modules(inputs)
                loss = F.cross_entropy(self._head(smashed), labels)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._optimizer.step()
            self._losses.append(loss.detach())
            message = SmashedBatch(
                client=self._download.client,
                round=self._download.round,
                tier=self._download.tier,
                batch=number,
                smashed=smashed.detach().to(self._numerics.wire_dtype),
                labels=labels,
            )
            yield self._defense.protect_batch(message, self._rng)

    def update(self) -> WeightUpdate:
        """Return the message that closes the round."""
        message = WeightUpdate(
            client=self._download.client,
            round=self._download.round,
            tier=self._download.tier,
            examples=self._examples,
            weights=snapshot(self._modules),
            head=snapshot(self._head),
        )
        return self._defense.protect_update(message, self._rng)

    @property
    def mean_loss(self) -> float:
        """Mean local loss over the batches so far; 0 before the first."""
        return float(torch.stack(self._losses).cpu().double().mean()) if self._losses else 0.0

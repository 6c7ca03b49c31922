"""What a client's local training did to its weights, and what other records would have done to them.

The trainer's optimisers are fresh at the start of a round, so that a change of weights is a function of the records
alone. Few steps are followed one by one, with derivatives; of many, the weights in between are taken to lie on the
line from the download to the update.

Changes can be compared after every weight's was divided by about its size. Adam does that by itself: its first step is
the sign of the gradient. A deep network's weights say more by where to they moved than by how much, which is large in
few layers only. The signs of small gradients turn with the slightest error, so the sizes are taken with a floor, which
falls as a search goes on.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacking.batch_norms import Moments
from dtfl_private.attacking.evidence import LocalSteps
from dtfl_private.attacking.program import HALF, ClientProgram, Parameters
from dtfl_private.attacks.shared.norm_statistics import NormStatistics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import Seen, WeightUpdate

# Local steps that are followed one by one; derivatives through more cost too much memory.
FOLLOWED = 8
# Adam's constants, as torch has them and the trainer leaves them.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True)
class Retraced:
    """What images would have brought about.

    Attributes:
        change: of the weights.
        residual: of the activations: the mean |f(x) - z|^2 / |z|^2, under the weights at the time; 0 where no z was
            sent.
        moments: that batch norm would have taken of each batch, by layer, step by step.
    """

    change: Parameters
    residual: Tensor
    moments: Sequence[Mapping[str, Moments]]


@dataclass(frozen=True, kw_only=True)
class UpdateTarget:
    """What a client's local training did.

    Attributes:
        labels: of the batches of one epoch, on the program's device.
        smashed: of the same batches; none where none was sent.
        replies: gradients at the cut that the server returned for them; none where the client has a loss of its own.
        begin: parameters before the round, by name.
        change: what was added to them in the round.
        statistics: what batch norm measured meanwhile.
        steps: how the client took its steps.
    """

    labels: Sequence[Tensor]
    smashed: Sequence[Tensor]
    replies: Sequence[Tensor]
    begin: Parameters
    change: Parameters
    statistics: NormStatistics
    steps: LocalSteps

    @classmethod
    def of(cls, program: ClientProgram, seen: Seen, update: WeightUpdate, steps: LocalSteps) -> "UpdateTarget":
        """Return what the update says, with the batches that were sent."""
        return cls(
            labels=[batch.labels for batch in seen.batches],
            smashed=[batch.smashed for batch in seen.batches],
            replies=[reply.gradient.to(program.device).float() for reply in seen.replies],
            begin=program.parameters(),
            change=changes(program, update),
            statistics=NormStatistics.of(program, program.of_update(update), steps.epochs * len(seen.batches)),
            steps=steps,
        )

    @classmethod
    def of_whole(
        cls, program: ClientProgram, update: WeightUpdate, steps: LocalSteps, counts: Tensor, chance: torch.Generator
    ) -> "UpdateTarget":
        """Return what the update of a whole network says; labels of these counts are dealt to the batches."""
        labels = torch.repeat_interleave(torch.arange(len(counts)), counts)
        dealt = labels[torch.randperm(len(labels), generator=chance)].to(program.device)
        return cls(
            labels=torch.split(dealt, steps.batch_size or update.examples),
            smashed=(),
            replies=(),
            begin=program.parameters(),
            change=changes(program, update),
            statistics=NormStatistics.of(program, program.of_update(update), steps_taken(update, steps)),
            steps=steps,
        )

    @property
    def sizes(self) -> list[int]:
        """Images of each batch."""
        return [len(labels) for labels in self.labels]

    @property
    def epochs(self) -> int:
        """Passes over the batches that are retraced: all, if that is few steps, or one, spread over the round.

        Of a further epoch the same batches are taken, though the client's were others.
        """
        return self.steps.epochs if self.steps.epochs * len(self.labels) <= FOLLOWED else 1

    @property
    def follows(self) -> bool:
        """Whether the steps are few enough to be followed one by one."""
        return len(self.labels) <= FOLLOWED and self.epochs == self.steps.epochs

    def exact(self, defense: DefenseChain) -> bool:
        """Whether the true images explain the update exactly, where labels that had to be counted are right.

        It must be known which records each step was on, and a defense must leave the training and the weights alone.
        """
        known = len(self.labels) == 1 or (bool(self.smashed) and not defense.releases_apart)
        places = {place for one in defense for place in one.facts.acts_on}
        return self.follows and self.steps.epochs == 1 and known and places <= {"smashed"}

    def retraced(self, program: ClientProgram, parts: Sequence[Tensor], floor: float = 0.0) -> Retraced:
        """Return what these images would have brought about; differentiable in them.

        Args:
            program: the client's.
            parts: images of each batch.
            floor: added to the size of each slope by which Adam divides, as a share of the tensor's root mean square.
        """
        there = {name: tensor.clone().requires_grad_() for name, tensor in self.begin.items()}
        change = {name: torch.zeros_like(tensor) for name, tensor in there.items()}
        moves, losses, moments = _optimizer(self.steps, floor), [], []
        total = self.epochs * len(self.labels)
        for number in range(total):
            place, first_epoch = number % len(self.labels), number < len(self.labels)
            own = parts[place]
            if self.smashed and first_epoch:
                sent = self.smashed[place]
                left = program.activations(own, weights=_half(there)) - sent
                losses.append(left.square().sum() / sent.square().sum())
            with program.norms.watched() as measured:
                loss = self._loss(program, there, own, place)
            moments.append(measured)
            found = torch.autograd.grad(loss, list(there.values()), create_graph=True)
            slopes = {
                name: slope
                + self.steps.weight_decay * there[name]
                + self.steps.proximal * (there[name] - self.begin[name])
                for name, slope in zip(there, found, strict=True)
            }
            moved = moves.moves(slopes)
            change = {name: change[name] + moved[name] for name in change}
            there = self._next(change, (number + 1) / total)
        residual = torch.stack(losses).mean() if losses else parts[0].new_zeros(())
        return Retraced(change=change, residual=residual, moments=moments)

    def _loss(self, program: ClientProgram, there: Parameters, own: Tensor, place: int) -> Tensor:
        """Return what the client went down in its step on this batch, on these images."""
        if not self.replies:
            return program.local_loss(there, own, self.labels[place])
        return (program.activations(own, weights=_half(there)) * self.replies[place]).sum()

    def _next(self, change: Parameters, share: float) -> dict[str, Tensor]:
        """Return the weights after a share of the steps: followed, or on the line to those that were sent."""
        if self.follows:
            return {name: tensor + change[name] for name, tensor in self.begin.items()}
        return {name: (self.begin[name] + share * self.change[name]).requires_grad_() for name in self.begin}

    def apart(self, change: Parameters, floor: float | None = None) -> Tensor:
        """Return how far a change of weights is from the client's: 1 - cosine.

        Args:
            change: of these parameters.
            floor: divide the values of both by about their sizes first, as Adam does by itself; None to leave them.
        """
        names = list(self.change)
        if floor is None or self.steps.optimizer == "adam":
            mine, its = ([changed[name] for name in names] for changed in (change, self.change))
        else:
            mine, its = ([_evened(changed[name], floor) for name in names] for changed in (change, self.change))
        return 1 - F.cosine_similarity(_flat(mine), _flat(its), dim=0)


class _Sgd:
    """Steps of SGD with momentum."""

    def __init__(self, steps: LocalSteps) -> None:
        self._steps = steps
        self._speed: Mapping[str, Tensor] = {}

    def moves(self, slopes: Parameters) -> Parameters:
        """Return what a step adds to the weights."""
        kept = {name: self._steps.momentum * speed for name, speed in self._speed.items()}
        self._speed = {name: slope + kept[name] if name in kept else slope for name, slope in slopes.items()}
        return {name: -self._steps.lr * speed for name, speed in self._speed.items()}


class _Adam:
    """Steps of Adam (Kingma and Ba 2015), with a floor under what it divides by."""

    def __init__(self, steps: LocalSteps, floor: float) -> None:
        self._steps, self._floor, self._done = steps, floor, 0
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}

    def moves(self, slopes: Parameters) -> Parameters:
        """Return what a step adds to the weights."""
        self._done += 1
        return {name: self._move(name, slope) for name, slope in slopes.items()}

    def _move(self, name: str, slope: Tensor) -> Tensor:
        self._first[name] = BETA_1 * self._first.get(name, torch.zeros_like(slope)) + (1 - BETA_1) * slope
        square = slope.square()
        self._second[name] = BETA_2 * self._second.get(name, torch.zeros_like(slope)) + (1 - BETA_2) * square
        mean = self._first[name] / (1 - BETA_1**self._done)
        power = self._second[name] / (1 - BETA_2**self._done)
        # The square root has no derivative at 0, where many slopes behind a ReLU are.
        least = self._floor**2 * square.detach().mean() + EPSILON**2
        return -self._steps.lr * mean / (power + least).sqrt()


def _half(parameters: Parameters) -> Parameters:
    """Return the parameters of the client half by the names of its own state."""
    return {name.removeprefix(HALF): tensor for name, tensor in parameters.items() if name.startswith(HALF)}


def _optimizer(steps: LocalSteps, floor: float) -> _Sgd | _Adam:
    return _Adam(steps, floor) if steps.optimizer == "adam" else _Sgd(steps)


def changes(program: ClientProgram, update: WeightUpdate) -> dict[str, Tensor]:
    """Return what was added to the trainable parameters in the round, by name."""
    sent = program.of_update(update)
    return {name: sent[name].to(tensor) - tensor for name, tensor in program.parameters().items()}


def steps_taken(update: WeightUpdate, steps: LocalSteps) -> int:
    """Return how many local steps are behind an update."""
    return steps.epochs * math.ceil(update.examples / (steps.batch_size or update.examples))


def _evened(change: Tensor, floor: float) -> Tensor:
    """Return a change with each value divided by about its size: small ones by ``floor`` root mean squares."""
    least = floor**2 * change.detach().square().mean() + torch.finfo(change.dtype).tiny
    return change / (change.square() + least).sqrt()


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])

"""A malicious server steers the client half by the gradients that it returns, into a space that it can decode."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.base import AttackFacts, Tampering
from dtfl_private.attacking.program import ClientProgram, batches_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.hybrid import Hybrid
from dtfl_private.attacks.shared.inverse_network import InverseNetwork, Shapes, as_map, map_shape
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.errors import RunError
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.randomness import isolated

# Images per step of the pilot's training, and steps.
BATCH = 32
PILOT_STEPS = 1000
# Of the discriminator: channels, and Adam's first moment, which an opponent that moves makes useless.
WIDTH = 64
BETAS = (0.5, 0.9)
# Weight of the penalty on the discriminator's slope, as in the paper.
PENALTY = 10.0


@dataclass(frozen=True, kw_only=True)
class Hijacking(Hybrid):
    """Play rounds in which the server returns gradients that lead clients into its pilot's feature space; `hybrid`.

    Feature-space hijacking (FSHA) of Pasquini, Ateniese and Bernaschi 2021 (CCS, 2012.02670, section 4). The pilot, an
    encoder, is trained with its decoder on auxiliary images. A discriminator (Wasserstein, with a penalty on its slope)
    learns to tell the clients' smashed data from the pilot's, and what a client gets back is the gradient by which its
    smashed data would pass for the pilot's. Unlike in the paper the pilot begins as the client half that the server
    itself sent, and the discriminator is told the labels, which the clients send. All defenses and guards of the
    clients act.

    The paper decodes what the clients send in the last round by the pilot's decoder alone. But this server also sends
    the weights that they begin that round with, as a passive one does. So it trains a decoder for these as well, takes
    the one of the two with less error on auxiliary validation images, sent through these weights, and goes on as
    `hybrid` does. It is, but for the chance of that choice, never worse than `hybrid` on clients so hijacked. And in
    the last round it returns zeros, so that clients move no more than weight decay and losses of their own make them:
    all their batches come from weights that are known, or all but known.

    Attributes:
        rounds: played by all clients of the last round; the last of them is attacked.
        pilot_steps: of training pilot and decoder before, of 32 images each; 0 for as many as the effort allows.
        pilot_lr: of Adam.
        critic_steps: of the discriminator for each batch that arrives.
        critic_lr: of Adam.
        scale: norm of the gradient that is returned for a batch, in multiples of the honest one of the first batch.
        hold: return zeros in the last round; otherwise go on to hijack, as in the paper. With one round that is all.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "replies", "auxiliary-data", "chooses-replies"}),
        recipe="return gradients that lead clients into the feature space of an own encoder, then hybrid",
        source="Pasquini et al. 2021, 2012.02670",
    )
    normal_steps: ClassVar[Mapping[str, int]] = {**Hybrid.normal_steps, "pilot_steps": PILOT_STEPS}

    rounds: Annotated[int, Field(ge=1)] = 5
    pilot_steps: Annotated[int, Field(ge=0)] = 0
    pilot_lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3
    critic_steps: Annotated[int, Field(ge=1)] = 3
    critic_lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    hold: bool = True

    def tamper(self, view: View) -> Tampering:
        """Return the honest weights, and a server that hijacks."""
        with isolated(view.seed, "hijacking", view.tier):
            pilot = Pilot(view, self)
            return Tampering(tier=view.tier, weights={}, answer=Hijacker(view, self, pilot), rounds=self.rounds)

    def rivals(self, view: View) -> Sequence[InverseNetwork]:
        """Return the pilot's decoder."""
        hijacker = view.answer
        if not isinstance(hijacker, Hijacker):
            raise RunError("hijacking has no pilot to decode by: the clients played without it")
        return (hijacker.pilot.decoder,)


class Pilot:
    """An encoder from images to the cut, and its decoder, trained together on auxiliary images.

    Args:
        view: of the auxiliary data and the client's program.
        attack: settings.

    Attributes:
        decoder: from its activations to images.
    """

    def __init__(self, view: View, attack: Hijacking) -> None:
        self._program: ClientProgram = view.program_with(view.download(view.tier), adaptive=attack.adaptive)
        self._images, self._labels = view.auxiliary.images, view.told(view.auxiliary.labels)
        self._chance = view.chance("pilot")
        self._weights = {
            name: tensor.detach().clone().requires_grad_() for name, tensor in self._program.modules.named_parameters()
        }
        shapes = Shapes(cut=map_shape(view.cut_shape, "hijacking"), image=view.input_shape, classes=view.classes)
        self.decoder = InverseNetwork(shapes, "medium").to(view.device)
        with torch.no_grad():
            self.decoder.standardise_by(self._program.activations(self._images[:BATCH].to(view.device)))
        self._batches = self._without_end()
        self._train(attack.budget["pilot_steps"], attack.pilot_lr, view)

    def _train(self, steps: int, lr: float, view: View) -> None:
        optimizer = EagerAdam([*self._weights.values(), *self.decoder.parameters()], lr=lr)
        for step in range(steps):
            images, labels = self._next()
            smashed = self._program.activations(images, weights=self._weights)
            loss = (self.decoder(smashed, labels) - images).square().mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.param_groups[0]["lr"] = lr * half_cosine(step, steps)
            optimizer.step()
            view.progress(step + 1, steps)

    def _without_end(self) -> Iterator[Tensor]:
        while True:
            yield from batches_of(len(self._images), BATCH, self._chance)

    def _next(self) -> tuple[Tensor, Tensor]:
        batch = next(self._batches)
        return self._images[batch].to(self._program.device), self._labels[batch].to(self._program.device)

    @torch.no_grad()
    def encoded(self) -> tuple[Tensor, Tensor]:
        """Return smashed data (B, *cut shape) of some auxiliary images, and their labels."""
        images, labels = self._next()
        return self._program.activations(images, weights=self._weights), labels


class Critic(nn.Module):
    """Tells smashed data of the pilot's (high) from clients' (low), by their labels too."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(shape[0], WIDTH, 3, padding=1)
        self.label = nn.Embedding(classes, WIDTH)
        self.deep = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.leave = nn.Linear(WIDTH * math.ceil(shape[1] / 2) * math.ceil(shape[2] / 2), 1)

    def forward(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return a value (B, 1) of activations (B, *cut shape) and labels (B,)."""
        hidden = F.leaky_relu(self.enter(as_map(smashed)) + self.label(labels)[:, :, None, None], 0.2)
        value: Tensor = self.leave(F.leaky_relu(self.deep(hidden), 0.2).flatten(1))
        return value


class Hijacker:
    """Answers batches with the gradient by which they would pass for the pilot's; learns from each.

    Attributes:
        pilot: whose feature space clients are led into.
    """

    def __init__(self, view: View, attack: Hijacking, pilot: Pilot) -> None:
        self.pilot = pilot
        self._attack = attack
        self._chance = view.chance("critic")
        self._critic = Critic(map_shape(view.cut_shape, "hijacking"), view.classes).to(view.device)
        self._optimizer = EagerAdam(self._critic.parameters(), lr=attack.critic_lr, betas=BETAS)
        self._half, self._defense = view.server_half().train(), view.defense
        self._norm: float | None = None
        self._last_round = view.download(view.tier).round + attack.rounds - 1

    def __call__(self, message: SmashedBatch) -> Tensor:
        """Return the gradient (B, *cut shape)."""
        if self._attack.hold and message.round == self._last_round:
            return torch.zeros_like(message.smashed)
        smashed, labels = message.smashed.float(), message.labels
        if self._norm is None:
            self._norm = float(self._honest(smashed, labels).norm())
        for _ in range(self._attack.critic_steps):
            self._learn(smashed, labels)
        own = smashed.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(-self._critic(own, labels).mean(), own)
        hostile: Tensor = gradient * (self._attack.scale * self._norm / gradient.norm().clamp(min=1e-12))
        return hostile

    def _learn(self, smashed: Tensor, labels: Tensor) -> None:
        piloted, own = self.pilot.encoded()
        count = min(len(smashed), len(piloted))
        part = torch.rand(count, *[1] * (smashed.ndim - 1), generator=self._chance).to(smashed.device)
        between = torch.lerp(smashed[:count], piloted[:count], part).requires_grad_()
        (slope,) = torch.autograd.grad(self._critic(between, own[:count]).sum(), between, create_graph=True)
        penalty = PENALTY * (slope.flatten(1).norm(dim=1) - 1).square().mean()
        loss = self._critic(smashed, labels).mean() - self._critic(piloted, own).mean() + penalty
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()

    def _honest(self, smashed: Tensor, labels: Tensor) -> Tensor:
        own = smashed.clone().requires_grad_()
        loss = self._defense.classification_loss(self._half(own.clone()), labels)
        (gradient,) = torch.autograd.grad(loss, own)
        return gradient

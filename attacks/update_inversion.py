"""Search for images whose gradients explain the weights that a client sends back."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target
from dtfl_private.attacking.evidence import LocalSteps
from dtfl_private.attacking.program import ClientProgram, Parameters
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.label_counts import LinearLayer, label_counts, mean_slopes, whole_counts
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.similarity import total_variation
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, WeightUpdate

# Prefix of the client half among the parameters of `ClientProgram`.
HALF = "client_half."
# Local steps of SGD that are followed one by one; derivatives through more cost too much memory.
FOLLOWED = 8
# Steps of the search with the normal effort.
SEARCH_STEPS = 600


@dataclass(frozen=True, kw_only=True)
class UpdateInversion(Reconstruction):
    """Find images whose local training moves the weights as the client's did: 1 - cosine, and total variation.

    Geiping, Bauermeister, Droege and Moeller 2020 (NeurIPS, "Inverting gradients", sections 4 and 6): signed gradients,
    falling steps; a few local steps of SGD are followed one by one. The weights between many steps, or those of Adam,
    are taken to lie on the line from the download to the update, and the sum of the gradients there is compared.

    Limits: works for few images in few steps (published: eight 32x32 images in five steps, barely); a client of
    hundreds of records is out of its reach, and Adam, which divides each gradient by its size, blunts it. Further
    epochs, whose batches are others, are left out of account, and so is what defenses do to the update.

    A client that trains the whole network, as in FedAvg, sends neither activations nor labels: its labels are counted
    from the update first (`dtfl_private.attacks.shared.label_counts`), which takes SGD and a last layer that is linear.
    Which batch a label was in, and the order of the records, the update does not say: the images come in an order of
    their own.

    In SplitFed there is no local loss: the client's gradients are those of its activations, weighted by the gradients
    that the server returned, which it knows exactly.

    Attributes:
        steps: of the search; 0 for as many as the effort allows, 600 as a rule.
        lr: first step of a pixel.
        smoothness: weight of the total variation; ten times as much hides a single digit behind sigmoids.
        joint: match the smashed data of the same batches too.
        smashed_weight: of their residual |f(x) - z|^2 / |z|^2, added to 1 - cosine, if ``joint``.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "updates"}),
        recipe="images whose gradients match the weight update: 1 - cosine + total variation",
        source="Geiping et al. 2020, NeurIPS",
        whole=True,
    )

    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    smoothness: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    joint: bool = False
    smashed_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    def check(self, target: Target) -> None:
        """Refuse updates of a whole network in which the labels cannot be counted, and smashed data where none are."""
        super().check(target)
        if target.whole and target.optimizer != "sgd":
            raise InputError(
                f"update-inversion counts the labels of a client that sends none by its steps of SGD; this run's "
                f"clients train by {target.optimizer}, whose steps do not show them: train with --optimizer sgd"
            )
        if target.whole and self.joint:
            raise InputError("update-inversion:joint=true needs smashed data, and this run's clients send none")

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W); those of a client that sends no labels in no order."""
        rounds = {seen.download.client: update for seen, update in view.updates}
        missing = [seen.download.client for seen in view.seen if seen.download.client not in rounds]
        if missing:
            raise InputError(f"client {missing[0]} sent no weight update, which update-inversion needs: use --replay")
        parts = [
            self._search(view, seen, rounds[seen.download.client], place, len(view.seen))
            for place, seen in enumerate(view.seen)
        ]
        return torch.cat(parts).cpu()

    def _search(self, view: View, seen: Seen, update: WeightUpdate, place: int, clients: int) -> Tensor:
        """Return the images (N, C, H, W) of a client's batches."""
        program = view.program(seen, adaptive=self.adaptive)
        chance = view.chance("start", seen.download.client)
        if seen.batches:
            target = _Target.of(program, seen, update, view.local_steps)
        else:
            target = _Target.of_whole(program, update, view.local_steps, view.classes, chance)
        start = 0.5 + 0.1 * torch.randn(seen.records, *view.input_shape, generator=chance)
        images = start.clamp(0, 1).to(program.device).requires_grad_()
        optimizer = torch.optim.Adam([images], lr=self.lr)
        steps = self.steps_of(self.steps, SEARCH_STEPS)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = self.lr * half_cosine(step, steps)
            (slope,) = torch.autograd.grad(self._loss(program, target, images), images)
            images.grad = slope.sign()
            optimizer.step()
            with torch.no_grad():
                images.clamp_(0, 1)
            view.progress(place * steps + step + 1, clients * steps)
        return images.detach()

    def _loss(self, program: ClientProgram, target: "_Target", images: Tensor) -> Tensor:
        change, residual = target.retraced(program, torch.split(images, target.sizes))
        against = [target.change[name] for name in change]
        cosine = F.cosine_similarity(_flat(change.values()), _flat(against), dim=0)
        loss = 1 - cosine + self.smoothness * total_variation(images).mean()
        return loss + self.smashed_weight * residual if self.joint else loss


@dataclass(frozen=True, kw_only=True)
class _Target:
    """What a client's local training did.

    Attributes:
        labels: of the batches of one epoch, on the program's device.
        smashed: of the same batches; none where none was sent.
        replies: gradients at the cut that the server returned for them; none where the client has a loss of its own.
        begin: parameters before the round, by name.
        change: what was added to them in the round.
        steps: how the client took its steps.
    """

    labels: Sequence[Tensor]
    smashed: Sequence[Tensor]
    replies: Sequence[Tensor]
    begin: Parameters
    change: Parameters
    steps: LocalSteps

    @classmethod
    def of(cls, program: ClientProgram, seen: Seen, update: WeightUpdate, steps: LocalSteps) -> "_Target":
        """Return what the update says, with the batches that were sent."""
        begin, change = cls._changes(program, update)
        return cls(
            labels=[batch.labels for batch in seen.batches],
            smashed=[batch.smashed for batch in seen.batches],
            replies=[reply.gradient.to(program.device).float() for reply in seen.replies],
            begin=begin,
            change=change,
            steps=steps,
        )

    @classmethod
    def of_whole(
        cls, program: ClientProgram, update: WeightUpdate, steps: LocalSteps, classes: int, chance: torch.Generator
    ) -> "_Target":
        """Return what the update of a whole network says: the labels are counted, and dealt to the batches."""
        begin, change = cls._changes(program, update)
        size = steps.batch_size or update.examples
        taken = steps.epochs * math.ceil(update.examples / size)
        weight, bias = _last_layer(program, classes)
        before = LinearLayer(weight=begin[weight], bias=begin[bias])
        moved = LinearLayer(weight=change[weight], bias=change[bias])
        # One step begins and ends where the gradient was taken; of several the middle stands for all.
        share = 0.5 * (taken > 1)
        between = LinearLayer(weight=before.weight + share * moved.weight, bias=before.bias + share * moved.bias)
        counts = label_counts(between, mean_slopes(before, moved, steps, taken), update.examples)
        labels = torch.repeat_interleave(torch.arange(classes), whole_counts(counts))
        dealt = labels[torch.randperm(len(labels), generator=chance)].to(program.device)
        return cls(labels=torch.split(dealt, size), smashed=(), replies=(), begin=begin, change=change, steps=steps)

    @staticmethod
    def _changes(program: ClientProgram, update: WeightUpdate) -> tuple[Parameters, Parameters]:
        """Return the parameters before the round, and what was added to them."""
        begin = program.parameters()
        sent = {f"{HALF}{name}": tensor for name, tensor in update.weights.items()}
        sent |= {f"head.{name}": tensor for name, tensor in update.head.items()}
        return begin, {name: sent[name].to(tensor) - tensor for name, tensor in begin.items()}

    @property
    def sizes(self) -> list[int]:
        """Images of each batch."""
        return [len(labels) for labels in self.labels]

    @property
    def follows(self) -> bool:
        """Whether the steps are few and simple enough to be followed one by one."""
        return self.steps.optimizer == "sgd" and len(self.labels) <= FOLLOWED

    def retraced(self, program: ClientProgram, parts: Sequence[Tensor]) -> tuple[Parameters, Tensor]:
        """Return the change of the weights that these images would bring about, and the residual of their activations.

        The residual is the mean |f(x) - z|^2 / |z|^2, under the weights at the time; 0 where no z was sent.
        """
        there = {name: tensor.clone().requires_grad_() for name, tensor in self.begin.items()}
        change = {name: torch.zeros_like(tensor) for name, tensor in there.items()}
        speed, losses = dict(change), []
        for number, own in enumerate(parts, start=1):
            if self.smashed:
                sent = self.smashed[number - 1]
                left = program.activations(own, weights=_half(there)) - sent
                losses.append(left.square().sum() / sent.square().sum())
            loss = self._loss(program, there, own, number)
            slopes = torch.autograd.grad(loss, list(there.values()), create_graph=True)
            for name, slope in zip(there, slopes, strict=True):
                pull = self.steps.weight_decay * there[name] + self.steps.proximal * (there[name] - self.begin[name])
                speed[name] = self.steps.momentum * speed[name] + slope + pull
                change[name] = change[name] - self.steps.lr * speed[name]
            there = self._next(change, number)
        return change, torch.stack(losses).mean() if losses else parts[0].new_zeros(())

    def _loss(self, program: ClientProgram, there: Parameters, own: Tensor, number: int) -> Tensor:
        """Return what the client went down in its step of this number, on these images."""
        if not self.replies:
            return program.local_loss(there, own, self.labels[number - 1])
        return (program.activations(own, weights=_half(there)) * self.replies[number - 1]).sum()

    def _next(self, change: Parameters, done: int) -> dict[str, Tensor]:
        """Return the weights after so many steps: followed, or on the line to those that were sent."""
        if self.follows:
            return {name: tensor + change[name] for name, tensor in self.begin.items()}
        share = done / len(self.labels)
        return {name: (self.begin[name] + share * self.change[name]).requires_grad_() for name in self.begin}


def _half(parameters: Parameters) -> Parameters:
    """Return the parameters of the client half by the names of its own state."""
    return {name.removeprefix(HALF): tensor for name, tensor in parameters.items() if name.startswith(HALF)}


def _last_layer(program: ClientProgram, classes: int) -> tuple[str, str]:
    """Return the names of weight and bias of the linear layer that ends a whole network.

    Raises:
        InputError: there is none.
    """
    modules = list(program.modules.named_modules())
    linear = [name for name, part in modules if isinstance(part, nn.Linear) and part.out_features == classes]
    if not linear or program.modules.get_submodule(linear[-1]).bias is None:
        raise InputError("update-inversion counts labels in a last linear layer with a bias, which this network lacks")
    return f"{HALF}{linear[-1]}.weight", f"{HALF}{linear[-1]}.bias"


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])

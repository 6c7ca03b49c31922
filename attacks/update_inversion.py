"""Search for images whose gradients explain the weights that a client sends back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.counted_labels import counted_labels
from dtfl_private.attacks.shared.image_prior import ImagePrior
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.similarity import total_variation
from dtfl_private.attacks.shared.update_target import Retraced, UpdateTarget
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, WeightUpdate

# Steps of the search with the normal effort.
SEARCH_STEPS = 600
# Share of the weight of being like auxiliary images that is left in the end where the true images explain the update
# exactly: it leads to an image, then holds it back. Elsewhere wrong images explain as much, and it must stay.
LIKENESS_LEFT = 0.01
# Deviation of the values that a search starts from, in those of the prior: equal ones would stay equal for ever.
START = 0.1


@dataclass(frozen=True, kw_only=True)
class UpdateInversion(Reconstruction):
    """Find images whose local training moves the weights as the client's did, and that look like images at all.

    After Geiping, Bauermeister, Droege and Moeller 2020 (NeurIPS, "Inverting gradients", sections 4 and 6): 1 - cosine
    and total variation, by Adam. What is new: the search moves in coordinates in which the adversary's auxiliary images
    are standard normal, and a penalty keeps it near them; and it is made twice, once with every weight's
    change divided by about its size, and the images are kept that explain the update best. Without auxiliary images the
    coordinates are pixels, the steps signed, and there is one search. A few local steps of the run's optimiser, SGD or
    Adam, are followed one by one; the weights between many are taken to lie on the line from the download to the
    update. Epochs are retraced as long as they are few steps in all, with the same batches each time (Dimitrov et al.
    2022, TMLR, "Data leakage in federated averaging", have batches of their own for each).

    Limits: works for few images in few steps; a client of hundreds of records is out of its reach. What defenses do to
    the update is left out of account.

    A client that trains the whole network, as in FedAvg, sends neither activations nor labels: its labels are counted
    from the update first (`dtfl_private.attacks.shared.counted_labels`), in a last layer that is linear. Which batch a
    label was in, and the order of the records, the update does not say: the images come in an order of their own.

    Batch norm's running statistics are sent with the weights, and show at every layer what the batches' moments were
    (`dtfl_private.attacks.shared.norm_statistics`): a further term, as in Yin et al. 2021 (CVPR, "See through
    gradients"). Group norm sends none.

    In SplitFed there is no local loss: the client's gradients are those of its activations, weighted by the gradients
    that the server returned, which it knows exactly.

    Attributes:
        steps: of the search; 0 for as many as the effort allows, 600 as a rule.
        lr: first step of a value, in deviations of the prior.
        smoothness: weight of the total variation.
        likeness: weight of the mean square of the values, which are standard normal for images like the auxiliary ones,
            as the search begins; it fades where the true images explain the update exactly.
        norms: weight of the distance of batch norm's statistics.
        joint: match the smashed data of the same batches too.
        smashed_weight: of their residual |f(x) - z|^2 / |z|^2, added to 1 - cosine, if ``joint``.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "updates"}),
        recipe="images whose gradients match the weight update: 1 - cosine, total variation and a prior of images",
        source="Geiping et al. 2020, NeurIPS",
        whole=True,
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"steps": SEARCH_STEPS}

    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    smoothness: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    likeness: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    norms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    joint: bool = False
    smashed_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    def check(self, target: Target) -> None:
        """Refuse smashed data where none are sent."""
        super().check(target)
        if target.whole and self.joint:
            raise InputError("update-inversion:joint=true needs smashed data, and this run's clients send none")
        if target.defense.releases_apart and self.joint:
            raise InputError(
                "update-inversion:joint=true needs smashed data of the steps; with this run's defense clients send "
                "after their training: leave joint out"
            )

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W); those of a client that sends no labels in no order."""
        rounds = {seen.download.client: (seen, update) for seen, update in view.updates}
        missing = [seen.download.client for seen in view.seen if seen.download.client not in rounds]
        if missing:
            raise InputError(f"client {missing[0]} sent no weight update, which update-inversion needs: use --replay")
        prior = ImagePrior.of(view, view.device)
        parts = [
            self._search(view, prior, *rounds[seen.download.client], place, len(view.seen))
            for place, seen in enumerate(view.seen)
        ]
        return torch.cat(parts).cpu()

    def _search(
        self, view: View, prior: ImagePrior, seen: Seen, update: WeightUpdate, place: int, clients: int
    ) -> Tensor:
        """Return the images (N, C, H, W) of a client's batches: those of the way that explain its update best."""
        program = view.program(seen, adaptive=self.adaptive)
        ways = ways_for(view.local_steps.optimizer, informed=prior.informed)
        chance = view.chance("start", seen.download.client)
        if seen.batches:
            target = UpdateTarget.of(program, seen, update, view.local_steps)
        else:
            counts = counted_labels(view, seen, update, self.effort, adaptive=self.adaptive)
            target = UpdateTarget.of_whole(program, update, view.local_steps, counts, chance)
        start = START * torch.randn(seen.records, prior.means[0].numel(), generator=chance).to(program.device)
        search = partial(
            _Search, attack=self, program=program, target=target, prior=prior, fades=target.exact(view.defense)
        )
        found: list[tuple[float, Tensor]] = []
        for number, way in enumerate(ways):
            tell = partial(self._progress, view, place * len(ways) + number, clients * len(ways))
            found.append(search(way=way, progress=tell).run(start.clone()))
        return min(found, key=lambda one: one[0])[1]

    def _progress(self, view: View, before: int, searches: int, step: int) -> None:
        steps = self.budget["steps"]
        view.progress(before * steps + step, searches * steps)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a search compares and moves.

    Attributes:
        floors: of the sizes that changes are divided by, from the start of the search to its end; see `UpdateTarget`;
            None to compare the changes as they are.
        likeness: share of the attack's weight of that name that counts.
        signed: steps are of equal size in all values.
    """

    floors: tuple[float, float] | None
    likeness: float
    signed: bool

    def floor(self, done: float) -> float | None:
        """Return the floor when this share of the search is done."""
        if self.floors is None:
            return None
        first, last = self.floors
        return float(first * (last / first) ** done)


PLAIN = Way(floors=None, likeness=0.03, signed=False)
EVENED = Way(floors=(0.3, 0.01), likeness=1.0, signed=False)


def ways_for(optimizer: str, *, informed: bool) -> list[Way]:
    """Return the ways to search in: shallow networks give more to one, deep ones to the other.

    Adam leaves nothing but changes divided by their sizes. Without auxiliary images there is nothing to be like, and
    signed steps are as published.
    """
    ways = [EVENED] if optimizer == "adam" else [PLAIN, EVENED]
    return ways if informed else [replace(ways[0], likeness=0.0, signed=True)]


@dataclass(frozen=True, kw_only=True)
class _Search:
    """One search for a client's images."""

    attack: UpdateInversion
    program: ClientProgram
    target: UpdateTarget
    prior: ImagePrior
    way: Way
    fades: bool
    progress: Callable[[int], None]

    def run(self, values: Tensor) -> tuple[float, Tensor]:
        """Return how far from the client's update the images are that were found, and the images (N, C, H, W)."""
        labels = torch.cat(list(self.target.labels)).tolist()
        values = values.requires_grad_()
        optimizer = EagerAdam([values], lr=self.attack.lr)
        steps = self.attack.budget["steps"]
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = self.attack.lr * half_cosine(step, steps)
            (slope,) = torch.autograd.grad(self._loss(values, labels, step / steps), values)
            values.grad = slope.sign() if self.way.signed else slope
            optimizer.step()
            if not self.prior.informed:
                with torch.no_grad():
                    values.clamp_(-0.5, 0.5)
            self.progress(step + 1)
        images = self.prior.images(values.detach(), labels).clamp(0, 1)
        made = self.target.retraced(self.program, torch.split(images, self.target.sizes))
        return float((self.target.apart(made.change) + self._norms_apart(made)).detach()), images

    def _loss(self, values: Tensor, labels: Sequence[int], done: float) -> Tensor:
        images = self.prior.images(values, labels)
        floor = self.way.floor(done)
        made = self.target.retraced(self.program, torch.split(images, self.target.sizes), floor or 0.0)
        loss = self.target.apart(made.change, floor) + self.attack.smoothness * total_variation(images).mean()
        left = float(LIKENESS_LEFT**done) if self.fades else 1.0
        likeness = self.attack.likeness * self.way.likeness * left
        loss = loss + likeness * values.square().mean() + self._norms_apart(made)
        return loss + self.attack.smashed_weight * made.residual if self.attack.joint else loss

    def _norms_apart(self, made: Retraced) -> float | Tensor:
        """Return the weighted distance of batch norm's statistics."""
        weight = self.attack.norms if self.target.statistics else 0.0
        return weight * self.target.statistics.apart(made.moments) if weight else 0.0

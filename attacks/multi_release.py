"""Find the same record in several releases, and put together what each of them shows of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target, name_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.arrangement import hungarian, squared_distances
from dtfl_private.attacks.shared.decoder_training import NORMAL_STEPS, DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import TrainedDecoder, trained_decoder
from dtfl_private.attacks.shared.inverse_network import map_shape
from dtfl_private.attacks.shared.releaser import Releaser, batch_size, by_download, fingerprint
from dtfl_private.protocol.messages import Seen

# Added to the distance of records whose labels differ: more than any two images are apart.
NEVER = 1e9
# Ridge on the normal equations of the weights, as a share of their mean diagonal.
RIDGE = 1e-4
# How often all releases are linked, each time to the mean of what is linked by then.
SWEEPS = 2


@dataclass(frozen=True, kw_only=True)
class MultiRelease(Reconstruction):
    """Decode every release, link those of one record, and combine the images by least squares.

    A record is sent in every epoch of every round, in an order that the server does not know. Within a client, the
    records of a release are assigned to the victims by their labels and the distances of the decoded images (Hungarian
    method, Kuhn 1955); a pair is linked if it is nearer than pairs of different auxiliary records as a rule are. The
    images of a record are then combined with weights that are best for auxiliary images released as often. So fresh
    noise averages out, a release under weights that hide more counts less, and the decoders' caution (a single release
    that is mostly noise is decoded to the mean image) is taken back as far as several releases warrant it.

    Assumes that what was sent of a record differs by the clients' weights and fresh draws. Where clients flip images,
    both ways are tried; a crop or a cutout can leave a release unlinked, which then counts for nothing. Weights move on
    within a round, so that releases of later epochs are decoded with the weights of its beginning, a little wrongly.

    Attributes:
        size: of the decoders' network.
        decoder_steps: of each decoder's training, 0 for as many as the effort allows; there is one for each round's
            weights.
        releases: of one record that are used at most, the victim's own first, then the latest.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"}),
        recipe="all releases of a record linked by their decoded images, and combined by least squares",
        looks_back=True,
    )

    size: Literal["small", "medium", "large", "best"] = "medium"
    decoder_steps: Annotated[int, Field(ge=0)] = 0
    releases: Annotated[int, Field(ge=2)] = 8

    def check(self, target: Target) -> None:
        """Refuse what is no image, and activations that are no map."""
        super().check(target)
        map_shape(target.cut_shape, name_of(self))

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        training = DecoderTraining(
            size=self.size, steps=self.steps_of(self.decoder_steps, NORMAL_STEPS), adaptive=self.adaptive
        )
        fitting = [one for one in view.earlier if one.download.tier == view.tier]
        rounds = by_download([*view.seen, *fitting])
        decoders = {
            name: trained_decoder(view.part(number / len(rounds), (number + 1) / len(rounds)), group, training)
            for number, (name, group) in enumerate(rounds.items())
        }
        parts = []
        for seen in view.seen:
            own = [one for one in fitting if one.download.client == seen.download.client]
            chosen = [seen, *own[::-1][: self.releases - 1]]
            names = [fingerprint(one.download) for one in chosen]
            known = _Known.of(view, [rounds[name] for name in names], [decoders[name] for name in names], self.adaptive)
            decoded = [decode_all(decoders[name], one) for name, one in zip(names, chosen, strict=True)]
            parts.append(known.combined(decoded, mirrored="flip" in view.augmentations))
        return torch.cat(parts).cpu()


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A release's images (N, C, H, W) and labels (N,)."""

    images: Tensor
    labels: Tensor

    def part(self, start: int, count: int) -> "Decoded":
        """Return so many records from a place on."""
        return Decoded(images=self.images[start : start + count], labels=self.labels[start : start + count])


def decode_all(decoder: TrainedDecoder, seen: Seen) -> Decoded:
    """Return the images of all batches of a release."""
    smashed, labels = (torch.cat([getattr(batch, part) for batch in seen.batches]) for part in ("smashed", "labels"))
    return Decoded(images=decoder.decode(smashed, labels), labels=labels)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What auxiliary images, released and linked as often as the victims, tell.

    Attributes:
        mean: image (C, H, W) that a record without any release would be taken for.
        releases: the auxiliary images decoded from each release, all in the same order.
        truth: the images (N, C, H, W) themselves.
        limits: squared distance from the image of a record above which an image is rather of another one; for each
            release but the first.
    """

    mean: Tensor
    releases: Sequence[Decoded]
    truth: Tensor
    limits: Sequence[float]

    @classmethod
    def of(
        cls, view: View, groups: Sequence[Sequence[Seen]], decoders: Sequence[TrainedDecoder], adaptive: bool
    ) -> "_Known":
        """Release the validation images under each of these downloads in turn, with draws of their own."""
        data = view.auxiliary
        count = len(data.validation_labels)
        images = torch.full((len(groups), count, *view.input_shape), torch.nan, device=view.device)
        labels = torch.zeros(count, dtype=torch.int64, device=view.device)
        for turn, (group, decoder) in enumerate(zip(groups, decoders, strict=True)):
            # Filled up to whole batches by the first images once more: what makes no batch is left out.
            filled = torch.arange(-(-count // batch_size(group)) * batch_size(group)) % count
            sent = Releaser(view, group, adaptive).release(
                data.validation_images[filled], data.validation_labels[filled], "known", turn
            )
            places = _places(sent.images, data.validation_images)
            images[turn, places] = decoder.decode(sent.smashed, sent.labels)
            labels[places] = sent.labels
        there = ~images.flatten(2).isnan().any(dim=2).any(dim=0)
        releases = [Decoded(images=one[there], labels=labels[there]) for one in images]
        # Further epochs of the same round hold every record, so that there is no doubt whether, only which.
        limits = [
            torch.inf if group is groups[0] else _limit(releases[0], other)
            for group, other in zip(groups[1:], releases[1:], strict=True)
        ]
        truth = data.validation_images.to(view.device)[there]
        return cls(mean=data.images.mean(dim=0).to(view.device), releases=releases, truth=truth, limits=limits)

    def combined(self, decoded: Sequence[Decoded], *, mirrored: bool) -> Tensor:
        """Return images (N, C, H, W) of the first release's records, with what the others show of them."""
        stack, there = self._linked(decoded, mirrored=mirrored)
        known = self._known_stack([len(one.labels) for one in decoded], mirrored=mirrored)
        result = torch.empty_like(stack[0])
        for pattern in torch.unique(there, dim=1).T:
            which = (there == pattern[:, None]).all(dim=0)
            weights = self._weights(known[pattern])
            moved = (stack[pattern][:, which] - self.mean) * weights[:, None, None, None, None]
            result[which] = self.mean + moved.sum(dim=0)
        return result.clamp(0, 1)

    def _linked(self, decoded: Sequence[Decoded], *, mirrored: bool) -> tuple[Tensor, Tensor]:
        """Return each record's images (R, N, C, H, W) in all releases, and whether it was found there (R, N).

        Each release is compared with the mean of what was linked before; then once more with the mean of all.
        """
        first = decoded[0]
        stack = first.images.repeat(len(decoded), 1, 1, 1, 1)
        there = torch.zeros(len(decoded), len(first.labels), dtype=torch.bool, device=stack.device)
        there[0] = True
        for _ in range(SWEEPS):
            for place, (other, limit) in enumerate(zip(decoded[1:], self.limits, strict=True), start=1):
                there[place] = False
                weight = there.float()[:, :, None, None, None]
                mean = Decoded(images=(stack * weight).sum(dim=0) / weight.sum(dim=0), labels=first.labels)
                stack[place], there[place] = link(mean, other, limit, mirrored=mirrored)
        return stack, there

    def _known_stack(self, sizes: Sequence[int], *, mirrored: bool) -> Tensor:
        """Return the auxiliary images (R, N, C, H, W) in all releases, linked among as many records as the victims."""
        parts = []
        for start in range(0, len(self.truth), sizes[0]):
            own = [one.part(start, max(size, sizes[0])) for one, size in zip(self.releases, sizes, strict=True)]
            parts.append(self._linked(own, mirrored=mirrored)[0])
        return torch.cat(parts, dim=1)

    def _weights(self, images: Tensor) -> Tensor:
        """Return the weights of releases (R, N, C, H, W) with the least squared error on auxiliary images."""
        parts = (images - self.mean).flatten(1).double()
        products = parts @ parts.T
        products = products + RIDGE * products.diagonal().mean() * torch.eye(len(products)).to(products)
        weights: Tensor = torch.linalg.solve(products, parts @ (self.truth - self.mean).flatten().double())
        return weights.to(images)


def link(first: Decoded, other: Decoded, limit: float, *, mirrored: bool) -> tuple[Tensor, Tensor]:
    """Return for each record of one release its image in another (N, C, H, W), and whether it was found there (N,).

    Args:
        first: release of the records.
        other: release of the same client; may hold fewer of them, and others.
        limit: squared distance up to which two images are of one record.
        mirrored: whether one of them may be flipped.
    """
    ways = [other.images, other.images.flip(-1)] if mirrored else [other.images]
    costs = torch.stack([squared_distances(first.images.flatten(1)[None], way.flatten(1)[None])[0] for way in ways])
    way = costs.argmin(dim=0)
    costs = costs.min(dim=0).values + NEVER * (first.labels[:, None] != other.labels[None, :])
    size = max(costs.shape)
    square = costs.new_full((size, size), NEVER)
    square[: costs.shape[0], : costs.shape[1]] = costs
    partner = hungarian(square.T[None])[0][: len(first.labels)].to(costs.device)
    real = partner < costs.shape[1]
    partner = partner.clamp(max=costs.shape[1] - 1)
    own = torch.arange(len(partner), device=costs.device)
    images = torch.stack(ways)[way[own, partner], partner]
    found = real & (costs[own, partner] <= min(limit, NEVER / 2))
    return images, found


def _limit(first: Decoded, other: Decoded) -> float:
    """Return the squared distance that best tells pairs of one record from the nearest pairs of different ones.

    Args:
        first: a release of some records.
        other: another one of the same, in the same order.
    """
    distances = squared_distances(first.images.flatten(1)[None], other.images.flatten(1)[None])[0]
    same, labels = distances.diagonal(), first.labels
    barred = (labels[:, None] != labels[None, :]) | torch.eye(len(labels), device=labels.device).bool()
    nearest = (distances + NEVER * barred).min(dim=1).values
    steps = torch.cat([same, nearest]).sort().values
    wrong = (same[None, :] > steps[:, None]).sum(dim=1) + (nearest[None, :] <= steps[:, None]).sum(dim=1)
    return float(steps[wrong.argmin()])


def _places(images: Tensor, among: Tensor) -> Tensor:
    """Return where images (N, C, H, W), released in random order, stand among all; copies count as one."""
    parts = (images.flatten(1).double(), among.to(images.device).flatten(1).double())
    return squared_distances(parts[0][None], parts[1][None])[0].argmin(dim=1)

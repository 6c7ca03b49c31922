"""Find the same record in several releases, and put together what each of them shows of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.arrangement import hungarian, squared_distances
from attacks.inverse_network import map_shape
from attacks.inversion import Decoder, Releaser, Training, fingerprint, trained_decoder
from dtfl_private.adversary.base import AttackFacts, Reconstruction, Scene, name_of
from dtfl_private.adversary.view import Seen, View

# Added to the distance of records whose labels differ: more than any two images are apart.
NEVER = 1e9
# Ridge on the normal equations of the weights, as a share of their mean diagonal.
RIDGE = 1e-4


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
        epochs: of each decoder, at most; there is one for each round's weights.
        releases: of one record that are used at most, the victim's own first, then the latest.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"}),
        recipe="all releases of a record linked by their decoded images, and combined by least squares",
        looks_back=True,
    )

    size: Literal["small", "medium", "large", "best"] = "medium"
    epochs: Annotated[int, Field(ge=1)] = 40
    releases: Annotated[int, Field(ge=2)] = 8

    def check(self, scene: Scene) -> None:
        """Refuse what is no image, and activations that are no map."""
        super().check(scene)
        map_shape(scene.cut_shape, name_of(self))

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        training = Training(size=self.size, epochs=self.epochs, adaptive=self.adaptive)
        fitting = [one for one in view.earlier if one.download.tier == view.tier]
        rounds = _by_download([*view.seen, *fitting])
        decoders = {name: trained_decoder(view, group, training) for name, group in rounds.items()}
        parts = []
        for seen in view.seen:
            own = [one for one in fitting if one.download.client == seen.download.client]
            chosen = [seen, *own[::-1][: self.releases - 1]]
            names = [fingerprint(one.download) for one in chosen]
            known = _Known.of(view, [rounds[name] for name in names], [decoders[name] for name in names], self.adaptive)
            decoded = [decode_all(decoders[name], one) for name, one in zip(names, chosen, strict=True)]
            parts.append(known.combined(decoded, mirrored="flip" in view.augmentations))
        return torch.cat(parts).cpu()


def _by_download(rounds: Sequence[Seen]) -> dict[str, list[Seen]]:
    groups: dict[str, list[Seen]] = {}
    for seen in rounds:
        groups.setdefault(fingerprint(seen.download), []).append(seen)
    return groups


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A release's images (N, C, H, W) and labels (N,)."""

    images: Tensor
    labels: Tensor


def decode_all(decoder: Decoder, seen: Seen) -> Decoded:
    """Return the images of all batches of a release."""
    smashed, labels = (torch.cat([getattr(batch, part) for batch in seen.batches]) for part in ("smashed", "labels"))
    return Decoded(images=decoder.decode(smashed, labels), labels=labels)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What auxiliary images, released as often as the victims, tell.

    Attributes:
        mean: image (C, H, W) that a record without any release would be taken for.
        decoded: images (R, N, C, H, W) of each release, record by record.
        truth: the images (N, C, H, W) themselves.
        limit: squared distance of the images of two releases above which they are rather of different records; for
            each release but the first.
    """

    mean: Tensor
    decoded: Tensor
    truth: Tensor
    limit: Sequence[float]

    @classmethod
    def of(cls, view: View, groups: Sequence[Sequence[Seen]], decoders: Sequence[Decoder], adaptive: bool) -> "_Known":
        """Release the validation images under each of these downloads in turn, with draws of their own."""
        data = view.auxiliary
        parts = []
        truth = data.validation_images
        for turn, (group, decoder) in enumerate(zip(groups, decoders, strict=True)):
            released = Releaser(view, group, adaptive).release(truth, data.validation_labels, "known", turn)
            images, order = decoder.decode(released.smashed, released.labels), _places(released.images, truth)
            full = torch.full((len(truth), *images.shape[1:]), torch.nan, device=images.device)
            full[order] = images
            parts.append(full)
        decoded = torch.stack(parts)
        whole = ~decoded.flatten(2).isnan().any(dim=2).any(dim=0)
        decoded, truth = decoded[:, whole], truth.to(decoded.device)[whole]
        limit = [_limit(decoded[0], other, data.validation_labels.to(decoded.device)[whole]) for other in decoded[1:]]
        return cls(mean=data.images.mean(dim=0).to(decoded.device), decoded=decoded, truth=truth, limit=limit)

    def combined(self, decoded: Sequence[Decoded], *, mirrored: bool) -> Tensor:
        """Return images (N, C, H, W) of the first release's records, with what the others show of them."""
        first, others = decoded[0], decoded[1:]
        stack = first.images.new_zeros((len(decoded), *first.images.shape))
        there = torch.zeros(len(decoded), len(first.labels), dtype=torch.bool)
        stack[0], there[0] = first.images, True
        for place, (other, limit) in enumerate(zip(others, self.limit, strict=True), start=1):
            images, linked = link(first, other, limit, mirrored=mirrored)
            stack[place], there[place] = images, linked
        result = torch.empty_like(first.images)
        for pattern in there.T.unique(dim=0):
            which = (there.T == pattern).all(dim=1)
            weights = self._weights(pattern.to(stack.device))
            moved = (stack[pattern][:, which] - self.mean) * weights[:, None, None, None, None]
            result[which] = self.mean + moved.sum(dim=0)
        return result.clamp(0, 1)

    def _weights(self, there: Tensor) -> Tensor:
        """Return the weights (releases that are there,) with the least squared error on auxiliary images."""
        parts = (self.decoded[there] - self.mean).flatten(1).double()
        products = parts @ parts.T
        products = products + RIDGE * products.diagonal().mean() * torch.eye(len(products)).to(products)
        return torch.linalg.solve(products, parts @ (self.truth - self.mean).flatten().double()).to(self.decoded)


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
    return images, (real & (costs[own, partner] <= limit)).cpu()


def _limit(images: Tensor, others: Tensor, labels: Tensor) -> float:
    """Return the squared distance that best tells pairs of one record from the nearest pairs of different ones."""
    distances = squared_distances(images.flatten(1)[None], others.flatten(1)[None])[0]
    same = distances.diagonal()
    different = distances + NEVER * ((labels[:, None] != labels[None, :]) | torch.eye(len(labels)).to(distances).bool())
    nearest = different.min(dim=1).values
    steps = torch.cat([same, nearest]).sort().values
    wrong = (same[None, :] > steps[:, None]).sum(dim=1) + (nearest[None, :] <= steps[:, None]).sum(dim=1)
    return float(steps[wrong.argmin()])


def _places(images: Tensor, among: Tensor) -> Tensor:
    """Return where images (N, C, H, W), released in random order, stand among all; copies count as one."""
    return squared_distances(images.flatten(1).double()[None], among.to(images.device).flatten(1).double()[None])[
        0
    ].argmin(dim=1)

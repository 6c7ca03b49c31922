"""Which records of one release are those of another: by labels, and distances of decoded images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dtfl_private.attacks.shared.arrangement import hungarian, squared_distances

# Added to the distance of records whose labels differ: more than any two images are apart.
NEVER = 1e9
# How often all releases are linked, each time to the mean of what is linked by then.
SWEEPS = 2


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a client sent at a time, decoded.

    Attributes:
        images: (N, C, H, W), as a decoder sees them.
        labels: (N,).
        smashed: (N, *cut shape), as received.
        batches: (N,), the number of the batch that each record came in.
    """

    images: Tensor
    labels: Tensor
    smashed: Tensor
    batches: Tensor

    def of(self, which: Tensor | slice) -> "Release":
        """Return some of its records."""
        return Release(**{name: part[which] for name, part in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where the records of one release are in another.

    Attributes:
        places: (N,) there.
        mirrored: (N,) whether it is flipped there.
        found: (N,) whether it is there at all.
    """

    places: Tensor
    mirrored: Tensor
    found: Tensor

    def images(self, other: Release) -> Tensor:
        """Return the images (N, C, H, W) of the other release, turned the same way."""
        images = other.images[self.places]
        return turned(images, self.mirrored)


def turned(images: Tensor, mirrored: Tensor) -> Tensor:
    """Return images (N, C, H, W), those flipped that are mirrored (N,)."""
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def link(first: Release, other: Release, limit: float, *, mirrored: bool) -> Links:
    """Return where each record of one release is in another.

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
    found = real & (costs[own, partner] <= min(limit, NEVER / 2))
    return Links(places=partner, mirrored=way[own, partner] == 1, found=found)


def nearest_limit(first: Release, other: Release) -> float:
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


@dataclass(frozen=True, kw_only=True)
class LinkedReleases:
    """Several releases (R of them), and where the same records (N) are in each; all are in the first.

    Attributes:
        releases: of one client.
        links: from the records to each release.
    """

    releases: Sequence[Release]
    links: Sequence[Links]

    @property
    def images(self) -> Tensor:
        """Images (R, N, C, H, W) as decoded from each release; of no meaning where a record was not found."""
        return torch.stack([one.images(release) for one, release in zip(self.links, self.releases, strict=True)])

    @property
    def labels(self) -> Tensor:
        """Labels (N,) of the records, as sent."""
        return self.releases[0].labels[self.links[0].places]

    @property
    def found(self) -> Tensor:
        """Whether each record was found (R, N)."""
        return torch.stack([one.found for one in self.links])


def link_all(
    releases: Sequence[Release], limits: Sequence[float], *, mirrored: bool, start: int = 0, count: int | None = None
) -> LinkedReleases:
    """Return where records of the first release are in all others.

    Each release is compared with the mean of what was linked before; then once more with the mean of all.

    Args:
        releases: of one client.
        limits: as `link` takes them, for each release but the first.
        mirrored: as `link` takes it.
        start: place of the first record in the first release.
        count: how many records; all by default. Then they are looked for among as many of each other release, from
            the same place on.
    """
    among = [one.of(slice(start, None if count is None else start + count)) for one in releases]
    first = among[0]
    own = torch.arange(len(first.labels), device=first.labels.device)
    stack = first.images.repeat(len(among), 1, 1, 1, 1)
    links = [Links(places=own, mirrored=own < 0, found=own >= 0)]
    links += [Links(places=own, mirrored=own < 0, found=own < 0)] * (len(among) - 1)
    for _ in range(SWEEPS):
        for place, (other, limit) in enumerate(zip(among[1:], limits, strict=True), start=1):
            there = torch.stack([one.found for one in links])
            there[place] = False
            weight = there.float()[:, :, None, None, None]
            mean = replace(first, images=(stack * weight).sum(dim=0) / weight.sum(dim=0))
            links[place] = link(mean, other, limit, mirrored=mirrored)
            stack[place] = links[place].images(other)
    return LinkedReleases(releases=releases, links=[replace(one, places=one.places + start) for one in links])

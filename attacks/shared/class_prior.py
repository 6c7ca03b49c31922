"""What images are like whose label was sent: for each label a normal distribution, learnt from auxiliary images.

A few images say little of how the pixels of a class vary together, all of them say more; so a class's covariance is
half its own, and half that of all classes (as in Friedman 1989, JASA, "Regularized discriminant analysis").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import label_channel
from dtfl_private.attacks.shared.variations import varied, varied_share
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import isolated, torch_stream

# Images to learn from: auxiliary ones and variations of them, at least.
IMAGES = 3000
# Directions in which images differ, at most.
MOST_DIRECTIONS = 256
# Of a class's covariance, the share that is its own.
OWN = 0.5
# Added to all variances: no direction is ruled out by what few images show.
FLOOR = 0.003


@dataclass(frozen=True, kw_only=True)
class ClassPrior:
    """Images behind a sent label are its mean, plus directions times normal values with a covariance of the label.

    Attributes:
        means: of each label as sent (labels, D); D = C H W pixels.
        directions: (D, K) orthonormal, in which images differ most.
        roots: (labels, K, K) lower triangular, float64, whose squares R R^T are the covariances along them.
    """

    means: Tensor
    directions: Tensor
    roots: Tensor

    @classmethod
    def of(cls, view: View, seen: Seen, *, adaptive: bool) -> "ClassPrior":
        """Return what an adversary's auxiliary images tell of those that a client sends; cached."""
        kept = view.keep(f"class prior/{adaptive}", lambda: _learnt(view, seen, adaptive))
        device = view.device
        return cls(
            means=kept["means"].to(device), directions=kept["directions"].to(device), roots=kept["roots"].to(device)
        )


def _learnt(view: View, seen: Seen, adaptive: bool) -> dict[str, Tensor]:
    """Return the parts of a `ClassPrior`."""
    own, chance = view.auxiliary, torch_stream(view.seed, "images of a class", view.tier)
    count = len(own.labels)
    drawn = torch.cat([torch.randperm(count, generator=chance) for _ in range(-(-IMAGES // count))])
    drawn = drawn[: max(IMAGES, count)]
    labels = own.labels[drawn].cpu()
    images = varied(own.images[drawn].cpu(), labels, tuple(view.augmentations), varied_share(count), chance)
    channel = label_channel(view, seen, adaptive=adaptive)
    shares = torch.bincount(labels, minlength=view.classes).double() / len(labels)
    behind = channel * shares[:, None]  # of each true label (row) and sent one (column)
    with isolated(view.seed, "class prior", view.tier):
        means, directions, roots = normal_by_label(images.flatten(1), labels, (behind / behind.sum(dim=0)).T)
    return {"means": means.float(), "directions": directions.float(), "roots": roots}


def normal_by_label(images: Tensor, labels: Tensor, behind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return means (sent, D), directions (D, K) and roots (sent, K, K) of the images behind each label as sent.

    Args:
        images: (N, D).
        labels: of these (N,).
        behind: (sent, classes) float64, probability of each true label given the sent one.
    """
    rows = images.double()
    _, _, directions = torch.svd_lowrank(rows - rows.mean(dim=0), q=min(MOST_DIRECTIONS, *rows.shape), niter=4)
    classes = torch.arange(behind.shape[1]).tolist()
    there = set(labels.tolist())
    of_class = [rows[labels == label] if label in there else rows for label in classes]
    centres = torch.stack([own.mean(dim=0) for own in of_class])
    apart = [(own - own.mean(dim=0)) @ directions for own in of_class]
    covariances = _covariances(apart, [one for label, one in enumerate(apart) if label in there])
    means = behind @ centres
    away = (centres[None] - means[:, None]) @ directions  # of the classes behind a sent label
    between = torch.einsum("sc,sci,scj->sij", behind, away, away)
    spread = torch.einsum("sc,cij->sij", behind, covariances) + between
    floor = FLOOR * torch.eye(spread.shape[-1], dtype=spread.dtype)
    return means, directions, torch.linalg.cholesky(spread + floor)


def _covariances(apart: Sequence[Tensor], known: Sequence[Tensor]) -> Tensor:
    """Return the covariance (classes, K, K) of each class's differences from its mean, half that of all known ones."""
    own = torch.stack([one.T @ one / len(one) for one in apart])
    together = torch.cat(list(known))
    return OWN * own + (1 - OWN) * together.T @ together / len(together)

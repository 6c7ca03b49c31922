"""The search's own reconstruction: the best linear map from what was sent back to images, in closed form.

Networks reconstruct better and take a hundred times as long. To tell promising points from others this will do: it is
the best estimator there is behind a linear cut with normal noise, and never better than the attacks of the last rung
and of the fresh audit are meant to be.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.randomness import isolated

# Of the mean eigenvalue of the Gram matrix; which one is taken is chosen on validation images.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class LinearDecoder(Reconstruction):
    """Fit a linear map from smashed data and label to images by ridge regression on auxiliary images, and apply it.

    The auxiliary images go through the known client half and the defenses' own samplers, as `decoder` sends them. It is
    fitted in its dual form: the work grows with the number of auxiliary images, not with the size of the cut.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"}),
        recipe="ridge regression from smashed data and labels to images, on auxiliary images",
    )

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        known, auxiliary = view.seen[0], view.auxiliary
        with isolated(view.seed, "linear decoder", view.tier):
            program = view.program(known, adaptive=self.adaptive, draw="linear decoder")
            size = max(len(batch.labels) for seen in view.seen for batch in seen.batches)
            trained = _released(program, auxiliary.images, auxiliary.labels, size, view.classes)
            tuned = _released(program, auxiliary.validation_images, auxiliary.validation_labels, size, view.classes)
        sent = torch.cat(
            [_features(batch.smashed, batch.labels, view.classes) for seen in view.seen for batch in seen.batches]
        )
        found = _fitted(trained, auxiliary.images, tuned, auxiliary.validation_images, sent)
        view.progress(1, 1)
        return found.clamp(0, 1).float().reshape(-1, *view.input_shape)


def _released(program: ClientProgram, images: Tensor, labels: Tensor, size: int, classes: int) -> Tensor:
    """Return the features (N, d) of what a client would send of images (N, C, H, W), in batches of a size."""
    parts = []
    for own, own_labels in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        sent_labels = program.sent_labels(own_labels)
        parts.append(_features(program.release(own.to(program.device), sent_labels), sent_labels, classes))
    return torch.cat(parts)


def _features(smashed: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return activations (N, *cut shape) as rows, with the label beside them as strong as they are together."""
    rows = smashed.detach().float().cpu().flatten(1)
    scale = rows.square().sum(dim=1).mean().sqrt()
    return torch.cat([rows, scale * F.one_hot(labels.cpu(), classes)], dim=1)


def _fitted(rows: Tensor, images: Tensor, tuned: Tensor, wanted: Tensor, sent: Tensor) -> Tensor:
    """Return the images (N, pixels) of what was sent, by the penalty that is best on validation images."""
    middle, mean = rows.mean(dim=0), images.flatten(1).mean(dim=0)
    centred, target = (rows - middle).double(), (images.flatten(1) - mean).double()
    eigenvalues, vectors = torch.linalg.eigh(centred @ centred.T)
    turned = vectors.T @ target
    per_image = eigenvalues.clamp(min=0).mean().clamp(min=1e-12)

    def applied(others: Tensor, penalty: float) -> Tensor:
        weights = vectors @ (turned / (eigenvalues.clamp(min=0) + penalty * per_image)[:, None])
        guessed: Tensor = ((others - middle).double() @ centred.T) @ weights + mean
        return guessed

    errors = [float((applied(tuned, penalty) - wanted.flatten(1)).square().mean()) for penalty in PENALTIES]
    return applied(sent, PENALTIES[errors.index(min(errors))])

"""Infer a property of the victims' images that is not their label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dtfl_private.attacking import base
from dtfl_private.attacking.base import AttackFacts
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import release_auxiliary, same_weights
from dtfl_private.attacks.shared.property_classifier import Examples, PropertyClassifier
from dtfl_private.protocol.messages import Seen


def _brightness(images: Tensor) -> Tensor:
    return images.flatten(1).mean(dim=1)


def _asymmetry(images: Tensor) -> Tensor:
    """How much brighter the left half is than the right one."""
    half = images.shape[3] // 2
    return images[..., :half].flatten(1).mean(dim=1) - images[..., -half:].flatten(1).mean(dim=1)


def _stroke(images: Tensor) -> Tensor:
    """How wide strokes are: brightness over the steps between neighbours, which thin strokes have more of."""
    steps = (images[..., 1:] - images[..., :-1]).abs().flatten(1).mean(dim=1)
    steps = steps + (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(dim=1)
    return _brightness(images) / steps.clamp(min=1e-6)


Attribute = Literal["brightness", "asymmetry", "stroke"]
MEASURES: Mapping[Attribute, Callable[[Tensor], Tensor]] = {
    "brightness": _brightness,
    "asymmetry": _asymmetry,
    "stroke": _stroke,
}


@dataclass(frozen=True, kw_only=True)
class AttributeInference(base.AttributeInference):
    """Train a classifier from auxiliary smashed data, and the labels sent with them, to a property of the images.

    The property is whether a measure of the image is above the median of its class in the auxiliary data, so that the
    label says next to nothing of it. Overlearning reveals sensitive attributes: Song and Shmatikov 2020 (ICLR,
    1905.11742, section 3) infer them from a split network's activations in this way.

    Attributes:
        attribute: brightness of the image; asymmetry, whether the left is brighter than the right; stroke, how wide
            the drawing's strokes are.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"}),
        recipe="classifier from auxiliary smashed data to a property of the image",
        source="Song and Shmatikov 2020, 1905.11742",
    )

    attribute: Attribute = "brightness"

    def values(self, images: Tensor, labels: Tensor, auxiliary: Auxiliary) -> Tensor:
        """Return 1 where the measure is above the median of the class in the auxiliary data, else 0."""
        measure = MEASURES[self.attribute]
        known, own = measure(auxiliary.images), measure(images)
        # A class without auxiliary images is measured by all.
        threshold = torch.full_like(own, float(known.median()))
        for label in torch.unique(auxiliary.labels).tolist():
            threshold[labels == label] = known[auxiliary.labels == label].median()
        return (own > threshold).long()

    def infer(self, view: View) -> Tensor:
        """Return the likelier value for each victim, group by group of clients with the same weights."""
        found: dict[int, Tensor] = {}
        groups = same_weights(view)
        for number, group in enumerate(groups):
            classifier = self._classifier(view, group)
            for seen in group:
                parts = [classifier.log_probabilities(batch.smashed, batch.labels) for batch in seen.batches]
                found[id(seen)] = torch.cat(parts).argmax(dim=1)
            view.progress(number + 1, len(groups))
        return torch.cat([found[id(seen)] for seen in view.seen])

    def _classifier(self, view: View, group: list[Seen]) -> PropertyClassifier:
        known = view.auxiliary

        def examples(name: str, images: Tensor, labels: Tensor) -> Examples:
            sent = release_auxiliary(view, group, images, labels, "attribute", name, adaptive=self.adaptive)
            values = self.values(images, labels, known)[sent.places]
            return Examples(smashed=sent.smashed, sent_labels=sent.sent_labels, values=values)

        return PropertyClassifier(
            examples("train", known.images, known.labels),
            examples("validation", known.validation_images, known.validation_labels),
            values=2,
            classes=view.classes,
            seed=view.seed,
            device=view.device,
        )

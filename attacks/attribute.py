"""Infer a property of the victims' images that is not their label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking import base
from dtfl_private.attacking.base import AttackFacts
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.view import View
from dtfl_private.attacks.decoder import Decoder
from dtfl_private.attacks.shared.auxiliary_release import release_auxiliary, same_weights
from dtfl_private.attacks.shared.decoders_by_download import trained_decoder
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
    """Infer a property from smashed data by a classifier, and by measuring it on what a decoder makes of them.

    The property is whether a measure of the image is above the median of its class in the auxiliary data, so that the
    label says next to nothing of it. Overlearning reveals sensitive attributes: Song and Shmatikov 2020 (ICLR,
    1905.11742, section 3) infer them from a split network's activations by a classifier. Where images can be
    reconstructed, a measure that can be computed is read off them far better: the two witnesses are weighed by a
    logistic regression on auxiliary validation images.

    Attributes:
        attribute: brightness of the image; asymmetry, whether the left is brighter than the right; stroke, how wide
            the drawing's strokes are.
        decoder_steps: of the decoder's training; 0 for as many as the effort allows.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"}),
        recipe="classifier from smashed data to a property of the image, and the property of the decoder's images",
        source="Song and Shmatikov 2020, 1905.11742",
    )

    attribute: Attribute = "brightness"
    decoder_steps: Annotated[int, Field(ge=0)] = 0

    def values(self, images: Tensor, labels: Tensor, auxiliary: Auxiliary) -> Tensor:
        """Return 1 where the measure is above the median of the class in the auxiliary data, else 0."""
        return (self._margins(images, labels, auxiliary) > 0).long()

    def _margins(self, images: Tensor, labels: Tensor, auxiliary: Auxiliary) -> Tensor:
        """Return by how much the measure of images (N, C, H, W) is above the median of their class."""
        measure = MEASURES[self.attribute]
        known, own = measure(auxiliary.images), measure(images)
        # A class without auxiliary images is measured by all.
        threshold = torch.full_like(own, float(known.median()))
        for label in torch.unique(auxiliary.labels).tolist():
            threshold[labels == label] = known[auxiliary.labels == label].median()
        return own - threshold

    def infer(self, view: View) -> Tensor:
        """Return the likelier value for each victim, group by group of clients with the same weights."""
        found: dict[int, Tensor] = {}
        groups = same_weights(view)
        for number, group in enumerate(groups):
            part = view.part(number / len(groups), (number + 1) / len(groups))
            guess = self._guesser(part, group)
            for seen in group:
                parts = [guess(batch.smashed, batch.labels) for batch in seen.batches]
                found[id(seen)] = torch.cat(parts)
        return torch.cat([found[id(seen)] for seen in view.seen])

    def _guesser(self, view: View, group: list[Seen]) -> Callable[[Tensor, Tensor], Tensor]:
        """Return what guesses values (B,) from activations (B, *cut shape) and the labels sent with them."""
        decoder = Decoder(steps=self.decoder_steps, adaptive=self.adaptive, effort=self.effort)
        trained = trained_decoder(view.part(0, 0.9), group, decoder.training)
        known = view.auxiliary
        validation = self._examples(view, group, "validation", known.validation_images, known.validation_labels)
        classifier = PropertyClassifier(
            self._examples(view, group, "train", known.images, known.labels),
            validation,
            values=2,
            classes=view.classes,
            seed=view.seed,
            device=view.device,
        )

        def witnesses(smashed: Tensor, labels: Tensor) -> Tensor:
            """Return the classifier's log odds and the margin on the decoder's images, (B, 2)."""
            chances = classifier.log_probabilities(smashed, labels)
            margins = self._margins(trained.decode(smashed, labels).cpu(), labels.cpu(), known)
            return torch.stack([chances[:, 1] - chances[:, 0], margins.double()], dim=1)

        return weighed(witnesses, validation)

    def _examples(self, view: View, group: list[Seen], name: str, images: Tensor, labels: Tensor) -> Examples:
        sent = release_auxiliary(view, group, images, labels, "attribute", name, adaptive=self.adaptive)
        values = self.values(images, labels, view.auxiliary)[sent.places]
        return Examples(smashed=sent.smashed, sent_labels=sent.sent_labels, values=values)


def weighed(witnesses: Callable[[Tensor, Tensor], Tensor], validation: Examples) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what guesses a property of two values from witnesses, by a logistic regression on validation examples.

    Args:
        witnesses: from activations (B, *cut shape) and labels (B,) to (B, witnesses); the first is a log odds.
        validation: examples that no witness has learnt from. If all have one value, the first witness decides alone.
    """
    from sklearn.linear_model import LogisticRegression  # scikit-learn takes a while to load
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(torch.unique(validation.values)) < 2:
        return lambda smashed, labels: (witnesses(smashed, labels)[:, 0] > 0).long()
    judge = make_pipeline(StandardScaler(), LogisticRegression())
    judge.fit(witnesses(validation.smashed, validation.sent_labels).numpy(), validation.values.numpy())
    return lambda smashed, labels: torch.from_numpy(judge.predict(witnesses(smashed, labels).numpy())).long()

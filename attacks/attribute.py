"""Infer a property of the victims' images that is not their label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking import base
from dtfl_private.attacking.base import AttackFacts
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.view import View
from dtfl_private.attacks.hybrid import Hybrid
from dtfl_private.attacks.optimization import tuning_batches
from dtfl_private.attacks.shared.auxiliary_release import release_auxiliary, same_weights
from dtfl_private.attacks.shared.property_classifier import Examples, PropertyClassifier
from dtfl_private.attacks.shared.releaser import ReleasedImages
from dtfl_private.protocol.messages import Seen, SmashedBatch


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


# Of the standard normal distribution: half of it lies within this of 0.
NORMAL_QUARTILE = 0.6745


@dataclass(frozen=True, kw_only=True)
class AttributeInference(base.AttributeInference):
    """Infer a property from smashed data by a classifier, and by measuring it on reconstructed images.

    The property is whether a measure of the image is above the median of its class in the auxiliary data, so that the
    label says next to nothing of it. Overlearning reveals sensitive attributes: Song and Shmatikov 2020 (ICLR,
    1905.11742, section 3) infer them from a split network's activations by a classifier. Where images can be
    reconstructed (by `hybrid`), a measure that can be computed is read off them far better. The errors of that measure
    on auxiliary validation images say how much it weighs: its log odds are added to the classifier's.

    Attributes:
        attribute: brightness of the image; asymmetry, whether the left is brighter than the right; stroke, how wide
            the drawing's strokes are.
        decoder_steps: of the decoder of `hybrid`; 0 for as many as the effort allows.
        search_steps: of its searches, likewise.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="classifier from smashed data to a property of the image, and the property of reconstructed images",
        source="Song and Shmatikov 2020, 1905.11742",
    )
    normal_steps: ClassVar[Mapping[str, int]] = {
        "decoder_steps": Hybrid.normal_steps["decoder_steps"],
        "search_steps": Hybrid.normal_steps["steps"],
    }

    attribute: Attribute = "brightness"
    decoder_steps: Annotated[int, Field(ge=0)] = 0
    search_steps: Annotated[int, Field(ge=0)] = 0

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
            part = view.showing(group).part(number / len(groups), (number + 1) / len(groups))
            values = self._of_group(part)
            sizes = [seen.records for seen in group]
            found |= {id(seen): own for seen, own in zip(group, torch.split(values, sizes), strict=True)}
        return torch.cat([found[id(seen)] for seen in view.seen])

    def _of_group(self, view: View) -> Tensor:
        """Return the values (victims,) of clients with the same weights."""
        known = view.auxiliary
        classifier = PropertyClassifier(
            self._examples(view, "train", known.images, known.labels),
            self._examples(view, "validation", known.validation_images, known.validation_labels),
            values=2,
            classes=view.classes,
            seed=view.seed,
            device=view.device,
        )
        hybrid = Hybrid(
            decoder_steps=self.decoder_steps, steps=self.search_steps, adaptive=self.adaptive, effort=self.effort
        )

        def margins(own: View) -> Tensor:
            labels = torch.cat([batch.labels for batch in _batches(own)]).cpu()
            return self._margins(hybrid.reconstruct(own).cpu(), labels, known)

        sent = tuning_batches(view, self.adaptive)
        truth = torch.cat([self._margins(batch.images.cpu(), batch.labels.cpu(), known) for batch in sent])
        errors = margins(view.showing([as_sent(view.seen[0], sent)]).part(0, 0.5)) - truth
        chances = [classifier.log_probabilities(batch.smashed, batch.labels) for batch in _batches(view)]
        odds = torch.cat([chance[:, 1] - chance[:, 0] for chance in chances])
        return (odds + log_odds_of(margins(view.part(0.5, 1)), errors) > 0).long()

    def _examples(self, view: View, name: str, images: Tensor, labels: Tensor) -> Examples:
        sent = release_auxiliary(view, view.seen, images, labels, "attribute", name, adaptive=self.adaptive)
        values = self.values(images, labels, view.auxiliary)[sent.places]
        return Examples(smashed=sent.smashed, sent_labels=sent.sent_labels, values=values)


def as_sent(like: Seen, released: Sequence[ReleasedImages]) -> Seen:
    """Return releases of the adversary's own images as if they were messages of a client's round."""
    first = like.batches[0]
    batches = [replace(first, batch=int(one.batches[0]), smashed=one.smashed, labels=one.labels) for one in released]
    return replace(like, batches=tuple(batches), update=None)


def _batches(view: View) -> list[SmashedBatch]:
    return [batch for seen in view.seen for batch in seen.batches]


def log_odds_of(margins: Tensor, errors: Tensor) -> Tensor:
    """Return the log odds (N,), float64, that true margins are above 0, of margins (N,) measured with normal errors.

    Args:
        margins: as measured.
        errors: (M,) measured less true ones of other images: their median and median absolute deviation count, for a
            few reconstructions that fail altogether say nothing of the others.
    """
    bias = errors.double().median()
    deviation = ((errors.double() - bias).abs().median() / NORMAL_QUARTILE).clamp(min=1e-6)
    above = (margins.double() - bias) / deviation
    odds: Tensor = torch.special.log_ndtr(above) - torch.special.log_ndtr(-above)
    return odds

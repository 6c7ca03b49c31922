"""Infer true labels behind protected ones: what the smashed data say, and what the protected label still says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking import base
from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, Target, name_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import label_channel, release_auxiliary, same_weights
from dtfl_private.attacks.shared.kernel_classifier import KernelClassifier
from dtfl_private.attacks.shared.property_classifier import Examples, PropertyClassifier
from dtfl_private.attacks.shared.text_classifier import TextClassifier
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen

LabelClassifier = PropertyClassifier | TextClassifier | KernelClassifier

# Self-training with few labels: rounds, and from which probability on a guess is taken for a label.
COMPLETIONS = 2
SURE = 0.9


@dataclass(frozen=True, kw_only=True)
class LabelInference(base.LabelInference):
    """Train a classifier from auxiliary smashed data to true labels, and combine it with the protected label by Bayes.

    A network or a kernel classifier, whichever is surer of auxiliary validation labels.

    Given the true label, the protected one is drawn apart from the smashed data, so that P(y | z, y') is proportional
    to P(y | z) P(y' | y); the latter is estimated from the defense's own sampler. With labels of only a few auxiliary
    images per class the classifier is completed by its own sure guesses of the rest: model completion, as in Fu et al.
    2022, Label inference attacks against vertical federated learning (USENIX Security, section 4.1), with
    pseudo-labels (Lee 2013) for their MixMatch.

    Attributes:
        labels_per_class: auxiliary images of each class whose label is known; 0 for all of them.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="classifier from auxiliary smashed data to labels, with the protected label's own evidence",
        source="after Fu et al. 2022, USENIX Security",
        inputs=ANY_INPUTS,
    )

    labels_per_class: Annotated[int, Field(ge=0)] = 0

    def check(self, target: Target) -> None:
        """Refuse labels that are sent in clear."""
        super().check(target)
        require_protected_labels(target, name_of(self))

    def infer(self, view: View) -> Tensor:
        """Return the likeliest label of each victim."""
        found: dict[int, Tensor] = {}
        groups = same_weights(view)
        for number, group in enumerate(groups):
            classifier = self._classifier(view, group)
            tells = label_channel(view, group[0], adaptive=self.adaptive).log()
            for seen in group:
                for batch in seen.batches:
                    evidence = classifier.log_probabilities(batch.smashed, batch.labels) + tells.T[batch.labels.cpu()]
                    found[id(batch)] = evidence.argmax(dim=1)
            view.progress(number + 1, len(groups))
        return torch.cat([found[id(batch)] for seen in view.seen for batch in seen.batches])

    def _classifier(self, view: View, group: Sequence[Seen]) -> LabelClassifier:
        known = view.auxiliary

        def examples(name: str, images: Tensor, labels: Tensor) -> Examples:
            sent = release_auxiliary(view, group, images, labels, "labels", name, adaptive=self.adaptive)
            return Examples(smashed=sent.smashed, sent_labels=sent.sent_labels, values=labels[sent.places])

        def trained(train: Examples, validation: Examples) -> LabelClassifier:
            if self.labels_per_class == 1:  # judged by what it has learnt, a kernel classifier would always win
                return _network(view, train, validation)
            return better_classifier(view, train, validation)

        train = examples("train", known.images, known.labels)
        if self.labels_per_class == 0:
            return trained(train, examples("validation", known.validation_images, known.validation_labels))
        # A fifth of the known labels, one per class at least, is kept to stop by.
        few = first_of_each_class(train.values, self.labels_per_class)
        held = first_of_each_class(train.values, max(1, self.labels_per_class // 5)) & few
        fit = few & ~held if self.labels_per_class > 1 else few
        classifier = trained(_some(train, fit), _some(train, held))
        for _ in range(COMPLETIONS):
            guessed = classifier.log_probabilities(train.smashed, train.sent_labels).exp().max(dim=1)
            completed = replace(train, values=torch.where(few, train.values, guessed.indices))
            classifier = trained(_some(completed, fit | ((guessed.values >= SURE) & ~few)), _some(train, held))
        return classifier


def _network(view: View, train: Examples, validation: Examples) -> PropertyClassifier | TextClassifier:
    kind = TextClassifier if len(view.input_shape) == 1 and train.smashed.ndim == 3 else PropertyClassifier
    return kind(train, validation, values=view.classes, seed=view.seed, device=view.device)


def better_classifier(view: View, train: Examples, validation: Examples) -> LabelClassifier:
    """Return a network or a kernel classifier, whichever has the lower cross-entropy on the validation examples."""
    network = _network(view, train, validation)
    finite = all(bool(torch.isfinite(examples.smashed).all()) for examples in (train, validation))
    if len(torch.unique(train.values)) < 2 or not finite:
        return network
    kernel = KernelClassifier(train, validation, values=view.classes, seed=view.seed)
    said = network.log_probabilities(validation.smashed, validation.sent_labels)
    loss = -float(said.gather(1, validation.values.cpu()[:, None]).mean())
    return kernel if kernel.loss < loss else network


def require_protected_labels(target: Target, attack: str) -> None:
    """Refuse to infer labels that the server is sent in clear.

    Raises:
        InputError: no defense of the run acts on labels.
    """
    if target.labelled and not any("labels" in defense.facts.acts_on for defense in target.defense):
        raise InputError(
            f"{attack} infers labels behind protected ones, and the attacked run sends them in clear: attack a run "
            "with --defense label-rr, or leave it out"
        )


def first_of_each_class(labels: Tensor, count: int) -> Tensor:
    """Return which records (N,), bool, are among the first so many of their class."""
    earlier = torch.zeros_like(labels)
    for label in torch.unique(labels).tolist():
        own = labels == label
        earlier[own] = torch.arange(int(own.sum()))
    return earlier < count


def _some(examples: Examples, which: Tensor) -> Examples:
    return Examples(
        smashed=examples.smashed[which.to(examples.smashed.device)],
        sent_labels=examples.sent_labels[which.to(examples.sent_labels.device)],
        values=examples.values[which],
    )

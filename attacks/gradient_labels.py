"""Infer labels from the gradients that a server returns at the cut: which class a record was pulled to, and from."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, LabelInference
from dtfl_private.attacking.view import View
from dtfl_private.attacks.label_inference import first_of_each_class
from dtfl_private.attacks.shared.auxiliary_release import label_channel
from dtfl_private.attacks.shared.gradient_classifiers import Examples, best_classifier
from dtfl_private.protocol.messages import Seen

# Gradients to learn from and to choose by: own records are sent again and again until there are about as many.
LEARNT_FROM, CHOSEN_BY = 3000, 300
# Gradients below this norm have no direction.
LEAST_NORM = 1e-30


@dataclass(frozen=True, kw_only=True)
class GradientLabels(LabelInference):
    """Learn from the gradients returned for records of one's own which label a gradient's norm and direction tell.

    The gradient of a record is the server half's Jacobian times p - y, with p the predicted probabilities and y the
    label as sent. Li et al. 2022 (ICLR, "Label leakage and protection in two-party split learning", 2102.08504, section
    3) tell two classes by its norm, and by its cosine with the gradient of a record of known label. Here several
    classes are told by linear classifiers on both. The adversary is a client itself, so that the server answers its own
    labelled records; it need not see what the others send.

    Where labels are protected (`label-rr`), y is the protected label, but p still tells the true one. So own records
    are sent many times, with labels drawn anew by the defense's own sampler, and the true label is learnt. The best is
    taken of logistic regressions and of linear discriminants of pairs of a true and a sent label, in which the sent one
    is summed out by its probability given the true one. Which is best is seen on own validation records.

    The server that computes these gradients has all that they are made of, and learns nothing more from them. Own
    gradients are those of the round's first batch: later batches of a round are met by a server half that has moved on.

    Attributes:
        labels_per_class: own records of each class that are sent, and as many to choose by; 0 for all.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "replies", "auxiliary-data"}),
        recipe="linear classifiers from norm and direction of the returned gradients to true labels",
        source="after Li et al. 2022, 2102.08504",
        inputs=ANY_INPUTS,
    )

    labels_per_class: Annotated[int, Field(ge=0)] = 0

    def infer(self, view: View) -> Tensor:
        """Return the likeliest true label of each victim."""
        returned = [reply.gradient.float().cpu() for replies in view.replies for reply in replies]
        size = max(len(gradient) for gradient in returned)
        data, own = view.auxiliary, _own_round(view)
        train = self._answered(view.part(0, 0.7), own, data.images, data.labels, size, LEARNT_FROM, "train")
        held = self._answered(
            view.part(0.7, 0.8), own, data.validation_images, data.validation_labels, size, CHOSEN_BY, "validation"
        )
        channel = label_channel(view, own, adaptive=self.adaptive)
        classify = best_classifier(train, held, channel, seed=view.seed)
        view.progress(1, 1)
        return classify(torch.cat([features(gradient, size) for gradient in returned]))

    def _answered(
        self, view: View, own: Seen, images: Tensor, labels: Tensor, size: int, wanted: int, use: str
    ) -> Examples:
        """Return the features of gradients returned for one's own records, each of which is sent once or more.

        Args:
            view: of the attack.
            own: the adversary's own round, as a client.
            images: (N, C, H, W) in [0, 1].
            labels: (N,), true.
            size: of a full batch.
            wanted: number of gradients, if so many need more than one pass over the records.
            use: name of the draws.
        """
        kept = _few(labels, self.labels_per_class)
        images, labels, chance = images[kept], labels[kept], view.chance("own records", use)
        passes = -(-max(wanted, size) // len(labels))
        orders = [torch.randperm(len(labels), generator=chance) for _ in range(passes)]
        sent = [self._drawn(view, own, labels[order], f"{use}/{turn}") for turn, order in enumerate(orders)]
        # Fewer records than a batch has are in it several times.
        batches = list(zip(torch.split(torch.cat(orders), size), torch.split(torch.cat(sent), size), strict=True))
        whole = [(places, drawn) for places, drawn in batches if len(places) == size]
        found = []
        for number, (places, drawn) in enumerate(whole):
            found.append(features(view.replies_to(images[places], drawn).cpu(), size))
            view.progress(number + 1, len(whole))
        places, drawn = (torch.cat(parts) for parts in zip(*whole, strict=True))
        return Examples(features=torch.cat(found), true=labels[places], sent=drawn)

    def _drawn(self, view: View, own: Seen, labels: Tensor, draw: str) -> Tensor:
        """Return labels (N,) as a client would send them that has such records, with draws of its own."""
        return view.program(own, adaptive=self.adaptive, draw=f"own records/{draw}").sent_labels(labels).cpu()


def features(gradients: Tensor, size: int) -> Tensor:
    """Return direction and norm (N, D + 1) of gradients (N, *cut shape) of a batch's mean loss.

    Args:
        gradients: of records of one batch.
        size: of a full batch; smaller ones weigh their records more, which is taken back.
    """
    flat = gradients.flatten(1).double() * len(gradients) / size
    norms = flat.norm(dim=1, keepdim=True).clamp(min=LEAST_NORM)
    return torch.cat([flat / norms, norms.log() / 10], dim=1).float()


def norm_scores(gradients: Tensor) -> Tensor:
    """Return Li et al.'s norm score (N,) of gradients (N, *cut shape): the rarer of two classes has the larger ones."""
    scores: Tensor = gradients.flatten(1).norm(dim=1)
    return scores


def direction_scores(gradients: Tensor, known: Tensor) -> Tensor:
    """Return Li et al.'s cosine score (N,) of gradients (N, *cut shape) with one (*cut shape) of the class sought."""
    scores: Tensor = F.cosine_similarity(gradients.flatten(1), known.flatten()[None], dim=1)
    return scores


def _own_round(view: View) -> Seen:
    """Return the adversary's own round as a client, of which it knows what it was sent."""
    return Seen(download=view.download(view.tier), batches=(), update=None)


def _few(labels: Tensor, count: int) -> Tensor:
    """Return which records (N,), bool, are among the first so many of their class; all if that is 0."""
    return first_of_each_class(labels, count) if count else torch.ones_like(labels, dtype=torch.bool)

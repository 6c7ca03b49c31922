"""Infer whether a token occurs in the victims' texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ONLY_TOKENS, AttackFacts, AttributeInference
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import AuxiliaryRelease, release_auxiliary, same_weights
from dtfl_private.attacks.shared.property_classifier import Examples, PropertyClassifier
from dtfl_private.attacks.shared.text_classifier import TextClassifier
from dtfl_private.attacks.token_lookup import TokenLookup
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, SmashedBatch


@dataclass(frozen=True, kw_only=True)
class TokenOccurrence(AttributeInference):
    """Infer from smashed data whether a text holds a token, by a classifier, and by looking for it place by place.

    A name, an illness, a place: one word of a text can be what its writer would not tell. How long a text is shows, and
    its label may; neither says which words are in it but for what is likely, which is what guesses are compared with.

    The classifier is trained on what auxiliary texts would be sent as, with the label: overlearning reveals sensitive
    attributes (Song and Shmatikov 2020, ICLR, 1905.11742, section 3). Texts are also read by `token-lookup`, which is
    exact where places have not met and nothing is defended; how often it finds the token in auxiliary validation texts
    that hold it, and in others, says how much that weighs: its log odds are added to the classifier's.

    Attributes:
        token: its number; -1 for the one that is nearest to occurring in half of the auxiliary texts.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="classifier from smashed data to whether a token occurs, and the token in texts that were looked up",
        source="after Song and Shmatikov 2020, 1905.11742",
        amortised=True,
        inputs=ONLY_TOKENS,
    )

    token: Annotated[int, Field(ge=-1)] = -1

    def values(self, images: Tensor, labels: Tensor, auxiliary: Auxiliary) -> Tensor:
        """Return 1 where a sequence (N, T) holds the token, else 0."""
        del labels  # it is a property of the text alone
        token = commonest_half(auxiliary.images, auxiliary.padding) if self.token < 0 else self.token
        return (images == token).any(dim=1).long()

    def infer(self, view: View) -> Tensor:
        """Return 1 for each victim that is likelier to hold the token than not, else 0."""
        if self.token >= view.vocabulary.size or (self.token >= 0 and self.token == view.vocabulary.padding):
            raise InputError(
                f"token-occurrence: token={self.token} is none of the tokens 0..{view.vocabulary.size - 1} that occur "
                "in texts"
            )
        found: dict[int, Tensor] = {}
        groups = same_weights(view)
        for number, group in enumerate(groups):
            part = view.showing(group).part(number / len(groups), (number + 1) / len(groups))
            odds = torch.split(self._log_odds(part), [seen.records for seen in group])
            found |= {id(seen): own for seen, own in zip(group, odds, strict=True)}
        return (torch.cat([found[id(seen)] for seen in view.seen]) > 0).long()

    def _log_odds(self, view: View) -> Tensor:
        """Return the log odds (victims,), float64, of clients with the same weights."""
        known = view.auxiliary
        sent = [
            release_auxiliary(view, view.seen, images, labels, "occurrence", name, adaptive=self.adaptive)
            for name, images, labels in (
                ("train", known.images, known.labels),
                ("validation", known.validation_images, known.validation_labels),
            )
        ]
        train = self._examples(view, sent[0], known.images, known.labels)
        checked = self._examples(view, sent[1], known.validation_images, known.validation_labels)
        kind = TextClassifier if len(view.cut_shape) == 2 else PropertyClassifier
        classifier = kind(train, checked, values=2, classes=view.classes, seed=view.seed, device=view.device)
        said = [
            classifier.log_probabilities(batch.smashed, batch.labels) for seen in view.seen for batch in seen.batches
        ]
        odds = torch.cat([one[:, 1] - one[:, 0] for one in said])
        if view.cut_shape[:1] != view.input_shape or len(view.cut_shape) != 2:
            return odds  # there is no row for each place to look up
        first = view.seen[0]
        as_sent = replace(first, batches=(_message(first, sent[1]),), update=None)
        return odds + read_log_odds(self._read(view, view.seen), self._read(view, [as_sent]), checked.values.cpu())

    def _examples(self, view: View, sent: AuxiliaryRelease, images: Tensor, labels: Tensor) -> Examples:
        values = self.values(images, labels, view.auxiliary)[sent.places]
        return Examples(smashed=sent.smashed, sent_labels=sent.sent_labels, values=values)

    def _read(self, view: View, rounds: Sequence[Seen]) -> Tensor:
        """Return whether the token is in the texts as they are looked up (N,)."""
        texts = TokenLookup(adaptive=self.adaptive, effort=self.effort).tokens(view.showing(rounds))
        return self.values(texts, torch.zeros(len(texts)), view.auxiliary)


def _message(like: Seen, sent: AuxiliaryRelease) -> SmashedBatch:
    """Return a release of the adversary's own texts as one message of a client's round."""
    return replace(like.batches[0], smashed=sent.smashed, labels=sent.sent_labels)


def commonest_half(texts: Tensor, padding: int | None) -> int:
    """Return the token that occurs in as nearly half of the texts (N, T) as any does; of equals the first."""
    ordered = texts.sort(dim=1).values
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]  # each token of a text once
    counts = torch.bincount(ordered[first])
    away = (counts.double() / len(texts) - 0.5).abs()
    if padding is not None and padding < len(away):
        away[padding] = math.inf
    return int(away.argmin())


def read_log_odds(read: Tensor, checked_read: Tensor, checked: Tensor) -> Tensor:
    """Return the log-likelihood ratio (N,), float64, of reading a token, or not, where it is and where it is not.

    Args:
        read: whether it was read in texts (N,), 1 or 0.
        checked_read: the same of other texts (M,), of which is known whether they hold it.
        checked: whether they do (M,).
    """
    # Counted with half a text beside, so that what was never seen may still happen.
    found = [(checked_read[checked == value].double().sum() + 0.5) / ((checked == value).sum() + 1) for value in (0, 1)]
    without, held = found
    return torch.where(read == 1, (held / without).log(), ((1 - held) / (1 - without)).log()).double()

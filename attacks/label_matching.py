"""Infer labels that stay on a client from the gradient that it returns: the label is the one whose gradient fits."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, LabelInference
from dtfl_private.attacking.client_tail import ClientTail
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import label_channel
from dtfl_private.protocol.messages import Seen

# How much of what the network says of a record counts beside a protected label: factors of its logits.
TRUST = (0.0, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class LabelMatching(LabelInference):
    """Compare the gradient that a client returns for a record with those that each label would give.

    In a U-shaped split the client returns the loss's gradient at the input of the network's last modules. For softmax
    cross-entropy behind a linear layer that is W^T (p - y) / B, where the server knows the input, W and so p: only the
    one-hot y is missing. For any last modules, the gradient that each of the K labels gives is computed, and the one
    nearest to what was returned is the label (after Erdogan et al. 2022, "UnSplit", 2108.09033, section 4.3, where the
    server has no weights and guesses these as well).

    The server knows the weights that a round begins with. The client then trains them, by the very input, label and
    optimiser that the server knows by now: so it takes the client's steps along with it, batch by batch. Where records
    meet in batch norm behind the cut, a label changes the gradients of others too; guesses are then corrected by what
    the gradient of all of them together misses, until they stay.

    Where labels are protected (`label-rr`), it is the protected label that is found, and the true one is inferred from
    it and from what the network says of the record.

    Attributes:
        follows: take the client's steps along; without, the weights of the beginning stand for those of all batches.
        corrections: of the guesses of a batch, at most.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "tail-gradients"}),
        recipe="the label whose gradient at the client's last modules is the returned one; follows the client's steps",
        source="after Erdogan et al. 2022, 2108.09033",
        inputs=ANY_INPUTS,
    )

    follows: bool = True
    corrections: Annotated[int, Field(ge=0)] = 5

    def infer(self, view: View) -> Tensor:
        """Return the likeliest true label of each victim."""
        found, rounds = [], view.answered
        for number, seen in enumerate(rounds):
            found += self._of_client(view, seen)
            view.progress(number + 1, len(rounds))
        return torch.cat(found)

    def _of_client(self, view: View, seen: Seen) -> list[Tensor]:
        """Return the guesses for each batch of a client's round."""
        protected = self.adaptive and any("labels" in one.facts.acts_on for one in view.defense)
        channel = label_channel(view, seen, adaptive=True, sent=False).log() if protected else None
        tail, found = view.tail(seen, adaptive=self.adaptive), []
        for number, (sent, returned) in enumerate(zip(seen.outputs, seen.tail_gradients, strict=True)):
            labels = nearest_labels(tail, sent.outputs, returned.gradient, view.classes, self.corrections)
            found.append(labels if channel is None else true_labels(tail.logits(sent.outputs), labels, channel))
            if self.follows and sent.batch == number:  # nothing is missing since the beginning
                tail.step(sent.outputs, labels)
        return found


def nearest_labels(tail: ClientTail, inputs: Tensor, returned: Tensor, classes: int, corrections: int) -> Tensor:
    """Return the labels (B,) whose gradients come nearest to the returned one.

    Args:
        tail: the last modules.
        inputs: (B, *shape) that the client was sent.
        returned: (B, *shape), its gradient of the mean loss.
        classes: K.
        corrections: rounds of corrections, at most.
    """
    rows = torch.arange(len(inputs))
    each = torch.stack([_flat(tail.gradient(inputs, torch.full_like(rows, one))) for one in range(classes)], dim=1)
    target = _flat(returned)
    labels = (each - target[:, None]).square().sum(dim=2).argmin(dim=1).cpu()
    for _ in range(corrections):
        # With the others as guessed: what is missed, and what another label for this record would change.
        missed = target - _flat(tail.gradient(inputs, labels))
        change = each - each[rows, labels][:, None]
        better = (change - missed[:, None]).square().sum(dim=2).argmin(dim=1).cpu()
        if torch.equal(better, labels):
            break
        labels = better
    return labels


def _flat(gradient: Tensor) -> Tensor:
    return gradient.flatten(1).double()


def true_labels(logits: Tensor, labels: Tensor, channel: Tensor) -> Tensor:
    """Return the likeliest true labels (B,) behind protected ones, by the network and the chances of the defense.

    The network is believed as far as it explains the protected labels: not at all if it has learnt nothing yet.

    Args:
        logits: (B, classes) of the network.
        labels: (B,) protected.
        channel: (classes, classes) logarithms of the chance of each protected label (column), given the true one.
    """
    says = logits.detach().double().cpu()
    both = torch.stack([(says * trust).log_softmax(dim=1) for trust in TRUST]) + channel.T[labels]
    explained = both.logsumexp(dim=2).sum(dim=1)  # the log-likelihood of the protected labels
    return both[explained.argmax()].argmax(dim=1)

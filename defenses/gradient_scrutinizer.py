"""Notice when the gradients that the server returns do not tell labels apart: the client's guard against hijacking."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, Remark
from dtfl_private.protocol.messages import GradientReply, ModelDownload


@dataclass(frozen=True, kw_only=True)
class GradientScrutinizer(Defense):
    """Compare the returned gradients of records of different labels, and remark if they point the same way.

    After the Gradients Scrutinizer of Fu et al. 2023 (NDSS): the loss of a classifier pulls records of different labels
    apart; a server that leads all into a space of its own pulls them along. Here it is the mean cosine between the
    gradients of records of different labels in a batch, averaged over the last ``batches`` ones, that must not exceed
    ``most``. Nothing more is sent and the server half is not disturbed, unlike by fake batches (SplitGuard, Erdogan,
    Küpçü and Çiçek 2022). What was found is remarked in every later round too.

    Attributes:
        most: greatest mean cosine that is not remarked.
        batches: that the mean is over; before there are so many nothing is said. Batches of one label say nothing.
        action: whether to go on, or to use no gradient any more.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="against gradients that steer the client half, by noticing them",
        acts_on=("download", "replies"),
        guarantee="none",
        cost="a Gram matrix of the gradients per batch",
        attacker="nothing: a server that mixes in the honest gradient may pass",
    )

    most: Annotated[float, Field(gt=-1, lt=1)] = 0.3
    batches: Annotated[int, Field(ge=1)] = 8
    action: Literal["log", "refuse"] = "log"

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Return the remark of an earlier round, if there was one."""
        if "found" not in at.memory:
            return ()
        found, cosine = at.memory["found"].tolist()
        return [self._remark(f"since round {found:.0f} the server has been suspected of hijacking", cosine)]

    def inspect_reply(self, reply: GradientReply, labels: Tensor, at: ClientRound) -> Sequence[Remark]:
        """Return a remark when the gradients of different labels have pointed the same way for long enough."""
        cosine = cosine_across_labels(reply.gradient, labels)
        if "found" in at.memory or cosine is None:
            return ()
        earlier = at.memory.get("cosines", torch.empty(0, dtype=torch.float64))
        cosines = torch.cat([earlier, torch.tensor([cosine], dtype=torch.float64)])[-self.batches :]
        at.memory["cosines"] = cosines
        mean = float(cosines.mean())
        if len(cosines) < self.batches or mean <= self.most:
            return ()
        at.memory["found"] = torch.tensor([at.round, mean], dtype=torch.float64)
        return [self._remark("the gradients returned look like those of hijacking", mean)]

    def _remark(self, text: str, cosine: float) -> Remark:
        measured = f"mean cosine {cosine:.2f} between different labels, at most {self.most:g} is allowed"
        return Remark(text=f"{text}: {measured}", refuses=self.action == "refuse")


def cosine_across_labels(gradient: Tensor, labels: Tensor) -> float | None:
    """Return the mean cosine between the gradients (B, ...) of records of different labels (B,); None if all are equal.

    A gradient that is no number counts as pointing the same way as all others.
    """
    different = labels[:, None] != labels[None, :]
    if not different.any():
        return None
    directions = F.normalize(gradient.flatten(1).double(), dim=1)
    return float((directions @ directions.T)[different].nan_to_num(nan=1.0).mean())

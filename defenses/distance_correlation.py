"""Train the client half so that its activations depend less on its inputs, by distance correlation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from dtfl_private.defenses.shared.precision import working
from dtfl_private.errors import InputError
from dtfl_private.leakage.dcor import corrected_correlation, distance_correlation
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protection.cost import Cut, RunFacts

# A batch of three has, up to scale, hardly two different matrices of distances.
FEWEST_RECORDS = 4

# In the place of padding, where texts are pooled.
NO_TOKEN = -1

ESTIMATORS = {"plain": distance_correlation, "corrected": corrected_correlation}

Weight = Annotated[float, Field(ge=0, le=1)]


def _by_client(text: object) -> object:
    """Read ``3:0.75;5:0.25``; anything else is left to pydantic."""
    if not isinstance(text, str):
        return text
    pairs = [item.partition(":") for item in text.split(";")]
    return {client.strip(): weight.strip() for client, _, weight in pairs}


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation(Defense):
    """Add the distance correlation of inputs and activations to the client's loss (NoPeek, Vepakomma et al. 2020).

    The client minimises ``alpha * dCor(x, z) + (1 - alpha) * loss`` (2008.09161, section 3), with distances between the
    records of a batch. Less correlation is not less leakage: reconstructions may stay recognisable (Titcombe et al.
    2021, 2104.05743).

    Of few records in many dimensions the paper's estimate is near 1 whatever they have to do with each other.
    ``estimator=corrected`` takes the bias-corrected square (Szekely and Rizzo 2014, 1310.2926), and ``memory`` makes
    the sample larger by the last records of the round before this batch, with their activations as they were then: no
    gradient goes to these, and the weights have moved on since.

    Texts are compared place by place as a rule: two with the same words, one of them moved by a place, have nothing in
    common then. ``tokens=pooled`` compares how often each token occurs with the mean activations of the places, of real
    places alone.

    Attributes:
        alpha: weight of the correlation, 0 (none) to 1 (nothing else).
        per_client: weights of single clients instead, written ``3:0.75;5:0.25``.
        estimator: plain (the V-statistic of the paper) or corrected.
        memory: earlier records of the round that count too, at most.
        tokens: of texts: places, or pooled over them.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data, by training them to depend less on the inputs",
        acts_on=("loss",),
        cost="distances between the records of each batch; accuracy",
        attacker="nothing: the weights that the client trained are sent",
        couples_records=frozenset({"loss"}),
    )

    alpha: Weight = 0.5
    per_client: Annotated[Mapping[Annotated[int, Field(ge=0)], Weight] | None, BeforeValidator(_by_client)] = None
    estimator: Literal["plain", "corrected"] = "plain"
    memory: Annotated[int, Field(ge=0)] = 0
    tokens: Literal["places", "pooled"] = "places"

    def check(self, cut: Cut) -> None:
        """Refuse to pool what is no text."""
        if self.tokens == "pooled" and (len(cut.input_shape) != 1 or len(cut.cut_shape) != 2):
            raise InputError(
                f"distance-correlation: tokens=pooled pools texts; inputs here are of shape {cut.input_shape}, "
                f"activations of shape {cut.cut_shape}: leave it out"
            )

    def calibrated(self, run: RunFacts) -> Defense:
        """Refuse weights for clients that the run does not have."""
        clients = len(run.records_K)
        for client in self.per_client or {}:
            if client >= clients:
                raise InputError(
                    f"distance-correlation: per_client names client {client}, but there are {clients}: 0..{clients - 1}"
                )
        return self

    def alpha_of(self, client: int) -> float:
        """Return the weight of the correlation in a client's loss."""
        return (self.per_client or {}).get(client, self.alpha)

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Return the weighted sum; fewer than 4 records have no correlation term."""
        alpha = self.alpha_of(at.client)
        if alpha == 0:
            return loss
        inputs, smashed = self._sample(step, at)
        if len(inputs) < FEWEST_RECORDS:
            return (1 - alpha) * loss
        return alpha * ESTIMATORS[self.estimator](inputs, smashed) + (1 - alpha) * loss

    def _sample(self, step: LocalStep, at: ClientRound) -> tuple[Tensor, Tensor]:
        """Return the batch's inputs and activations after those that are remembered, and remember them, too."""
        inputs, smashed = step.inputs, working(step.smashed)
        pooled = self.tokens == "pooled"
        if pooled:
            real = torch.ones_like(inputs, dtype=torch.bool) if step.real is None else step.real
            inputs, smashed = inputs.masked_fill(~real, NO_TOKEN), mean_of_real(smashed, real)
        if self.memory:
            if "inputs" in at.scratch:
                inputs = torch.cat([at.scratch["inputs"], inputs])
                smashed = torch.cat([at.scratch["smashed"], smashed])
            at.scratch["inputs"] = inputs[-self.memory :].detach()
            at.scratch["smashed"] = smashed[-self.memory :].detach()
        return (token_shares(inputs) if pooled else inputs), smashed

    def extra_macs(self, cut: Cut) -> int:
        """Return the Gram matrices' work per record: of inputs and activations, and of the activations' gradient."""
        sample = cut.batch_size + self.memory
        return sample * sample * (cut.input_values + 2 * cut.cut_values) // cut.batch_size


def mean_of_real(smashed_BTC: Tensor, real_BT: Tensor) -> Tensor:
    """Return the mean (B, C) of each text's real places; zeros where it has none."""
    return (smashed_BTC * real_BT[..., None]).sum(dim=1) / real_BT.sum(dim=1, keepdim=True).clamp(min=1)


def token_shares(tokens_BT: Tensor) -> Tensor:
    """Return how large a share of a text each token is (B, tokens that occur in the batch), float32.

    ``NO_TOKEN`` counts for nothing.
    """
    known, numbers = torch.unique(tokens_BT, return_inverse=True)
    counts = torch.zeros(len(tokens_BT), len(known), device=tokens_BT.device)
    counts.scatter_add_(1, numbers, torch.ones_like(numbers, dtype=counts.dtype))
    counts = counts[:, known != NO_TOKEN]
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)

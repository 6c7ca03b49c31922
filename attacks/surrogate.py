"""Train a client half of one's own to stand in for the unknown one, and decode through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target, name_of
from dtfl_private.attacking.evidence import Beginning
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.decoder_training import NORMAL_STEPS, DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import trained_decoder
from dtfl_private.attacks.shared.inverse_network import map_shape
from dtfl_private.attacks.shared.retrained_client import retrain
from dtfl_private.attacks.shared.shadow_client import Imitation, train_shadow
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch, State

# Prefix of the auxiliary head among a shadow's cached tensors.
HEAD = "head/"
# First learning rate of refinements: a shadow that is nearly right is not to leave.
REFINING_LR = 1e-3

# Share of the attack's time that is over, about, when its shadows are trained.
TRAINED = 0.6


@dataclass(frozen=True, kw_only=True)
class Surrogate(Reconstruction):
    """What an adversary gets that does not know the clients' weights: what hiding them would buy.

    A shadow of the client half begins untrained and learns, on auxiliary images, to serve the server's own half as the
    real one does, and to send activations distributed as those received; nobody is asked anything. Several shadows, of
    different beginnings, are trained, and one decoder through all of them: where they disagree the weights are
    uncertain, and the decoder learns to be cautious. The ideas are those of UnSplit (Erdogan, Kupcu and
    Cicek 2022, WPES: network known, weights not), PCAT (Gao and Zhang 2023, USENIX Security: the server's half guides a
    pseudo-client), SDAR (Zhu et al. 2023, 2310.10483: a simulator trained against a discriminator that sees labels) and
    FORA (Xu et al. 2024, CVPR: distribution matching without queries), for activations recorded once.

    Where clients keep networks that all began alike (FedGKT), the beginning need not be guessed: a shadow begins as
    they did, and trains on auxiliary images as long as they did on their own, before it is brought to send what one of
    them sent.

    In DTFL the server always knows the weights, and `decoder` is the honest headline. This attack does not look at
    them, nor at the update.

    Attributes:
        shadows: how many.
        steps: of the training of each.
        lr: its first learning rate.
        refining_steps: by which a shadow of a known beginning is brought to send what a client sent.
        statistics: weight of the distance between the moments of activations.
        adversarial: weight of the discriminator.
        size: of the decoder's network.
        decoder_steps: of the decoder's training; 0 for as many as the effort allows.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "smashed", "labels", "auxiliary-data"}),
        recipe="shadow client half trained with the server's half and distribution matching, then a decoder through it",
        source="after UnSplit 2022, SDAR 2023, PCAT 2023, FORA 2024",
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"decoder_steps": NORMAL_STEPS}

    shadows: Annotated[int, Field(ge=1)] = 4
    steps: Annotated[int, Field(ge=1)] = 1000
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-2
    refining_steps: Annotated[int, Field(ge=0)] = 150
    statistics: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    adversarial: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    size: Literal["small", "medium", "large", "best"] = "medium"
    decoder_steps: Annotated[int, Field(ge=0)] = 0

    def check(self, target: Target) -> None:
        """Refuse what is no image, and activations that are no map."""
        super().check(target)
        map_shape(target.cut_shape, name_of(self))

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        batches = [batch for one in view.batches for batch in one]
        share = TRAINED / len(view.batches)
        rounds = [
            seen_with(shadow, one)
            for client, one in enumerate(view.batches)
            for shadow in self.shadows_of(view.part(share * client, share * (client + 1)), one)
        ]
        training = DecoderTraining(size=self.size, steps=self.budget["decoder_steps"], adaptive=self.adaptive)
        decoder = trained_decoder(view.part(TRAINED, 1).with_own_weights("surrogate", rounds), rounds, training)
        return torch.cat([decoder.decode(batch.smashed, batch.labels) for batch in batches]).cpu()

    def shadows_of(self, view: View, own: Sequence[SmashedBatch]) -> list[ModelDownload]:
        """Return the shadows of the client that sent these batches; but for known beginnings all clients have one."""
        parts = [view.part(number / self.shadows, (number + 1) / self.shadows) for number in range(self.shadows)]
        beginning = view.beginning(own[0].client)
        if beginning is None:
            batches = [batch for one in view.batches for batch in one]
            return [self._shadow(part, batches, number) for number, part in enumerate(parts)]
        return [
            self._refined(part, own, self._retrained(part, beginning, number), number)
            for number, part in enumerate(parts)
        ]

    def _retrained(self, view: View, beginning: Beginning, number: int) -> ModelDownload:
        """Return a shadow trained from a known beginning; cached for clients that have trained as long."""

        def train() -> State:
            shadow = retrain(view, beginning, number, adaptive=self.adaptive)
            return {**shadow.weights, **{f"{HEAD}{name}": tensor for name, tensor in shadow.head.items()}}

        cached = view.keep(f"retrained/{beginning.steps}/{number}/{self.adaptive}", train)
        head = {name.removeprefix(HEAD): tensor for name, tensor in cached.items() if name.startswith(HEAD)}
        weights = {name: tensor for name, tensor in cached.items() if not name.startswith(HEAD)}
        return replace(beginning.download, weights=weights, head=head)

    def _refined(self, view: View, own: Sequence[SmashedBatch], start: ModelDownload, number: int) -> ModelDownload:
        """Return a retrained shadow brought to send what a client sent; cached."""
        imitation = replace(self._imitation, steps=self.refining_steps, lr=REFINING_LR)
        if not self.refining_steps:
            return start
        name = f"refined/{own[0].client}/{len(own)}/{number}/{imitation}"
        cached = view.keep(name, lambda: train_shadow(view, own, imitation, number, start).weights)
        return replace(start, weights=dict(cached))

    @property
    def _imitation(self) -> Imitation:
        return Imitation(
            steps=self.steps,
            lr=self.lr,
            statistics=self.statistics,
            adversarial=self.adversarial,
            adaptive=self.adaptive,
        )

    def _shadow(self, view: View, batches: Sequence[SmashedBatch], number: int) -> ModelDownload:
        """Return a shadow's weights; cached, as its training is long."""
        imitation = self._imitation
        start = view.untrained(batches[0].client, "shadow", number)
        name = f"shadow/{number}/{imitation}"
        cached = view.keep(name, lambda: train_shadow(view, batches, imitation, number, start).weights)
        return replace(start, weights=dict(cached))


def seen_with(shadow: ModelDownload, batches: Sequence[SmashedBatch]) -> Seen:
    """Return a client's messages as if it had begun with the shadow's weights."""
    download = replace(shadow, client=batches[0].client, round=batches[0].round)
    return Seen(download=download, batches=tuple(batches), update=None)

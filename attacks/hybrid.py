"""Refine a decoder's images until their activations fit, and keep what serves best on auxiliary images."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target, name_of
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.decoder import Decoder
from dtfl_private.attacks.optimization import TUNING_BATCHES, Optimization, Ticks, tuning_batches
from dtfl_private.attacks.shared.decoders_by_download import Decoders, decoded_by, trained_decoders
from dtfl_private.attacks.shared.feature_matching import Matching, match, residuals
from dtfl_private.attacks.shared.guesses import Guesses, Rule, best_rule, needed
from dtfl_private.attacks.shared.inverse_network import map_shape

# Weights of the proximity to the decoder's image in the refinements.
PROXIMITIES = (0.0, 0.3, 3.0)

# Candidates by number: the decoder's image is 0, this one is found from grey, then come the refinements.
FROM_GREY = 1
CANDIDATES = 2 + len(PROXIMITIES)

Refine = Callable[[ClientProgram, Tensor, Tensor, float], Tensor]
"""From a client's program, what it sent, the decoder's images, and a weight of the distance to them, to other images."""


@dataclass(frozen=True, kw_only=True)
class Hybrid(Reconstruction):
    """Start at the decoder's image, minimise relative residual + TV + distance to the start, keep the best candidate.

    Candidates for a batch: the decoder's images, those that `optimization` finds from grey, and refinements of the
    decoder's with several weights of proximity. Which of them is taken, or which point on the way from the decoder's
    image to it, or for each image the candidate with the lowest residual, is decided once per tier by the mean PSNR on
    auxiliary validation images. So it is, but for the chance of that choice, never worse than either of the two.

    Attributes:
        size: of the decoder's network.
        decoder_steps: of its training; 0 for as many as the effort allows.
        steps: of each search; 0 as for `optimization`.
        lr: first step of a pixel in a refinement.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels", "auxiliary-data"}),
        recipe="decoder, then gradient descent on its images until their activations fit",
    )

    size: Literal["small", "medium", "large", "best"] = "medium"
    decoder_steps: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, le=1)] = 0.02

    def check(self, target: Target) -> None:
        """Refuse what is no image, and activations that are no map."""
        super().check(target)
        map_shape(target.cut_shape, name_of(self))

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        decoder = Decoder(size=self.size, steps=self.decoder_steps, adaptive=self.adaptive, effort=self.effort)
        decoders = trained_decoders(view, decoder.training)
        optimization = Optimization(steps=self.steps, adaptive=self.adaptive, effort=self.effort)
        matching = optimization.matching(view)
        refine = partial(self._refined, matching=matching, tick=Ticks(view, self._count(view, matching)))
        rule = self._rule(view, decoders, optimization, refine)
        wanted = needed([rule], CANDIDATES)
        found = optimization.reconstruct(view).to(view.device) if FROM_GREY in wanted else torch.empty(0)
        parts: list[Tensor] = []
        for seen in view.seen:
            program = view.program(seen, adaptive=self.adaptive)
            for batch in seen.batches:
                decoded = decoders.of(seen).decode(batch.smashed, batch.labels)
                offer = _Offer(
                    program=program,
                    smashed=batch.smashed,
                    decoded=decoded,
                    from_grey=partial(_rows, found, sum(map(len, parts)), len(decoded)),
                    refine=refine,
                )
                parts.append(offer(wanted).chosen(rule))
        return torch.cat(parts).cpu()

    def _refined(
        self,
        program: ClientProgram,
        smashed: Tensor,
        decoded: Tensor,
        proximity: float,
        *,
        matching: Matching,
        tick: Callable[[], None],
    ) -> Tensor:
        """Return what a search from the decoder's images finds, at a weight of the distance to them."""
        return match(program, smashed, decoded, replace(matching, lr=self.lr, proximity=proximity), tick)

    def _rule(self, view: View, decoders: Decoders, optimization: Optimization, refine: "Refine") -> Rule:
        """Return the rule that serves best on auxiliary validation images."""
        seen = view.seen[0]
        program = view.program(seen, adaptive=self.adaptive)
        found = []
        for number, (smashed, labels, images) in enumerate(tuning_batches(view, self.adaptive)):
            offer = _Offer(
                program=program,
                smashed=smashed,
                decoded=decoders.of(seen).decode(smashed, labels),
                from_grey=partial(optimization.of_tuning_batch, view, number),
                refine=refine,
            )
            found.append((offer, images))
        return best_rule(found, CANDIDATES)

    def _count(self, view: View, matching: Matching) -> int:
        """Return the number of steps of all refinements."""
        batches = TUNING_BATCHES + sum(len(seen.batches) for seen in view.seen)
        return matching.steps * len(PROXIMITIES) * batches


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """Makes those guesses for a batch that are asked for.

    Attributes:
        program: of the client.
        smashed: what it sent.
        decoded: the decoder's images.
        from_grey: returns what is found from grey.
        refine: a search from the decoder's images.
    """

    program: ClientProgram
    smashed: Tensor
    decoded: Tensor
    from_grey: Callable[[], Tensor]
    refine: Refine

    def __call__(self, wanted: Collection[int]) -> Guesses:
        """Return the decoder's images and these candidates, with their residuals."""
        images = {0: self.decoded, **{candidate: self._of(candidate) for candidate in wanted}}
        with torch.no_grad():
            left = {number: residuals(self.program, guess, self.smashed) for number, guess in images.items()}
        return Guesses(images=images, residuals=left)

    def _of(self, candidate: int) -> Tensor:
        if candidate == FROM_GREY:
            return self.from_grey()
        return self.refine(self.program, self.smashed, self.decoded, PROXIMITIES[candidate - FROM_GREY - 1])


def _rows(images: Tensor, first: int, count: int) -> Tensor:
    return images[first : first + count]

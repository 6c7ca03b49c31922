"""Refine a decoder's images until their activations fit, and keep what serves best on auxiliary images."""

from collections.abc import Callable
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
from dtfl_private.attacks.optimization import Optimization, Ticks
from dtfl_private.attacks.shared.decoders_by_download import Decoders, decoded_by, trained_decoders
from dtfl_private.attacks.shared.feature_matching import Matching, match, residuals
from dtfl_private.attacks.shared.guesses import DECODED, Guesses, Rule, best_rule
from dtfl_private.attacks.shared.inverse_network import map_shape
from dtfl_private.attacks.shared.releaser import validation_release

# Weights of the proximity to the decoder's image in the refinements, each with a smoothness of its own.
PROXIMITIES = (0.0, 0.3, 3.0)
VALIDATION_BATCHES = 2


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
        search = partial(self._candidates, matching=matching, tick=Ticks(view, self._count(view, matching)))
        rule = self._rule(view, decoders, optimization, matching, search)
        if rule == DECODED:  # nothing that a search finds serves better
            return decoded_by(view, decoders)
        found = optimization.reconstruct(view).to(view.device)
        parts: list[Tensor] = []
        for seen in view.seen:
            program = view.program(seen, adaptive=self.adaptive)
            for batch in seen.batches:
                start = sum(len(part) for part in parts)
                decoded = decoders.of(seen).decode(batch.smashed, batch.labels)
                from_grey = found[start : start + len(decoded)]
                parts.append(search(program, batch.smashed, decoded, from_grey).chosen(rule))
        return torch.cat(parts).cpu()

    def _candidates(
        self,
        program: ClientProgram,
        smashed: Tensor,
        decoded: Tensor,
        from_grey: Tensor,
        *,
        matching: Matching,
        tick: Callable[[], None],
    ) -> Guesses:
        """Return the decoder's images, those found from grey, and the refinements, with their residuals."""
        ways = [replace(matching, lr=self.lr, proximity=proximity) for proximity in PROXIMITIES]
        images = [decoded, from_grey, *(match(program, smashed, decoded, way, tick) for way in ways)]
        with torch.no_grad():
            kept = [residuals(program, guess, smashed) for guess in images]
        return Guesses(images=torch.stack(images), residuals=torch.stack(kept))

    def _rule(
        self,
        view: View,
        decoders: Decoders,
        optimization: Optimization,
        matching: Matching,
        search: Callable[..., Guesses],
    ) -> Rule:
        """Return the rule that serves best on auxiliary validation images."""
        seen = view.seen[0]
        program = view.program(seen, adaptive=self.adaptive)
        found = []
        for smashed, labels, images in validation_release(view, seen, self.adaptive, VALIDATION_BATCHES):
            decoded = decoders.of(seen).decode(smashed, labels)
            from_grey = optimization.of_batch(program, smashed, view, matching)
            found.append((search(program, smashed, decoded, from_grey), images))
        return best_rule(found)

    def _count(self, view: View, matching: Matching) -> int:
        """Return the number of steps of all refinements."""
        batches = VALIDATION_BATCHES + sum(len(seen.batches) for seen in view.seen)
        return matching.steps * len(PROXIMITIES) * batches

"""Search for the images whose activations at the cut are those that were seen."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.feature_matching import Matching, match
from dtfl_private.attacks.shared.releaser import validation_release
from dtfl_private.leakage.image_metrics import psnr
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import torch_stream

SMOOTHNESS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Without auxiliary data to tune by.
DEFAULT_SMOOTHNESS = 1e-2

# How far the search starts from grey.
OFF_GREY = 0.05

SEARCH_STEPS = 1000

Smoothness = Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class Optimization(Reconstruction):
    """Minimise |f(x) - z|^2 / |z|^2 + smoothness TV(x) over the images of a whole batch, by AMSGrad from grey.

    Regularised maximum likelihood (rMLE) of He, Zhang and Lee 2019 (ACSAC, section 4). Published, for their CIFAR-10
    network after convolutions 1, 4 and 6: PSNR 37.6, 19.5 and 13.4 dB, SSIM 0.996, 0.694 and 0.163 (model ``he-cnn``).

    f is the client half. What a defense draws is not guessed at but read as far as it shows, and weighed by its known
    likelihood as far as it does not (`Reading`): values left out do not count, those not sent are smaller than those
    sent, noise has its own distribution. A shuffle makes the residual wrong; there is `unshuffle` for it.

    Attributes:
        steps: of the search; 0 for as many as the effort allows, 1,000 as a rule.
        lr: first step of a pixel; falls as a half cosine.
        smoothness: weight of the total variation; "auto" takes the one of 0.0001, 0.001 ... 1 that is best on a batch
            of auxiliary validation images, and 0.01 without auxiliary data.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "labels"}),
        recipe="gradient descent on the images until their activations fit",
        source="He et al. 2019, ACSAC",
    )

    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, le=1)] = 0.1
    smoothness: Smoothness = "auto"

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        tick = Ticks(view, self._count(view))
        matching = self.matching(view, tick)

        def search() -> dict[str, Tensor]:
            parts = [
                self.of_batch(view.program(seen, adaptive=self.adaptive), batch.smashed, view, matching, tick)
                for seen in view.seen
                for batch in seen.batches
            ]
            return {"images": torch.cat(parts)}

        return view.keep(f"search from grey/{matching}/{self.adaptive}/{_victims(view)}", search)["images"].cpu()

    def of_batch(
        self,
        program: ClientProgram,
        smashed: Tensor,
        view: View,
        matching: Matching,
        tick: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Return images (B, C, H, W) for a whole batch of activations, searched for from grey."""
        shape = (len(smashed), *view.input_shape)
        # Where grey is an input of zeros, a norm and a ReLU leave it without a gradient: start a little off it.
        chance = torch_stream(view.seed, "search from grey", view.tier)
        start = 0.5 + OFF_GREY * (torch.rand(shape, generator=chance) - 0.5)
        return match(program, smashed, start.to(view.device), matching, tick)

    def matching(self, view: View, tick: Callable[[], None] = lambda: None) -> Matching:
        """Return how to search at this tier, tuned on auxiliary validation images if there are any; cached."""
        steps = self.steps_of(self.steps, SEARCH_STEPS)
        matching = Matching(steps=steps, lr=self.lr, smoothness=DEFAULT_SMOOTHNESS)
        if self.smoothness != "auto":
            return replace(matching, smoothness=self.smoothness)
        if not view.has("auxiliary-data"):
            return matching
        name = f"smoothness of searches/{matching}/{self.adaptive}"
        cached = view.keep(name, partial(self._tuned, view, view.seen[0], matching, tick))
        return replace(matching, smoothness=SMOOTHNESS[int(cached["best"])])

    def _tuned(self, view: View, seen: Seen, matching: Matching, tick: Callable[[], None]) -> dict[str, Tensor]:
        """Return which smoothness gives the best mean PSNR on a batch of validation images, under "best"."""
        smashed, _, images = validation_release(view, seen, self.adaptive, 1)[0]
        program = view.program(seen, adaptive=self.adaptive)
        scores = []
        for weight in SMOOTHNESS:
            found = self.of_batch(program, smashed, view, replace(matching, smoothness=weight), tick)
            scores.append(psnr(found, images).mean())
        return {"best": torch.tensor(max(range(len(scores)), key=scores.__getitem__))}

    def _count(self, view: View) -> int:
        """Return the number of steps of all searches."""
        steps = self.steps_of(self.steps, SEARCH_STEPS)
        tuning = len(SMOOTHNESS) if self.smoothness == "auto" and view.has("auxiliary-data") else 0
        return steps * (tuning + sum(len(seen.batches) for seen in view.seen))


class Ticks:
    """Counts steps and tells the view's progress."""

    def __init__(self, view: View, total: int) -> None:
        self._view, self._total, self._done = view, total, 0

    def __call__(self) -> None:
        """Count a step."""
        self._done += 1
        self._view.progress(self._done, self._total)


def _victims(view: View) -> str:
    """Return a short text that tells these victims' messages from others."""
    digest = hashlib.blake2b(digest_size=8)
    for seen in view.seen:
        for batch in seen.batches:
            digest.update(batch.smashed.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""Search for the images whose activations at the cut are those that were seen."""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.feature_matching import Matching, match
from dtfl_private.attacks.shared.image_prior import LikelyImages
from dtfl_private.attacks.shared.releaser import ReleasedImages, validation_release
from dtfl_private.leakage.image_metrics import psnr
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.randomness import torch_stream

# Weights of the total variation to choose from.
SMOOTHNESS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Without auxiliary data to tune by.
DEFAULT_SMOOTHNESS = 1e-2


class Pace(NamedTuple):
    """How a search proceeds: see `Matching`; ``likely``: in coordinates of images as auxiliary ones are."""

    lr: float
    memory: float | None
    fade: float
    likely: bool = False

    def matching(self, view: View, *, steps: int, smoothness: float, proximity: float = 0.0) -> Matching:
        """Return a search at this pace."""
        return Matching(
            steps=steps,
            lr=self.lr,
            smoothness=smoothness,
            proximity=proximity,
            fade=self.fade,
            memory=self.memory,
            likely=LikelyImages.of(view) if self.likely else None,
        )


# To choose from. Where smoothness fades, a search is led by it to the right region, and then fits what was received; a
# release that is noisy is never to be fitted so well.
PACES = (
    Pace(0.1, None, 0.0),
    Pace(0.1, 0.99, 4.0),
    Pace(0.1, 0.99, 4.0, likely=True),
    Pace(0.1, 0.99, 0.0, likely=True),
    Pace(0.03, 0.99, 4.0),
)

# Places in `SMOOTHNESS` and `PACES` that tuning starts at.
START = (2, 2)

# Images with this PSNR, dB, cannot be told from the truth: nothing is gained by a better search, once all have it.
EXACT = 50.0

TUNING_BATCHES = 2
# How many searches tuning takes, about.
TUNING_SEARCHES = 6

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
        lr: first step of a pixel; falls as a half cosine. "auto" takes AMSGrad with 0.1, or Adam with 0.1 or 0.03 and a
            short memory, by which of them is best on a batch of auxiliary validation images; AMSGrad without any. It
            also tries steps along what auxiliary images differ in (`LikelyImages`), from their mean.
        smoothness: weight of the total variation, or of how unlikely an image is; "auto" takes the one of 0.0001, 0.001
            ... 1 that is best, likewise, and 0.01 without auxiliary data.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed"}),
        recipe="gradient descent on the images until their activations fit",
        source="He et al. 2019, ACSAC",
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"steps": SEARCH_STEPS}

    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"
    smoothness: Smoothness = "auto"

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        tick = Ticks(view, self._count(view))
        matching = self.matching(view, tick)

        def search() -> dict[str, Tensor]:
            parts = [
                self.of_batch(program.sending(batch.labels, batch.batch), batch.smashed, view, matching, tick)
                for seen in view.seen
                for program in [view.program(seen, adaptive=self.adaptive)]
                for batch in seen.batches
            ]
            return {"images": torch.cat(parts)}

        name = f"search from grey/{matching}/{matching.likely is not None}/{self.adaptive}/{victims_digest(view)}"
        return view.keep(name, search)["images"].cpu()

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
        start = 0.5 + OFF_GREY * (torch.rand(shape, generator=chance) - 0.5).to(view.device)
        if matching.likely is not None:
            start = start - 0.5 + matching.likely.mean  # grey would be far out
        return match(program, smashed, start, matching, tick)

    def matching(self, view: View, tick: Callable[[], None] = lambda: None) -> Matching:
        """Return how to search at this tier, tuned on auxiliary validation images if there are any; cached."""
        if self._is_settled(view):
            return self._settled(view)
        return self._way(view, *self._tuned(view, tick)["best"].tolist())

    def of_tuning_batch(self, view: View, number: int) -> Tensor:
        """Return images (B, C, H, W) for one of `tuning_batches`, found as those of the victims are."""
        if number == 0 and not self._is_settled(view):
            return self._tuned(view)["images"].to(view.device)
        sent = tuning_batches(view, self.adaptive)[number]
        program = sent.sent_by(view.program(view.seen[0], adaptive=self.adaptive))
        return self.of_batch(program, sent.smashed, view, self.matching(view))

    def is_near(self, view: View, level: float) -> bool:
        """Whether the search that tuning starts from reaches a mean PSNR, dB, on the first of `tuning_batches`."""
        sent = tuning_batches(view, self.adaptive)[0]
        program = sent.sent_by(view.program(view.seen[0], adaptive=self.adaptive))
        found = self.of_batch(program, sent.smashed, view, self._way(view, *START))
        return float(psnr(found, sent.images).mean()) >= level

    @property
    def search_steps(self) -> int:
        """Steps of each search."""
        return self.budget["steps"]

    def _is_settled(self, view: View) -> bool:
        """Whether there is nothing to tune, or nothing to tune by."""
        return (self.smoothness != "auto" and self.lr != "auto") or not view.has("auxiliary-data")

    def _settled(self, view: View) -> Matching:
        """Return how to search without tuning."""
        return self._way(view, SMOOTHNESS.index(DEFAULT_SMOOTHNESS), 0)

    def _way(self, view: View, smoothness: int, pace: int) -> Matching:
        """Return the search with these of `SMOOTHNESS` and `PACES`, as far as the settings leave them open."""
        smooth = SMOOTHNESS[smoothness] if self.smoothness == "auto" else self.smoothness
        chosen = PACES[pace] if self.lr == "auto" else Pace(self.lr, None, 0.0)
        return chosen.matching(view, steps=self.search_steps, smoothness=smooth)

    def _tuned(self, view: View, tick: Callable[[], None] = lambda: None) -> Mapping[str, Tensor]:
        """Return which smoothness and pace give the best mean PSNR on validation images, "best", and what they find.

        By climbing from `START`: the score falls on both sides of the best.
        """

        def tune() -> dict[str, Tensor]:
            sent = tuning_batches(view, self.adaptive)[0]
            program = sent.sent_by(view.program(view.seen[0], adaptive=self.adaptive))
            found: dict[tuple[int, ...], Tensor] = {}

            def score(place: tuple[int, ...]) -> FloatArray:
                found[place] = self.of_batch(program, sent.smashed, view, self._way(view, *place), tick)
                return psnr(found[place], sent.images)

            sizes = (len(SMOOTHNESS) if self.smoothness == "auto" else 1, len(PACES) if self.lr == "auto" else 1)
            best = climb(score, [min(place, size - 1) for place, size in zip(START, sizes, strict=True)], sizes)
            return {"best": torch.tensor(best), "images": found[best]}

        return view.keep(f"tuned search/{self._settled(view)}/{self.smoothness}/{self.lr}/{self.adaptive}", tune)

    def _count(self, view: View) -> int:
        """Return the number of steps of all searches, as far as tuning lets it be known."""
        tuning = 0 if self._is_settled(view) else TUNING_SEARCHES
        return self.search_steps * (tuning + sum(len(seen.batches) for seen in view.seen))


def tuning_batches(view: View, adaptive: bool) -> Sequence[ReleasedImages]:
    """Return whole batches of auxiliary validation images, as a client sends them, to tune and to choose by."""
    return validation_release(view, view.seen[0], adaptive, TUNING_BATCHES)


def climb(
    score: Callable[[tuple[int, ...]], FloatArray], start: Sequence[int], sizes: Sequence[int]
) -> tuple[int, ...]:
    """Return the place of a grid, of these sizes, from which no step along an axis leads to a greater mean score.

    Or the first whose scores, the PSNR of each image in dB, are all `EXACT`: one image that is far from it hides in a
    mean over images that are all but perfect.
    """
    best = tuple(start)
    scores = {best: score(best)}
    changed = True
    while changed:
        changed = False
        for axis, way in itertools.product(range(len(sizes)), (1, -1)):
            while 0 <= (place := (*best[:axis], best[axis] + way, *best[axis + 1 :]))[axis] < sizes[axis]:
                if scores[best].min() >= EXACT:
                    return best
                if place not in scores:
                    scores[place] = score(place)
                if scores[place].mean() <= scores[best].mean():
                    break
                best, changed = place, True
    return best


class Ticks:
    """Counts steps and tells the view's progress."""

    def __init__(self, view: View, total: int) -> None:
        self._view, self._total, self._done = view, total, 0

    def __call__(self) -> None:
        """Count a step."""
        self._done += 1
        self._view.progress(min(self._done, self._total), self._total)  # tuning may take more than was expected


def victims_digest(view: View) -> str:
    """Return a short text that tells these victims' messages from others."""
    digest = hashlib.blake2b(digest_size=8)
    for seen in view.seen:
        for batch in seen.batches:
            digest.update(batch.smashed.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

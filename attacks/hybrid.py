"""Refine a decoder's images until their activations fit, and keep what serves best on auxiliary images."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target, name_of
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.decoder import Decoder
from dtfl_private.attacks.optimization import (
    EXACT,
    SEARCH_STEPS,
    SMOOTHNESS,
    Optimization,
    Pace,
    Ticks,
    climb,
    tuning_batches,
    victims_digest,
)
from dtfl_private.attacks.shared.decoder_training import NORMAL_STEPS
from dtfl_private.attacks.shared.decoders_by_download import Decoders, TrainedDecoder, decoded_by, trained_decoders
from dtfl_private.attacks.shared.feature_matching import Matching, match, residuals
from dtfl_private.attacks.shared.guesses import FIRST, Guesses, Rule, best_rule, needed
from dtfl_private.attacks.shared.inverse_network import InverseNetwork, map_shape
from dtfl_private.attacks.shared.latent_matching import match_latent
from dtfl_private.attacks.shared.posterior_sampling import Sampler, chain_steps, has_many_likely_images
from dtfl_private.attacks.shared.releaser import ReleasedImages
from dtfl_private.leakage.image_metrics import psnr
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.randomness import torch_stream

# Weights of the proximity to the decoder's image to choose from, and how the search proceeds: slower than from grey.
PROXIMITIES = (0.0, 0.3, 3.0, 30.0)
PACES = (
    Pace(0.02, None, 0.0),
    Pace(0.02, 0.99, 4.0),
    Pace(0.1, 0.99, 4.0, likely=True),
    Pace(0.1, 0.99, 0.0, likely=True),
    Pace(0.05, 0.99, 4.0),
)
# Places in `SMOOTHNESS`, `PROXIMITIES` and `PACES` that tuning starts at.
START = (2, 0, 2)

# Candidates by number; the decoder's image is 0.
REFINED, AVERAGED, FROM_GREY = 1, 2, 3
# Searches from grey are left out if the first one is so many dB behind the refinement: tuning would not make up for it.
FAR_BEHIND = 10.0
# How many searches tuning takes, about.
TUNING_SEARCHES = 8
# Shares of the attack's time that are over, about, when decoders are trained and searches tuned.
DECODED, TUNED = 0.5, 0.75


@dataclass(frozen=True, kw_only=True)
class Hybrid(Reconstruction):
    """Start at the decoder's image, minimise relative residual + TV + distance to the start, keep the best candidate.

    Candidates for a batch: the decoder's images (a trivial guess, where `decoder` returns one), those that a search
    from them finds, whose weights are tuned on auxiliary validation images, under noise the mean of all likely images
    (`Sampler`), and those that `optimization` finds from grey, unless it is far behind there. Where that is better on
    those images, the search starts from the likeliest that the decoder can make nearby. Which candidate is taken, or
    which point on the way from the decoder's image to it, or for each image the one with the lowest residual, is
    decided once per tier by the mean PSNR on auxiliary validation images. So it is, but for the chance of that choice
    and above 50 dB, never worse than either of the two.

    Attributes:
        size: of the decoder's network.
        decoder_steps: of its training; 0 for as many as the effort allows.
        steps: of each search; 0 as for `optimization`.
        lr: first step of a pixel in a refinement; "auto" takes AMSGrad with 0.02, or Adam with 0.02 or 0.05 and a short
            memory, or steps along what auxiliary images differ in (`LikelyImages`), by what is best on a batch of
            auxiliary validation images.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="decoder, then gradient descent on its images until their activations fit",
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"decoder_steps": NORMAL_STEPS, "steps": SEARCH_STEPS}

    size: Literal["small", "medium", "large", "best"] = "medium"
    decoder_steps: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"

    def check(self, target: Target) -> None:
        """Refuse what is no image, and activations that are no map."""
        super().check(target)
        map_shape(target.cut_shape, name_of(self))

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W); cached."""
        name = f"hybrid/{self}/{victims_digest(view)}"
        return view.keep(name, lambda: {"images": self._found(view)})["images"]

    def rivals(self, view: View) -> Sequence[InverseNetwork]:
        """Return other networks that decode what these clients send; the best on validation images is the start."""
        return ()

    def _found(self, view: View) -> Tensor:
        decoder = Decoder(size=self.size, steps=self.decoder_steps, adaptive=self.adaptive, effort=self.effort)
        decoders = trained_decoders(view.part(0, DECODED), decoder.training, self.rivals(view))
        optimization = Optimization(steps=self.steps, adaptive=self.adaptive, effort=self.effort)
        tuning, searching = view.part(DECODED, TUNED), view.part(TUNED, 1)
        steps, batches = optimization.search_steps, tuning_batches(view, self.adaptive)
        noisy = has_many_likely_images(view.program(view.seen[0], adaptive=self.adaptive).read(batches[0].smashed))
        ticks = Ticks(tuning, steps * TUNING_SEARCHES + noisy * len(batches) * chain_steps(steps))
        tuned = self._tuned(tuning, decoders, optimization, batches[0], ticks)
        exact = bool(psnr(tuned["images"], batches[0].images).min() >= EXACT)
        sampler = Sampler.of(view, view.seen[0], adaptive=self.adaptive) if noisy and not exact else None
        way = self._way(view, optimization, *tuned["best"].tolist())
        refine = partial(_refined, matching=way, latent=bool(tuned["latent"]))
        rule, candidates = self._rule(view, decoders, optimization, batches, tuned, refine, sampler, ticks)
        if rule == FIRST:  # nothing that a search finds serves better
            return decoded_by(view, decoders)
        wanted = needed([rule], candidates)
        found = torch.empty(0)
        if FROM_GREY in wanted:
            found = optimization.reconstruct(searching.part(0, 0.5)).to(view.device)
            searching = searching.part(0.5, 1)
        work = {REFINED: steps, AVERAGED: chain_steps(steps), FROM_GREY: 0}
        received = sum(len(seen.batches) for seen in view.seen)
        tick = Ticks(searching, received * sum(work[candidate] for candidate in wanted))
        parts: list[Tensor] = []
        for seen in view.seen:
            program = view.program(seen, adaptive=self.adaptive)
            for batch in seen.batches:
                sender = program.sending(batch.labels, batch.batch)
                decoded = decoders.of(seen).decode(batch.smashed, batch.labels)
                make = {
                    REFINED: partial(refine, sender, batch.smashed, batch.labels, decoders.of(seen), tick=tick),
                    FROM_GREY: partial(_rows, found, sum(map(len, parts)), len(decoded)),
                }
                if sampler is not None:
                    chance = _chance_of(view, seen.download.client, batch.batch)
                    given = (batch.smashed, batch.labels, decoded, chain_steps(steps), chance, tick)
                    make[AVERAGED] = partial(sampler.average, sender, *given)
                parts.append(_offered(sender, batch.smashed, decoded, make, wanted).chosen(rule))
        return torch.cat(parts).cpu()

    def _way(self, view: View, optimization: Optimization, smoothness: int, proximity: int, pace: int) -> Matching:
        """Return the search from a decoder's image with these of `SMOOTHNESS`, `PROXIMITIES` and `PACES`."""
        chosen = PACES[pace] if self.lr == "auto" else Pace(self.lr, None, 0.0)
        return chosen.matching(
            view,
            steps=optimization.search_steps,
            smoothness=SMOOTHNESS[smoothness],
            proximity=PROXIMITIES[proximity],
        )

    def _tuned(
        self,
        view: View,
        decoders: Decoders,
        optimization: Optimization,
        sent: ReleasedImages,
        tick: Callable[[], None],
    ) -> Mapping[str, Tensor]:
        """Return which search from the decoder's images finds the best ones, "best", for a validation batch, and them.

        By the mean PSNR; climbing from `START`.
        """
        seen = view.seen[0]
        program = sent.sent_by(view.program(seen, adaptive=self.adaptive))
        smashed, labels, _, images = sent
        decoded = decoders.of(seen).decode(smashed, labels)
        found: dict[tuple[int, ...], Tensor] = {}

        def score(place: tuple[int, ...]) -> FloatArray:
            found[place] = match(program, smashed, decoded, self._way(view, optimization, *place), tick)
            return psnr(found[place], images)

        sizes = (len(SMOOTHNESS), len(PROXIMITIES), len(PACES) if self.lr == "auto" else 1)
        best = climb(score, [min(place, size - 1) for place, size in zip(START, sizes, strict=True)], sizes)
        reached = found[best]
        if psnr(reached, images).min() < EXACT:  # then from what a search of the decoder's own images finds, too
            way = self._way(view, optimization, *best)
            other = _refined(program, smashed, labels, decoders.of(seen), matching=way, latent=True, tick=tick)
            reached = max((reached, other), key=lambda guess: float(psnr(guess, images).mean()))
        return {"best": torch.tensor(best), "images": reached, "latent": torch.tensor(reached is not found[best])}

    def _rule(
        self,
        view: View,
        decoders: Decoders,
        optimization: Optimization,
        batches: Sequence[ReleasedImages],
        tuned: Mapping[str, Tensor],
        refine: Callable[[ClientProgram, Tensor, Tensor, TrainedDecoder], Tensor],
        sampler: Sampler | None,
        tick: Callable[[], None],
    ) -> tuple[Rule, Collection[int]]:
        """Return the rule that serves best on auxiliary validation images, and the candidates that it is one for."""
        seen = view.seen[0]
        program = view.program(seen, adaptive=self.adaptive)
        reached = psnr(tuned["images"], batches[0].images)
        grey_too = reached.min() < EXACT and optimization.is_near(view, float(reached.mean()) - FAR_BEHIND)
        chain = chain_steps(optimization.search_steps)
        offers = []
        for number, sent in enumerate(batches):
            smashed, labels, _, images = sent
            sender, decoded = sent.sent_by(program), decoders.of(seen).decode(smashed, labels)
            make = {
                REFINED: partial(refine, sender, smashed, labels, decoders.of(seen)),
                FROM_GREY: partial(optimization.of_tuning_batch, view, number),
            }
            if number == 0:
                make[REFINED] = partial(tuned.__getitem__, "images")
            if sampler is not None:
                given = (smashed, labels, decoded, chain, _chance_of(view, "tuning", number), tick)
                make[AVERAGED] = partial(sampler.average, sender, *given)
            offers.append((partial(_offered, sender, smashed, decoded, make), images))
        candidates = [REFINED, *([AVERAGED] if sampler is not None else []), *([FROM_GREY] if grey_too else [])]
        return best_rule(offers, candidates), candidates


def _refined(
    program: ClientProgram,
    smashed: Tensor,
    labels: Tensor,
    decoder: TrainedDecoder,
    *,
    matching: Matching,
    latent: bool,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return what a search finds from the decoder's images, or (latent) from the likeliest that it can make nearby."""
    if latent:
        start = match_latent(program, smashed, labels, decoder, -(-matching.steps // 2), tick)
    else:
        start = decoder.decode(smashed, labels)
    return match(program, smashed, start, matching, tick)


def _offered(
    program: ClientProgram,
    smashed: Tensor,
    decoded: Tensor,
    make: Mapping[int, Callable[[], Tensor]],
    wanted: Collection[int],
) -> Guesses:
    """Return the decoder's images and those candidates that are wanted, with their residuals."""
    images = {0: decoded, **{candidate: make[candidate]() for candidate in wanted}}
    with torch.no_grad():
        left = {candidate: residuals(program, guess, smashed) for candidate, guess in images.items()}
    return Guesses(images=images, residuals=left)


def _chance_of(view: View, *path: str | int) -> torch.Generator:
    return torch_stream(view.seed, "likely images of a release", view.tier, *path)


def _rows(images: Tensor, first: int, count: int) -> Tensor:
    return images[first : first + count]

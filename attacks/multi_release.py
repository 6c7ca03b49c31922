"""Find the same record in several releases, and put together what each of them shows of it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target, name_of
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.hybrid import PACES, START
from dtfl_private.attacks.hybrid import PROXIMITIES as FROM_ONE_RELEASE
from dtfl_private.attacks.optimization import SMOOTHNESS, Ticks, climb
from dtfl_private.attacks.shared.arrangement import hungarian, squared_distances
from dtfl_private.attacks.shared.decoder_training import NORMAL_STEPS, DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import TrainedDecoder, trained_decoder
from dtfl_private.attacks.shared.fallback import Guess, guesses_of
from dtfl_private.attacks.shared.feature_matching import Matching
from dtfl_private.attacks.shared.guesses import FIRST, Guesses, best_rule, needed
from dtfl_private.attacks.shared.inverse_network import map_shape
from dtfl_private.attacks.shared.joint_matching import JointSearch, Programs
from dtfl_private.attacks.shared.linking import LinkedReleases, Release, link_all, nearest_limit
from dtfl_private.attacks.shared.releaser import Releaser, batch_size, by_download, fingerprint
from dtfl_private.leakage.image_metrics import psnr
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.protocol.messages import ModelDownload, Seen

# Ridge on the normal equations of the weights, as a share of their mean diagonal.
RIDGE = 1e-4
# Weights of the proximity to the images combined by least squares to choose from: these are the better, the more
# releases there are.
PROXIMITIES = (*FROM_ONE_RELEASE, 300.0)
# Of a search, which starts near its end.
SEARCH_STEPS = 300
# How many searches tuning and choice take, about.
TUNING_SEARCHES = 10
# Candidates by number: 0 is the combined images, trivial guesses follow.
SEARCHED = 1
# Chunks of auxiliary images to choose by.
CHUNKS = 2
# Share of the attack's time that is over, about, when decoders are trained.
DECODED = 0.6


@dataclass(frozen=True, kw_only=True)
class MultiRelease(Reconstruction):
    """Decode every release, link those of one record, combine the images, search for what explains all releases.

    A record is sent in every epoch of every round, in an order that the server does not know. Within a client, the
    records of a release are assigned to the victims by their labels and the distances of the decoded images (Hungarian
    method, Kuhn 1955); a pair is linked if it is nearer than pairs of different auxiliary records as a rule are. The
    images of a record are then combined with weights that are best for auxiliary images released as often. So fresh
    noise averages out, a release under weights that hide more counts less, and the decoders' caution (a single release
    that is mostly noise is decoded to the mean image) is taken back as far as several releases warrant it.

    From the combined images a search goes on to those that maximise the sum of the log-likelihoods of all linked
    releases, under the weights and the defense of each (`JointSearch`), with total variation and a pull to the start.
    How much of either, and whether its images, the combined ones, a trivial guess, or which on the way are taken, is
    decided by auxiliary images that are released and linked as often.

    Assumes that what was sent of a record differs by the clients' weights and fresh draws. Where clients flip images,
    both ways are tried; a crop or a cutout can leave a release unlinked, which then counts for nothing. Weights move on
    within a round, so that releases of later epochs are decoded with the weights of its beginning, a little wrongly.
    The search takes for each batch those, or the ones on the straight way from them to the client's update, whichever
    explain it better.

    Attributes:
        size: of the decoders' network.
        decoder_steps: of each decoder's training, 0 for as many as the effort allows; there is one for each round's
            weights.
        releases: of one record that are used at most, the victim's own first, then the latest.
        steps: of each search; 0 for as many as the effort allows, 300 as a rule.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="all releases of a record linked by decoded images, combined, and explained by one image",
        looks_back=True,
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"decoder_steps": NORMAL_STEPS, "steps": SEARCH_STEPS}

    size: Literal["small", "medium", "large", "best"] = "medium"
    decoder_steps: Annotated[int, Field(ge=0)] = 0
    releases: Annotated[int, Field(ge=2)] = 8
    steps: Annotated[int, Field(ge=0)] = 0

    def check(self, target: Target) -> None:
        """Refuse what is no image, and activations that are no map."""
        super().check(target)
        map_shape(target.cut_shape, name_of(self))

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        training = DecoderTraining(size=self.size, steps=self.budget["decoder_steps"], adaptive=self.adaptive)
        fitting = [one for one in view.earlier if one.download.tier == view.tier]
        rounds = by_download([*view.seen, *fitting])
        share = DECODED / len(rounds)
        decoders = {
            name: trained_decoder(view.part(number * share, (number + 1) * share), group, training)
            for number, (name, group) in enumerate(rounds.items())
        }
        searching = view.part(DECODED, 1)
        tick = Ticks(searching, len(view.seen) * self._steps * TUNING_SEARCHES)
        parts = []
        for seen in view.seen:
            own = [one for one in fitting if one.download.client == seen.download.client]
            chosen = [seen, *own[::-1][: self.releases - 1]]
            names = [fingerprint(one.download) for one in chosen]
            known = _Known.of(view, [rounds[name] for name in names], [decoders[name] for name in names], self.adaptive)
            decoded = [decode_all(decoders[name], one) for name, one in zip(names, chosen, strict=True)]
            linked = link_all(decoded, known.limits, mirrored="flip" in view.augmentations)
            parts.append(self._best(view, chosen, known, linked, tick))
        return torch.cat(parts).cpu()

    @property
    def _steps(self) -> int:
        return self.budget["steps"]

    def _best(self, view: View, chosen: Sequence[Seen], known: "_Known", linked: LinkedReleases, tick: Ticks) -> Tensor:
        """Return a client's images (N, C, H, W): combined, searched for, or on the way, as auxiliary images decide."""
        mirrored = "flip" in view.augmentations
        chunks = known.chunks([len(one.labels) for one in linked.releases], mirrored=mirrored)
        begin = [_as_begun(view, one, self.adaptive) for one in chosen]
        searches = [JointSearch(chunk, begin, known.combined(chunk, chunks)) for chunk in chunks]
        matching = self._tuned(view, searches[0], known.truth_of(chunks[0]), tick)

        guesses = list(guesses_of(view.auxiliary).values())

        def offer(number: int, wanted: Collection[int]) -> Guesses:
            return _offered(searches[number], chunks[number], guesses, wanted, matching, tick)

        offers = [(partial(offer, number), known.truth_of(chunk)) for number, chunk in enumerate(chunks[:CHUNKS])]
        candidates = range(1, 1 + SEARCHED + len(guesses))
        rule = best_rule(offers, candidates)
        combined = known.combined(linked, chunks)
        if rule == FIRST:
            return combined
        moved = [_as_moved(view, one, self.adaptive) for one in chosen]
        search = JointSearch(linked, moved, combined)
        return _offered(search, linked, guesses, needed([rule], candidates), matching, tick).chosen(rule)

    def _tuned(self, view: View, search: JointSearch, truth: Tensor, tick: Ticks) -> Matching:
        """Return how the search finds the best images (N, C, H, W), by their mean PSNR."""

        def way(place: Sequence[int]) -> Matching:
            smoothness, proximity, pace = place
            return PACES[pace].matching(
                view, steps=self._steps, smoothness=SMOOTHNESS[smoothness], proximity=PROXIMITIES[proximity]
            )

        def score(place: tuple[int, ...]) -> FloatArray:
            return psnr(search.found(way(place), tick), truth)

        return way(climb(score, START, (len(SMOOTHNESS), len(PROXIMITIES), len(PACES))))


def _offered(
    search: JointSearch,
    linked: LinkedReleases,
    guesses: Sequence[Guess],
    wanted: Collection[int],
    matching: Matching,
    tick: Ticks,
) -> Guesses:
    """Return the images that a search starts from, and, if wanted, those that it finds and, after it, trivial ones."""
    make = {SEARCHED: partial(search.found, matching, tick)}
    make |= {number: partial(guess, linked.labels) for number, guess in enumerate(guesses, start=SEARCHED + 1)}
    images = {0: search.start, **{number: make[number]().to(search.start) for number in wanted}}
    return Guesses(images=images, residuals={number: search.residuals(one) for number, one in images.items()})


def _as_begun(view: View, seen: Seen, adaptive: bool) -> Programs:
    """Return the client's program with the weights that it began this round with, for all batches."""
    program = view.program(seen, adaptive=adaptive)
    return lambda _: [program]


def _as_moved(view: View, seen: Seen, adaptive: bool) -> Programs:
    """Return the client's program with these weights, and with those on the straight way to the update, by batch."""
    begun = view.program(seen, adaptive=adaptive)

    def programs(number: int) -> list[ClientProgram]:
        if number == 0 or seen.update is None:
            return [begun]
        local = view.local_steps
        steps = math.ceil(seen.update.examples / (local.batch_size or batch_size([seen]))) * local.epochs
        return [begun, view.program_with(_moved(seen, min(1.0, number / steps)), adaptive=adaptive)]

    return programs


def _moved(seen: Seen, way: float) -> ModelDownload:
    """Return the download, moved so far to the update: 0..1."""
    assert seen.update is not None
    weights = {
        name: torch.lerp(begun, seen.update.weights[name].to(begun), way) if begun.is_floating_point() else begun
        for name, begun in seen.download.weights.items()
    }
    return replace(seen.download, weights=weights)


def decode_all(decoder: TrainedDecoder, seen: Seen) -> Release:
    """Return all batches of a round, decoded."""
    smashed, labels = (torch.cat([getattr(batch, part) for batch in seen.batches]) for part in ("smashed", "labels"))
    numbers = torch.cat([torch.full_like(batch.labels, batch.batch) for batch in seen.batches])
    return Release(images=decoder.decode_by_network(smashed, labels), labels=labels, smashed=smashed, batches=numbers)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What auxiliary images, released and linked as often as the victims, tell.

    Attributes:
        mean: image (C, H, W) that a record without any release would be taken for.
        releases: of the auxiliary images, all in the same order.
        truth: the images (N, C, H, W) themselves.
        limits: squared distance from the image of a record above which an image is rather of another one; for each
            release but the first.
    """

    mean: Tensor
    releases: Sequence[Release]
    truth: Tensor
    limits: Sequence[float]

    @classmethod
    def of(
        cls, view: View, groups: Sequence[Sequence[Seen]], decoders: Sequence[TrainedDecoder], adaptive: bool
    ) -> "_Known":
        """Release the validation images under each of these downloads in turn, with draws of their own."""
        data = view.auxiliary
        # Whole batches only, if there is one: otherwise it is filled up by the first images once more.
        size = batch_size(groups[0])
        count = len(data.validation_labels) // size * size or len(data.validation_labels)
        filled = torch.arange(max(count, size)) % count
        releases = []
        for turn, (group, decoder) in enumerate(zip(groups, decoders, strict=True)):
            # Each batch has a number of its own, as the clients' have.
            sent = Releaser(view, group, adaptive, range(len(filled))).release(
                data.validation_images[filled], data.validation_labels[filled], "known", turn
            )
            release = Release(
                images=decoder.decode_by_network(sent.smashed, sent.labels),
                labels=sent.labels,
                smashed=sent.smashed,
                batches=sent.batches,
            )
            releases.append(release.of(_order(sent.images, data.validation_images[filled])))
        # Further epochs of a round in which all is sent hold every record: there is no doubt whether, only which.
        every_record = view.local_steps.send_every == 1
        limits = [
            torch.inf if every_record and group is groups[0] else nearest_limit(releases[0], other)
            for group, other in zip(groups[1:], releases[1:], strict=True)
        ]
        truth = data.validation_images[filled].to(view.device)
        return cls(mean=data.images.mean(dim=0).to(view.device), releases=releases, truth=truth, limits=limits)

    def chunks(self, sizes: Sequence[int], *, mirrored: bool) -> list[LinkedReleases]:
        """Return the auxiliary releases, linked among as many records as the victims' of these sizes."""
        count = min(sizes[0], len(self.truth))
        starts = range(0, len(self.truth) - count + 1, count)
        return [link_all(self.releases, self.limits, mirrored=mirrored, start=one, count=count) for one in starts]

    def truth_of(self, chunk: LinkedReleases) -> Tensor:
        """Return the images (N, C, H, W) of auxiliary records."""
        return self.truth[chunk.links[0].places]

    def combined(self, linked: LinkedReleases, chunks: Sequence[LinkedReleases]) -> Tensor:
        """Return images (N, C, H, W) of records, with what all releases show of them, by weights best for chunks."""
        images, found = linked.images, linked.found
        known = torch.cat([chunk.images for chunk in chunks], dim=1)
        truth = torch.cat([self.truth_of(chunk) for chunk in chunks])
        result = torch.empty_like(images[0])
        for pattern in torch.unique(found, dim=1).T:
            which = (found == pattern[:, None]).all(dim=0)
            weights = self._weights(known[pattern], truth)
            moved = (images[pattern][:, which] - self.mean) * weights[:, None, None, None, None]
            result[which] = self.mean + moved.sum(dim=0)
        return result.clamp(0, 1)

    def _weights(self, images: Tensor, truth: Tensor) -> Tensor:
        """Return the weights of releases (R, N, C, H, W) with the least squared error on images (N, C, H, W)."""
        parts = (images - self.mean).flatten(1).double()
        products = parts @ parts.T
        products = products + RIDGE * products.diagonal().mean() * torch.eye(len(products)).to(products)
        weights: Tensor = torch.linalg.solve(products, parts @ (truth - self.mean).flatten().double())
        return weights.to(images)


def _order(images: Tensor, sorted_images: Tensor) -> Tensor:
    """Return where each of some images (N, C, H, W) stands among the same ones in another order; copies share none."""
    parts = (sorted_images.to(images.device).flatten(1).double(), images.flatten(1).double())
    return hungarian(squared_distances(parts[1][None], parts[0][None]))[0].to(images.device)

"""Guesses meet the ground truth: what the repetitions of an attack reached, in numbers and for pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.attack_setup import AttackSetup
from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    MembershipInference,
    Reconstruction,
    TokenReconstruction,
)
from dtfl_private.attacking.scoring.count_scoring import attribute_count_results, label_count_results
from dtfl_private.attacking.scoring.judged import Judged, Scored
from dtfl_private.attacking.scoring.rebuilt import Pictured, ReadBack, Rebuilt
from dtfl_private.attacking.scoring.repetitions import (
    Repetition,
    common_victims,
    guess_of,
    in_best_order,
    sends_labels,
    sent_labels,
)
from dtfl_private.attacking.scoring.tampering_results import tampering_results
from dtfl_private.attacking.scoring.token_scoring import common_texts, judged_texts, not_empty, texts_of
from dtfl_private.attacking.scoring.unordered_guesses import unordered_guesses
from dtfl_private.attacking.scoring.value_scoring import inference_results
from dtfl_private.attacking.victims.victims import Victims
from dtfl_private.leakage.baselines import BASELINES, Known
from dtfl_private.leakage.classifier import Classifier, train_classifier
from dtfl_private.leakage.image_metrics import psnr
from dtfl_private.leakage.lpips import require_lpips
from dtfl_private.leakage.membership_metrics import placements
from dtfl_private.leakage.results.image_results import baseline_results, image_results, trivial_guesses
from dtfl_private.leakage.results.membership_results import member_scores, membership_results
from dtfl_private.leakage.results.result import Result, SettingValue
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.results.token_results import token_baseline_results
from dtfl_private.leakage.token_baselines import TOKEN_BASELINES
from dtfl_private.protocol.vocabulary import Vocabulary

# Of images, two attacks are compared by these.
COMPARED = ("psnr", "ssim")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one attack reached at one tier; ``scored`` of all that guess.

    ``pictured`` of reconstructed images, ``read_back`` of texts.
    """

    job: Job
    results: Sequence[Result]
    pictured: Pictured | None = None
    read_back: ReadBack | None = None
    scored: Scored | None = None

    @property
    def rebuilt(self) -> Rebuilt | None:
        """What was rebuilt of inputs, images or texts; None of what guesses something else."""
        return self.pictured or self.read_back


class Judge:
    """Judges guesses by the ground truth, which attacks never see.

    Args:
        setup: of the run and its data.
        lpips: judge images by LPIPS too.
        like: another judge of the same run, by the same images, whose classifier this one takes over.

    Raises:
        InputError: LPIPS is asked for and its weights are not there.
    """

    def __init__(self, setup: AttackSetup, *, lpips: bool = False, like: "Judge | None" = None) -> None:
        if lpips:
            require_lpips()
        self._setup = setup
        self._lpips = lpips
        self._like = like

    @cached_property
    def _classifier(self) -> Classifier:
        """A classifier that neither the clients nor the attack trained."""
        if self._like is not None:
            return self._like._classifier
        data, worker = self._setup.split.judging, self._setup.opened.prepared.worker
        return train_classifier(
            data.images,
            data.labels,
            data.validation_images,
            data.validation_labels,
            classes=worker.classes,
            seed=worker.seed,
            device=self._setup.numerics.device,
        )

    def verdict(self, job: Job, repetitions: Sequence[Repetition], settings: Mapping[str, SettingValue]) -> Verdict:
        """Judge the repetitions of an attack.

        Args:
            job: the attack at its tier.
            repetitions: one per seed.
            settings: to be shown with the results.
        """
        heading = self._heading(job, repetitions, settings)
        visible = [] if repetitions[0].tampering is None else tampering_results(self._setup, repetitions, heading)
        guessed = [repetition for repetition in repetitions if repetition.guess is not None]
        if not guessed:
            return Verdict(job=job, results=visible)
        attack, pictured, read_back = job.chosen.attack, None, None
        if isinstance(attack, TokenReconstruction):
            if (found := self._texts(guessed, heading)) is None:
                return Verdict(job=job, results=visible)
            judged, read_back = found
        elif isinstance(attack, Reconstruction):
            judged, pictured = self._images(guessed, heading)
        else:
            judged = self._inferred(attack, guessed, heading)
        results = [*judged.results, *visible]
        return Verdict(job=job, results=results, pictured=pictured, read_back=read_back, scored=judged.scored)

    def _inferred(self, attack: Attack, repetitions: Sequence[Repetition], heading: Heading) -> Judged:
        if isinstance(attack, MembershipInference):
            return self._membership(repetitions, heading)
        if self._is_whole(heading.tier):
            return self._counts(attack, repetitions, heading)
        return inference_results(attack, self._setup, repetitions, heading)

    def _counts(self, attack: Attack, repetitions: Sequence[Repetition], heading: Heading) -> Judged:
        """Judge guesses about clients that send their records in no order."""
        if isinstance(attack, AttributeInference):
            return attribute_count_results(attack, repetitions, self._setup.split.judging, heading)
        return label_count_results(repetitions, self._setup.split.prior, heading)

    def _is_whole(self, tier: int) -> bool:
        """Whether clients of a tier keep the whole network, so that neither order nor labels of records are sent."""
        return tier == self._setup.opened.whole_tier

    def _heading(self, job: Job, repetitions: Sequence[Repetition], settings: Mapping[str, SettingValue]) -> Heading:
        tampering = repetitions[0].tampering
        return Heading(
            tier=job.tier,
            cut=self._setup.opened.cut_shapes[job.tier if tampering is None else tampering.tier],
            source=job.chosen.name,
            adaptive=job.chosen.attack.adaptive,
            adversary=job.chosen.adversary.name,
            seed=self._setup.opened.prepared.worker.seed,
            settings=settings,
        )

    def _known(self, victims: Victims, places: Tensor) -> Known | None:
        """Return what is known of these victims without an attack; where no labels are sent, all are one class."""
        auxiliary = self._setup.split.auxiliary
        if auxiliary is None:
            return None
        own = auxiliary.labels if sends_labels(victims) else torch.zeros_like(auxiliary.labels)
        return Known(
            images=auxiliary.images,
            labels=own,
            victim_labels=sent_labels(victims)[places],
            truth=victims.truth[places],
        )

    def _images(self, repetitions: Sequence[Repetition], heading: Heading) -> tuple[Judged, Pictured]:
        whole = self._is_whole(heading.tier)
        if whole:
            repetitions = [in_best_order(repetition) for repetition in repetitions]
        common, guesses = common_victims(repetitions)
        victims = repetitions[0].victims
        truth, labels = victims.truth[common], victims.labels[common]
        known = self._known(victims, common)
        others = unordered_guesses(victims, self._setup.split.auxiliary, heading) if whole else {}
        judged = image_results(
            guesses,
            known,
            truth,
            labels,
            self._classifier.predict,
            heading,
            with_lpips=self._lpips,
            others={name: guess[common] for name, guess in others.items()},
        )
        trivial = trivial_guesses(known, truth)
        best = max(trivial, key=lambda name: float(psnr(trivial[name], truth).mean()))
        pictured = Pictured(
            truth=truth, guesses=guesses, baseline=trivial[best], baseline_name=best, scores=judged.scores
        )
        scored = Scored(
            truth=truth, records=victims.records[common], scores={name: [judged.scores[name]] for name in COMPARED}
        )
        return Judged(results=judged.results, scored=scored), pictured

    def _texts(self, repetitions: Sequence[Repetition], heading: Heading) -> tuple[Judged, ReadBack] | None:
        """Judge texts that were read back; None where all are empty."""
        vocabulary = self._setup.opened.vocabulary
        assert vocabulary is not None
        places, guesses = common_texts(repetitions, vocabulary)
        if not len(places):
            return None
        victims = repetitions[0].victims
        known = texts_of(self._known(victims, places), vocabulary)
        return judged_texts(victims, places, guesses, known, vocabulary.padding, heading)

    def baselines(self, victims: Victims, tier: int) -> list[Result]:
        """Return what the trivial guesses score on the victims, each under its own name."""
        everybody, vocabulary = torch.arange(len(victims.truth)), self._setup.opened.vocabulary
        if vocabulary is not None:
            return self._text_baselines(victims, not_empty(victims, everybody, vocabulary), vocabulary, tier)
        known = self._known(victims, everybody)
        if known is None:
            return []
        found = []
        for name in BASELINES:
            heading = self._guess_heading(name, tier)
            found += baseline_results(name, known, victims.labels, self._classifier.predict, heading)
        return found

    def _text_baselines(self, victims: Victims, places: Tensor, vocabulary: Vocabulary, tier: int) -> list[Result]:
        known = texts_of(self._known(victims, places), vocabulary)
        if known is None or not len(places):
            return []
        headings = {name: self._guess_heading(name, tier) for name in TOKEN_BASELINES}
        return [result for name, one in headings.items() for result in token_baseline_results(name, known, one)]

    def _guess_heading(self, name: str, tier: int) -> Heading:
        """Return the heading of a trivial guess."""
        return Heading(
            tier=tier,
            cut=self._setup.opened.cut_shapes[tier],
            source=name,
            adaptive=False,
            adversary=None,
            seed=self._setup.opened.prepared.worker.seed,
        )

    def _membership(self, repetitions: Sequence[Repetition], heading: Heading) -> Judged:
        victims = repetitions[0].victims
        _, member = self._setup.candidates(victims)
        guesses = [guess_of(repetition) for repetition in repetitions]
        scored = Scored(
            truth=member,
            records=self._setup.candidate_members(victims),
            scores={"auc": placements(*member_scores(guesses, member))},
        )
        return Judged(results=membership_results(guesses, member, heading), scored=scored)

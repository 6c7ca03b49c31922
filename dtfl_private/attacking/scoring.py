"""Guesses meet the ground truth: which victims all repetitions have in common, by what they are judged, the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dtfl_private.attacking.base import Attack, AttributeInference, MembershipInference, Reconstruction, Tampering
from dtfl_private.attacking.jobs import Job
from dtfl_private.attacking.setup import AttackSetup
from dtfl_private.attacking.victims import Victims
from dtfl_private.leakage.baselines import BASELINES, Known
from dtfl_private.leakage.ceiling import raw_pixel_guess
from dtfl_private.leakage.classifier import Classifier, train_classifier
from dtfl_private.leakage.heading import Heading
from dtfl_private.leakage.image_results import baseline_results, image_results, trivial_guesses
from dtfl_private.leakage.intervals import mean_interval, metric_interval
from dtfl_private.leakage.lpips import require_lpips
from dtfl_private.leakage.membership_results import membership_results
from dtfl_private.leakage.metrics import Metric
from dtfl_private.leakage.result import Result, SettingValue
from dtfl_private.leakage.scores import psnr
from dtfl_private.leakage.value_results import value_results
from dtfl_private.leakage.visibility import loss_ratio, weight_jump
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.protocol.messages import Seen

# Auxiliary images on which the local loss is compared.
PROBE = 256


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """One repetition of an attack: what was played, what a malicious server sent, and the guess.

    ``guess`` is None if every client refused, so that there was nothing to attack.
    """

    victims: Victims
    tampering: Tampering | None
    guess: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """Reconstructions for pictures, all (N, C, H, W) in [0, 1]: truth, one guess per seed, the trivial guess.

    ``scores`` are (seeds, N) by metric.
    """

    truth: Tensor
    guesses: Sequence[Tensor]
    baseline: Tensor
    baseline_name: str
    scores: Mapping[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one attack reached at one tier; ``pictured`` of reconstructions only."""

    job: Job
    results: Sequence[Result]
    pictured: Pictured | None = None


class Judge:
    """Judges guesses by the ground truth, which attacks never see.

    Args:
        setup: of the run and its data.
        lpips: judge images by LPIPS too.

    Raises:
        InputError: LPIPS is asked for and its weights are not there.
    """

    def __init__(self, setup: AttackSetup, *, lpips: bool = False) -> None:
        if lpips:
            require_lpips()
        self._setup = setup
        self._lpips = lpips

    @cached_property
    def _classifier(self) -> Classifier:
        """A classifier that neither the clients nor the attack trained."""
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
        visible = [] if repetitions[0].tampering is None else self._visibility(repetitions, heading)
        guessed = [repetition for repetition in repetitions if repetition.guess is not None]
        if not guessed:
            return Verdict(job=job, results=visible)
        attack = job.chosen.attack
        if isinstance(attack, Reconstruction):
            results, pictured = self._images(guessed, heading)
            return Verdict(job=job, results=[*results, *visible], pictured=pictured)
        if isinstance(attack, MembershipInference):
            return Verdict(job=job, results=[*self._membership(guessed, heading), *visible])
        return Verdict(job=job, results=[*self._values(attack, guessed, heading), *visible])

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

    def _known(self, truth: Tensor, labels: Tensor) -> Known | None:
        auxiliary = self._setup.split.auxiliary
        if auxiliary is None:
            return None
        return Known(images=auxiliary.images, labels=auxiliary.labels, victim_labels=labels, truth=truth)

    def _images(self, repetitions: Sequence[Repetition], heading: Heading) -> tuple[list[Result], Pictured]:
        common, guesses = _common(repetitions)
        victims = repetitions[0].victims
        truth, labels = victims.truth[common], victims.labels[common]
        known = self._known(truth, _sent_labels(victims)[common])
        judged = image_results(guesses, known, truth, labels, self._classifier.predict, heading, with_lpips=self._lpips)
        trivial = trivial_guesses(known, truth)
        best = max(trivial, key=lambda name: float(psnr(trivial[name], truth).mean()))
        pictured = Pictured(
            truth=truth, guesses=guesses, baseline=trivial[best], baseline_name=best, scores=judged.scores
        )
        return list(judged.results), pictured

    def baselines(self, victims: Victims, tier: int) -> list[Result]:
        """Return what the trivial guesses score on the victims, each under its own name."""
        known = self._known(victims.truth, _sent_labels(victims))
        if known is None:
            return []
        found = []
        for name in BASELINES:
            heading = Heading(
                tier=tier,
                cut=self._setup.opened.cut_shapes[tier],
                source=name,
                adaptive=False,
                adversary=None,
                seed=self._setup.opened.prepared.worker.seed,
            )
            found += baseline_results(name, known, victims.labels, self._classifier.predict, heading)
        return found

    def _membership(self, repetitions: Sequence[Repetition], heading: Heading) -> list[Result]:
        _, member = self._setup.candidates(repetitions[0].victims)
        return membership_results([_guess(repetition) for repetition in repetitions], member, heading)

    def _values(self, attack: Attack, repetitions: Sequence[Repetition], heading: Heading) -> list[Result]:
        common, guesses = _common(repetitions)
        victims = repetitions[0].victims
        images, labels = victims.truth[common], victims.labels[common]
        auxiliary = self._setup.split.judging
        if isinstance(attack, AttributeInference):
            truth = attack.values(images, labels, auxiliary)
            known = attack.values(auxiliary.images, auxiliary.labels, auxiliary)
            trivial = {
                "majority": known.mode().values.expand(len(truth)),
                "label-prior": majority_by_label(known, auxiliary.labels, labels),
            }
            ceiling = {"raw-pixels": self._raw_pixels(attack, images, labels, known)}
            return value_results(guesses, truth, trivial, ceiling, heading)
        sent = _sent_labels(victims)[common]
        trivial = {"sent-label": sent, "majority": auxiliary.labels.mode().values.expand(len(labels))}
        return value_results(guesses, labels, trivial, {}, heading)

    def _raw_pixels(self, attack: AttributeInference, images: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        auxiliary, worker = self._setup.split.judging, self._setup.opened.prepared.worker
        checked = attack.values(auxiliary.validation_images, auxiliary.validation_labels, auxiliary)
        return raw_pixel_guess(
            images,
            labels,
            train=(auxiliary.images, auxiliary.labels, known),
            validation=(auxiliary.validation_images, auxiliary.validation_labels, checked),
            classes=worker.classes,
            seed=worker.seed,
            device=self._setup.numerics.device,
        )

    def _visibility(self, repetitions: Sequence[Repetition], heading: Heading) -> list[Result]:
        """Return how visible a malicious server's doing is to the clients.

        Shares of them whose guards spoke up; how far weights and a probe set's local loss are from the honest ones.
        """
        refused = np.array([[record.refused for record in one.victims.recordings] for one in repetitions], dtype=float)
        remarked = np.array(
            [[bool(record.remarks) for record in one.victims.recordings] for one in repetitions], dtype=float
        )
        sizes = {"n": refused.shape[1], "seeds": len(refused)}
        jumps, ratios = zip(*(self._departure(one.victims.recordings[0].seen) for one in repetitions), strict=True)
        # All clients are sent the same.
        figures = {
            "weight-jump": np.repeat(np.array(jumps)[:, None], refused.shape[1], axis=1),
            "probe-loss-ratio": np.repeat(np.array(ratios)[:, None], refused.shape[1], axis=1),
        }
        found = {
            name: metric_interval(Metric(name=name, label=name, share=True), share_SK, heading.draws(name))
            for name, share_SK in (("refused", refused), ("remarked", remarked))
        }
        found |= {name: mean_interval(figure_SK, heading.draws(name)) for name, figure_SK in figures.items()}
        return [heading.result(name, interval, **sizes) for name, interval in found.items()]

    def _departure(self, sent: Seen) -> tuple[float, float]:
        """Return the weights' jump, and the ratio of the local losses on auxiliary images, against the honest ones."""
        honest = Seen(download=self._setup.honest(sent.download.tier), batches=(), update=None)
        probe = self._setup.split.judging
        losses = []
        for seen in (honest, sent):
            program = self._setup.program(seen, True, 0)
            images, labels = (part.to(program.device) for part in (probe.validation_images, probe.validation_labels))
            losses.append(program.local_loss(program.parameters(), images[:PROBE], labels[:PROBE]).detach())
        return weight_jump(honest.download.weights, sent.download.weights), loss_ratio(losses[0], losses[1])


def majority_by_label(values: Tensor, labels: Tensor, of: Tensor) -> Tensor:
    """Return for each label in ``of`` (N,) the commonest value among auxiliary records of that label."""
    guess = values.mode().values.expand(len(of)).clone()
    for label in set(of.tolist()):
        if (labels == label).any():
            guess[of == label] = values[labels == label].mode().values
    return guess


def _sent_labels(victims: Victims) -> Tensor:
    """Return the victims' labels (N,) as they were sent: what an adversary knows of them."""
    return torch.cat([batch.labels.cpu() for seen in victims.seen for batch in seen.batches])


def _common(repetitions: Sequence[Repetition]) -> tuple[Tensor, list[Tensor]]:
    """Return the places of the victims that all repetitions share, in the first one, and the guesses of just these."""
    shared = set.intersection(*(set(repetition.victims.records.tolist()) for repetition in repetitions))
    places, guesses = [], []
    for repetition in repetitions:
        where = {record: place for place, record in enumerate(repetition.victims.records.tolist()) if record in shared}
        places.append(torch.tensor([where[record] for record in sorted(shared)]))
        guesses.append(_guess(repetition)[places[-1]])
    return places[0], guesses


def _guess(repetition: Repetition) -> Tensor:
    assert repetition.guess is not None
    return repetition.guess

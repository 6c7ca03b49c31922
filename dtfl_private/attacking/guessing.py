"""The loop of attacks: for each job, for each seed, a guess; then the ground truth judges them.

job, seed -> victims' rounds -> view -> guess, cached on disk -> verdict
"""

from collections.abc import Collection

import torch
from torch import Tensor

from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.attack_plan import AttackPlan
from dtfl_private.attacking.base import (
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    TokenReconstruction,
)
from dtfl_private.attacking.cache_keys import guess_key
from dtfl_private.attacking.crashes import crashes_named
from dtfl_private.attacking.result_cache import code_of
from dtfl_private.attacking.scoring.repetitions import Repetition
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.attacking.view import View
from dtfl_private.errors import InputError, RunError
from dtfl_private.leakage.results.result import Result
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import threads


def judged_guesses(plan: AttackPlan, listener: Callback, told: Collection[str] = frozenset()) -> list[Verdict]:
    """Let every attack guess at its tier, once for each seed, and judge the guesses.

    Args:
        plan: the attacks.
        listener: hears how they proceed.
        told: labels of repetitions of which the listener has heard: other processes guessed them.
    """
    verdicts = []
    for job in plan.jobs:
        repetitions = []
        for seed in plan.seeds:
            quiet = job.label(seed) in told
            repetitions.append(guess(plan, job, seed, Callback() if quiet else listener))
        settings = {**job.chosen.settings, "aux": plan.config.aux, "as_scheduled": plan.config.as_scheduled}
        if plan.config.clients is not None:
            settings["clients"] = ",".join(map(str, plan.config.clients))
        if job.chosen.aggregate:
            settings["summed_clients"] = repetitions[0].victims.summed
        verdicts.append(plan.judge.verdict(job, repetitions, settings))
    return verdicts


def guess(plan: AttackPlan, job: Job, seed: int, listener: Callback) -> Repetition:
    """Let an attack guess once; a guess that is cached is read."""
    attack, label = job.chosen.attack, job.label(seed)
    listener.job_started(label)
    with crashes_named(f"attack {label}"), isolated(seed, *stream_of(job)), threads(plan.threads):
        tampering = attack.tamper(plan.view(job, seed, None, listener)) if attack.tampers else None
        played = plan.rounds.of(job, tampering)
        plan.setup.index_sets(played.victims)
        key = guess_key(job, seed, played)
        found = plan.cache.find(key)
        cached = found is not None
        if found is None and played.victims.seen:  # some client took part
            made = checked_guess(job, plan.view(job, seed, played, listener))
            found = plan.cache.store(key, {"guess": made})
    listener.job_finished(label, cached=cached)
    return Repetition(victims=played.victims, tampering=tampering, guess=None if found is None else found["guess"])


def is_waiting(plan: AttackPlan, job: Job, seed: int) -> bool:
    """Whether a guess can be cached and is not; of an attack that tampers yes, as playing its rounds may take long."""
    if code_of(job.chosen.attack) is None:
        return False
    if job.chosen.attack.tampers:
        return True
    with isolated(seed, *stream_of(job)), threads(plan.threads):
        played = plan.rounds.of(job, None)
        key = guess_key(job, seed, played)
    return bool(played.victims.seen) and not plan.cache.has(key)


def stream_of(job: Job) -> tuple[str, str, int]:
    """Return the name of an attack's random stream."""
    return "attack", job.chosen.text, job.tier


def checked_guess(job: Job, view: View) -> Tensor:
    """Let an attack guess, and check that it is a guess at all: it may be the user's own.

    Raises:
        RunError: it is not.
    """
    attack_, name = job.chosen.attack, job.chosen.name
    if isinstance(attack_, Reconstruction):
        guessed, shape = attack_.reconstruct(view), (view.victims, *view.input_shape)
    elif isinstance(attack_, TokenReconstruction):
        guessed, shape = attack_.tokens(view), (view.victims, *view.input_shape)
        _require_tokens(guessed, view.vocabulary, name)
    elif isinstance(attack_, MembershipInference):
        guessed, shape = attack_.scores(view), (len(view.candidates.labels),)
    elif isinstance(attack_, AttributeInference | LabelInference):
        guessed, shape = attack_.infer(view), (view.victims,)
    else:
        raise InputError(f"attack '{name}' has no goal: derive it from Reconstruction or another class of its kind")
    if guessed.shape != shape or not torch.isfinite(guessed.float()).all():
        raise RunError(f"attack '{name}' returned {tuple(guessed.shape)}, expected finite values {tuple(shape)}")
    return guessed


def _require_tokens(guessed: Tensor, vocabulary: Vocabulary, name: str) -> None:
    """Check that guessed sequences are numbers of tokens, or the padding.

    Raises:
        RunError: they are not.
    """
    if guessed.dtype != torch.int64:
        raise RunError(f"attack '{name}' returned tokens of type {guessed.dtype}, expected torch.int64")
    if guessed.numel() and not 0 <= int(guessed.min()) <= int(guessed.max()) < vocabulary.numbers:
        least, most = int(guessed.min()), int(guessed.max())
        raise RunError(f"attack '{name}' returned tokens {least}..{most}, expected 0..{vocabulary.numbers - 1}")


def baselines(plan: AttackPlan) -> list[Result]:
    """Return what the trivial guesses score on the victims of reconstructions, tier by tier."""
    if not any(isinstance(job.chosen.attack, Reconstruction | TokenReconstruction) for job in plan.jobs):
        return []
    whole = plan.opened.whole_tier
    victims = {
        tier: victims for (tier, kind), victims in plan.rounds.untampered.items() if kind == "batches" or tier == whole
    }
    return [result for tier in sorted(victims) for result in plan.judge.baselines(victims[tier], tier)]

"""The sanity check on random numbers: of smashed data that hold nothing, attacks must read no more than a guess.

Otherwise something but the smashed data has told them the truth, and their successes prove nothing.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.attack_plan import AttackPlan
from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.cache_keys import guess_key
from dtfl_private.attacking.crashes import crashes_named
from dtfl_private.attacking.guessing import checked_guess, stream_of
from dtfl_private.attacking.scoring.repetitions import Repetition
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.shallowest_check import at_md1
from dtfl_private.leakage.results.result import Result
from dtfl_private.models.padding import kept, real_places
from dtfl_private.protocol.messages import Seen, SmashedBatch
from dtfl_private.randomness import isolated, torch_stream
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import threads
from dtfl_private.runtime.progress import for_purpose
from dtfl_private.verdicts.findings import SanityCheck
from dtfl_private.verdicts.verdict import beats_guess

METRIC = "token-accuracy"
PURPOSE = "sanity check on random numbers"


def check_random(plan: AuditPlan, attacks: Mapping[str, Attack], progress: Callback) -> SanityCheck:
    """Return whether attacks read no more from random numbers than a guess does, surely (`beats_guess`).

    In place of what clients sent at md1 of the last round, undefended, come normal numbers of its mean and deviation.
    Which places are filled up stays as it is: that is known.

    Args:
        plan: of the audit.
        attacks: that read texts back, as users write them; see `sanity_attacks`.
        progress: hears of one job for each of them.
    """
    attack_plan, progress = at_md1(plan, attacks), for_purpose(progress, PURPOSE)
    progress.jobs_announced(attack_plan.labels)
    reached = [result for job in attack_plan.jobs for result in _reached(attack_plan, job, progress)]
    worst = max(reached, key=lambda result: (beats_guess(result), result.value))
    assert worst.baseline is not None  # texts have trivial guesses, whatever the adversary knows
    return SanityCheck(
        name="random",
        attack=worst.source,
        metric=METRIC,
        value=worst.value,
        needed=worst.baseline,
        passed=not any(map(beats_guess, reached)),
    )


def _reached(plan: AttackPlan, job: Job, progress: Callback) -> list[Result]:
    """Return what an attack reaches."""
    label = job.label(0)
    progress.job_started(label)
    with crashes_named(f"attack {label}"), isolated(0, *stream_of(job)), threads(plan.threads):
        played = plan.rounds.of(job, None)
        key = guess_key(job, 0, played)
        what = None if key is None else {**key, "check": "random"}
        found = plan.cache.find(what)
        cached = found is not None
        if found is None:
            view = plan.view(job, 0, played, progress)
            # What is cached goes under a name of its own: nothing that was made of the real data is found.
            found = plan.cache.store(
                what, {"guess": checked_guess(job, view.derived("random", _emptied(played.victims.seen)))}
            )
    progress.job_finished(label, cached=cached)
    repetition = Repetition(victims=played.victims, tampering=None, guess=found["guess"])
    verdict = plan.judge.verdict(job, [repetition], job.chosen.settings)
    return [result for result in verdict.results if result.metric == METRIC]


def _emptied(rounds: list[Seen]) -> list[Seen]:
    """Return clients' rounds with random numbers in place of their activations."""
    return [replace(seen, batches=tuple(map(_random_batch, seen.batches))) for seen in rounds]


def _random_batch(batch: SmashedBatch) -> SmashedBatch:
    chance = torch_stream(0, "random smashed data", batch.client, batch.batch)
    drawn = torch.randn(batch.smashed.shape, generator=chance).to(batch.smashed)
    real = real_places(batch.smashed)
    there = batch.smashed[real]
    return replace(batch, smashed=kept(drawn * _deviation(there) + there.mean(), real))


def _deviation(values: Tensor) -> Tensor:
    """Return the standard deviation of values; 1 of too few to have any."""
    return values.std() if values.numel() > 1 else torch.ones(())

"""Convergence: an attack that gets more with twice the effort has not shown how much leaks, only that so much does.

The strongest reconstruction at the deepest tier is mounted there once more: where most is hidden, effort counts most.
It gets more if the mean SSIM rises, or the mean PSNR of images that are not exact yet: near 1, SSIM hardly moves. Of
texts, if the mean token accuracy rises.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.base import Attack, name_of
from dtfl_private.attacking.chosen_attack import Chosen, make_attack
from dtfl_private.attacking.effort import EFFORTS, Effort
from dtfl_private.attacking.guessing import guess
from dtfl_private.attacking.parallel import GuessTask, guess_tasks
from dtfl_private.attacking.runner import AttackReport
from dtfl_private.attacking.scoring.rebuilt import Rebuilt
from dtfl_private.attacking.scoring.repetitions import in_best_order
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.errors import InputError
from dtfl_private.plugins.specification import with_settings
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import for_purpose
from dtfl_private.verdicts.findings import Convergence, NotTested, PsnrRise

# By how much the mean SSIM, or token accuracy, may rise with twice the effort.
MARGIN = 0.02
# By how much the mean PSNR may rise, in dB, and from which one on images are exact for every purpose.
PSNR_MARGIN, PSNR_EXACT = 1.0, 40.0

PURPOSE = "twice the effort"
WHAT = "convergence of the attacks"


def check_convergence(plan: AuditPlan, report: AttackReport, progress: Callback) -> Convergence | NotTested:
    """Mount one attack once more with twice the effort, and return whether it gets more; or why none was mounted.

    Args:
        plan: of the audit.
        report: of the attacks on the run, which tells what they reached with the audit's effort.
        progress: hears of one job.
    """
    judged = strongest_at_the_deepest(report.verdicts)
    if judged is None:
        return NotTested(what=WHAT, why="no reconstruction was judged, so none was repeated with twice the effort")
    attack, tier = judged.job.chosen.attack, judged.job.tier
    try:
        attack_plan = _with_twice_the_effort(plan, judged)
    except InputError as error:
        return NotTested(what=WHAT, why=f"{name_of(attack)} cannot take twice the effort: {error}")
    rebuilt = _rebuilt(judged)
    first = _first_repetition(rebuilt)
    again = _attack_again(attack_plan, rebuilt, progress)
    metric, rise = rebuilt.METRIC, None
    if "psnr" in first:
        rise = PsnrRise(value=first["psnr"], doubled=again["psnr"], margin=PSNR_MARGIN, exact=PSNR_EXACT)
    return Convergence(
        tier=tier,
        attack=name_of(attack),
        metric="ssim" if metric == "ssim" else "token-accuracy",
        value=first[metric],
        doubled=again[metric],
        margin=MARGIN,
        converged=again[metric] <= first[metric] + MARGIN and (rise is None or rise.converged),
        remedy=_remedy(attack, plan.attack_config.effort),
        psnr=rise,
    )


def convergence_tasks(plan: AuditPlan, report: AttackReport) -> list[GuessTask]:
    """Return what the check will guess, for a process that does it ahead; nothing if that is cached or cannot be."""
    judged = strongest_at_the_deepest(report.verdicts)
    if judged is None or text_of_doubled(judged.job.chosen) is None:
        return []
    try:
        return guess_tasks(_with_twice_the_effort(plan, judged), PURPOSE)
    except InputError:  # of which the check itself tells
        return []


def strongest_at_the_deepest(verdicts: Sequence[Verdict]) -> Verdict | None:
    """Return the reconstruction with the highest mean SSIM, or token accuracy, at the deepest tier that has any.

    Attacks that send other weights or tiers do not count: they attack what they have planted.
    """
    honest = [one for one in verdicts if one.rebuilt is not None and not one.job.chosen.attack.tampers]
    return max(honest, key=lambda one: (one.job.tier, float(_rebuilt(one).reached.mean())), default=None)


def _rebuilt(verdict: Verdict) -> Rebuilt:
    assert verdict.rebuilt is not None
    return verdict.rebuilt


def _first_repetition(rebuilt: Rebuilt) -> Mapping[str, float]:
    """Return the mean scores of the first repetition, which has the seed of the repeated attack."""
    return _means(rebuilt, rebuilt.guesses[0], rebuilt.truth)


def _means(rebuilt: Rebuilt, guess: Tensor, truth: Tensor) -> Mapping[str, float]:
    """Return the mean scores of a guess, as that of what was rebuilt."""
    return {name: float(scores_N.mean()) for name, scores_N in rebuilt.score(guess, truth).items()}


def _with_twice_the_effort(plan: AuditPlan, judged: Verdict) -> AttackPlan:
    """Return the plan of an attack with twice the effort: by name where all attacks are, so that processes find it."""
    # An effort of its own is kept by the normal effort alone; see `make_attack`.
    changes: dict[str, Any] = {"tiers": (judged.job.tier,), "seeds": 1, "effort": "normal"}
    text = text_of_doubled(judged.job.chosen) if plan.attacks is None else None
    if text is not None:
        changes["attacks"] = (text,)
    attacks = [judged.job.chosen.attack.doubled()] if text is None else None
    config = plan.attack_config.model_copy(update=changes)
    return plan_attack(plan.opened, config, attacks, plan.folder / "convergence")


def text_of_doubled(chosen: Chosen) -> str | None:
    """Return how a user would write an attack with twice the effort; None if a function of the user's own makes it."""
    doubled = chosen.attack.doubled()
    changed = {name: getattr(doubled, name) for name in ("effort", *chosen.attack.own_steps)}
    text = with_settings("attack", chosen.text, changed)
    try:
        return text if make_attack(text)[0] == doubled else None
    except InputError:
        return None


def _attack_again(attack_plan: AttackPlan, rebuilt: Rebuilt, progress: Callback) -> Mapping[str, float]:
    """Return the mean scores that the only attack of a plan reaches."""
    (job,) = attack_plan.jobs
    progress = for_purpose(progress, PURPOSE)
    progress.jobs_announced(attack_plan.labels)
    repetition = guess(attack_plan, job, 0, progress)
    if job.tier == attack_plan.opened.whole_tier:
        repetition = in_best_order(repetition)  # as the guess that it is compared with
    assert repetition.guess is not None  # so had the same victims before
    return _means(rebuilt, repetition.guess, repetition.victims.truth)


def _remedy(attack: Attack, effort: Effort) -> str:
    """Return how a user asks for more effort than an attack had; ``effort`` is that of the audit."""
    more = [name for name, value in EFFORTS.items() if value > attack.effort]
    if more and attack.effort == EFFORTS[effort] and not attack.own_steps:
        return f"--effort {' or '.join(more)}"
    settings = [f"{name}={2 * steps}" for name, steps in attack.own_steps.items()] or [f"effort={2 * attack.effort:g}"]
    return f"{name_of(attack)} at {', '.join(settings)} or more"

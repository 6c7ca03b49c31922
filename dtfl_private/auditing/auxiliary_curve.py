"""Leakage against the attacker's data: what one attack gets with few auxiliary images, with more, with all of them.

The strongest reconstruction that learns from auxiliary images is mounted at the deepest tier that has any, where such
images count most: once for each number of images, on the same victims. Fewer images are a part of more.
"""

from collections.abc import Sequence

from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.base import name_of
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.runner import AttackReport
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.convergence_check import strongest_at_the_deepest
from dtfl_private.leakage.results.result import Result
from dtfl_private.runtime.progress import Progress
from dtfl_private.verdicts.auxiliary_point import SIZES, AuxiliaryPoint
from dtfl_private.verdicts.findings import NotTested

METRICS = ("ssim", "psnr", "identifiability")
WHAT = "leakage against the adversary's data"


def curve_sizes(plan: AuditPlan) -> list[int]:
    """Return numbers of images to train on, ascending; empty where the audit is to draw no curve or cannot."""
    most = plan.attack_plan.auxiliary_images
    smaller = [size for size in SIZES if size < most]
    return [*smaller, most] if smaller and plan.config.aux_curve == "on" else []


def auxiliary_curve(plan: AuditPlan, report: AttackReport, progress: Progress) -> Sequence[AuxiliaryPoint] | NotTested:
    """Mount one attack with different numbers of auxiliary images, and return what it gets; or why that is not known.

    Args:
        plan: of the audit.
        report: of the attacks on the run, which tells which of them is the strongest.
        progress: hears of one job for each number of images.
    """
    sizes = curve_sizes(plan)
    if not sizes:
        return NotTested(what=WHAT, why=_why_not(plan))
    learning = [one for one in report.verdicts if "auxiliary-data" in one.job.chosen.attack.facts.needs]
    strongest = strongest_at_the_deepest(learning)
    if strongest is None:
        return NotTested(what=WHAT, why="no reconstruction that learns from auxiliary images was judged")
    attack, tier = name_of(strongest.job.chosen.attack), strongest.job.tier
    progress.note(f"{attack} at tier {tier} with {', '.join(f'{size:,}' for size in sizes)} auxiliary images")
    plans = [_with_images(plan, strongest, size) for size in sizes]
    progress.jobs_announced([label for one in plans for label in one.labels])
    return [
        AuxiliaryPoint(images=size, result=result)
        for size, one in zip(sizes, plans, strict=True)
        for result in _reached(one, progress)
    ]


def _why_not(plan: AuditPlan) -> str:
    if plan.config.aux_curve != "on":
        return "not asked for (--aux-curve on): an adversary with fewer images gets less, one with more perhaps more"
    if not plan.attack_plan.auxiliary_images:
        return f"the adversary has no images of its own (--aux {plan.config.aux})"
    return f"the adversary has {plan.attack_plan.auxiliary_images} images to train on: more than {SIZES[0]} are needed"


def _with_images(plan: AuditPlan, strongest: Verdict, size: int) -> AttackPlan:
    """Return the plan of one repetition of an attack with so many images to train on, and a fifth as many to tune by.

    In the folder of the audit's attacks: with all images it finds its own guess there.
    """
    every = size == plan.attack_plan.auxiliary_images
    chosen = strongest.job.chosen
    changes = {
        "attacks": (chosen.text,) if plan.attacks is None else plan.attack_config.attacks,
        "tiers": (strongest.job.tier,),
        "seeds": 1,
        "aux_images": plan.attack_config.aux_images if every else size + size // 5,
    }
    config = plan.attack_config.model_copy(update=changes)
    attacks = None if plan.attacks is None else [chosen.attack]
    return plan_attack(plan.opened, config, attacks, plan.folder / "attacks")


def _reached(attack_plan: AttackPlan, progress: Progress) -> list[Result]:
    """Return what the only attack of a plan reaches, by the metrics of the curve."""
    (verdict,) = judged_guesses(attack_plan, progress)
    return [result for result in verdict.results if result.metric in METRICS]

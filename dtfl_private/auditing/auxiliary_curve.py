"""Leakage against the attacker's data: what one attack gets with few auxiliary images, with more, with all of them.

The strongest reconstruction that learns from auxiliary images is mounted at the deepest tier that has any, where such
images count most: once for each number of images, on the same victims. Fewer images are a part of more.
"""

from collections.abc import Mapping, Sequence

from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.parallel import GuessTask, guess_tasks
from dtfl_private.attacking.runner import AttackReport
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.convergence_check import strongest_at_the_deepest
from dtfl_private.leakage.results.result import Result
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import for_purpose
from dtfl_private.verdicts.auxiliary_point import SIZES, AuxiliaryPoint
from dtfl_private.verdicts.findings import NotTested

METRICS = ("ssim", "psnr", "token-accuracy", "identifiability")
WHAT = "leakage against the adversary's data"


def curve_sizes(plan: AuditPlan) -> list[int]:
    """Return numbers of images to train on, ascending; empty where the audit is to draw no curve or cannot."""
    most = plan.attack_plan.auxiliary_images
    smaller = [size for size in SIZES if size < most]
    return [*smaller, most] if smaller and plan.config.aux_curve == "on" else []


def auxiliary_curve(plan: AuditPlan, report: AttackReport, progress: Callback) -> Sequence[AuxiliaryPoint] | NotTested:
    """Mount one attack with different numbers of auxiliary images, and return what it gets; or why that is not known.

    Args:
        plan: of the audit.
        report: of the attacks on the run, which tells which of them is the strongest.
        progress: hears of one job for each number of images.
    """
    if not curve_sizes(plan):
        return NotTested(what=WHAT, why=_why_not(plan))
    plans = _plans(plan, report)
    if not plans:
        return NotTested(what=WHAT, why="no reconstruction that learns from auxiliary images was judged")
    heard = {size: for_purpose(progress, _purpose(size)) for size in plans}
    for size, one in plans.items():
        heard[size].jobs_announced(one.labels)
    return [
        AuxiliaryPoint(images=size, result=result)
        for size, one in plans.items()
        for result in _reached(one, heard[size])
    ]


def curve_tasks(plan: AuditPlan, report: AttackReport) -> list[GuessTask]:
    """Return what the curve needs and is not cached yet, for processes that guess it ahead."""
    return [task for size, one in _plans(plan, report).items() for task in guess_tasks(one, _purpose(size))]


def _plans(plan: AuditPlan, report: AttackReport) -> Mapping[int, AttackPlan]:
    """Return the attack's plan for each number of images; none where no reconstruction that learns was judged."""
    learning = [one for one in report.verdicts if "auxiliary-data" in one.job.chosen.attack.facts.needs]
    strongest = strongest_at_the_deepest(learning)
    return {} if strongest is None else {size: _with_images(plan, strongest, size) for size in curve_sizes(plan)}


def _purpose(size: int) -> str:
    return f"{size:,} auxiliary images"


def _why_not(plan: AuditPlan) -> str:
    noun, count = "texts" if plan.of_texts else "images", plan.attack_plan.auxiliary_images
    if plan.config.aux_curve != "on":
        return f"not asked for (--aux-curve on): an adversary with fewer {noun} gets less, one with more perhaps more"
    if not count:
        return f"the adversary has no {noun} of its own (--aux {plan.config.aux})"
    return f"the adversary has {count} {noun} to train on: more than {SIZES[0]} are needed"


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


def _reached(attack_plan: AttackPlan, progress: Callback) -> list[Result]:
    """Return what the only attack of a plan reaches, by the metrics of the curve."""
    (verdict,) = judged_guesses(attack_plan, progress)
    return [result for result in verdict.results if result.metric in METRICS]

"""What an audit did not test, and why: each in a line of the report."""

from collections.abc import Iterator, Sequence

from dtfl_private.attacking.attack_jobs import LeftOut
from dtfl_private.auditing.audit_config import OF_TEXTS, QUICK, THOROUGH
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.auditing.measuring import Measured
from dtfl_private.auditing.tier_defenses import others_not_tested
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.verdicts.findings import NotTested

# What no preset tests.
NEVER = NotTested(what="other adversaries", why="an attack that failed here does not show that a better one would")


def not_tested(
    plan: AuditPlan,
    trainings: Sequence[AttackedTraining],
    measured: Measured,
    steps: Sequence[object],
) -> list[NotTested]:
    """Return all that was left out.

    Args:
        plan: of the audit.
        trainings: that were attacked.
        measured: with the measures that could not be given.
        steps: what further steps found, or why they were left out.
    """
    return [
        *_left_out(plan.attack_plan.left_out),
        *measured.not_given,
        *_attacks(plan),
        *(step for step in steps if isinstance(step, NotTested)),
        *_sanity(plan),
        *_tiers(plan),
        *_trainings(len(trainings)),
        *_of_the_run(plan, trainings[0]),
        *others_not_tested(plan.opened),
        _earlier_rounds(plan),
        NEVER,
    ]


def _earlier_rounds(plan: AuditPlan) -> NotTested:
    attacked = f"attacks are on what was recorded of round {plan.attack_plan.rounds.number}"
    if not plan.config.recorded:
        attacked = "attacks replay the last round"
    return NotTested(
        what="other rounds" if plan.config.recorded else "earlier rounds",
        why=f"{attacked}; weights of {'others' if plan.config.recorded else 'earlier rounds'} leak more or less than "
        "its weights do",
    )


def _left_out(left_out: Sequence[LeftOut]) -> list[NotTested]:
    """Return the attacks that cannot run, with their tiers together where the reason is the same."""
    tiers: dict[tuple[str, str], list[int]] = {}
    for one in left_out:
        tiers.setdefault((one.attack, one.why), []).extend([] if one.tier is None else [one.tier])
    return [
        NotTested(what=f"{name} at tier {', '.join(map(str, where))}" if where else name, why=why)
        for (name, why), where in tiers.items()
    ]


def _attacks(plan: AuditPlan) -> Iterator[NotTested]:
    if plan.of_texts:
        yield NotTested(what="labels of texts", why="no preset has the attacks on these; --attack mounts single ones")
    presets = [*OF_TEXTS.values()] if plan.of_texts else [QUICK, THOROUGH]
    names = dict.fromkeys(text.partition(":")[0] for texts in presets for text in texts)
    known = {job.chosen.name for job in plan.jobs} | {one.attack for one in plan.attack_plan.left_out}
    if missing := ", ".join(name for name in names if name not in known):
        yield NotTested(what=missing, why="not asked for: --preset thorough has them all, --attack single ones")
    if plan.attacks is None and plan.attack_config.effort == "quick":
        why = "trainings and searches take a tenth of the normal steps here; longer ones (--effort) get more"
        yield NotTested(what="longer attacks", why=why)


def _tiers(plan: AuditPlan) -> Iterator[NotTested]:
    tried = {*plan.tiers, *(one.tier for one in plan.attack_plan.left_out)}
    if others := [tier for tier in plan.opened.tiers if tier not in tried]:
        yield NotTested(what=f"tiers {', '.join(map(str, others))}", why="not asked for (--tier)")
    if (whole := plan.opened.whole_tier) in plan.tiers:
        why = "they look at smashed data, and who keeps the whole network sends weights alone"
        yield NotTested(what=f"measures at tier {whole}", why=why)


def _sanity(plan: AuditPlan) -> Iterator[NotTested]:
    if not plan.knows_weights:
        yield NotTested(
            what="the sanity check at md1",
            why=f"clients of {plan.opened.method_name} are never sent their weights: nobody knows what an attack "
            "without them must reach at the shallowest cut, so that a failure here proves less than elsewhere",
        )


def _trainings(count: int) -> Iterator[NotTested]:
    if count == 1:
        yield NotTested(what="other trainings", why="one training was attacked: intervals do not cover its chance")
        return
    why = f"results of {count} trainings are their mean, and intervals contain those of each; measures, "
    why += "as scheduled, clients and accuracy are of the run itself"
    yield NotTested(what="measures of other trainings", why=why)


def _of_the_run(plan: AuditPlan, training: AttackedTraining) -> Iterator[NotTested]:
    if plan.opened.prepared.statistics:
        why = "each client's pixel count, sum and sum of squares per channel were sent; no attack here uses them"
        yield NotTested(what="statistics of the images", why=why)
    if plan.defended and training.undefended is None:
        why = "--undefended none: there is nothing to compare the defenses with"
        yield NotTested(what="the run without defenses", why=why)

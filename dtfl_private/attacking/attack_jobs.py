"""What is to be attacked, by whom and how: checked as a whole before anything is computed."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dtfl_private.attacking.assumed import in_force, needs_of_sum, ruled_out
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import Attack, name_of
from dtfl_private.attacking.chosen_attack import Chosen, choose_adversary, make_attack
from dtfl_private.attacking.effort import EFFORTS
from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.attacking.ladder import ladder_of, rungs_for
from dtfl_private.attacking.refusals import NoneCanRunError, once_only
from dtfl_private.attacking.tiers import target_at, tiers_to_attack
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.errors import InputError
from dtfl_private.protocol.adversaries import WITH_DATA, require_shown
from dtfl_private.protocol.assumptions import taken_away

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One attack at one tier, to be repeated for each seed."""

    chosen: Chosen
    tier: int

    def label(self, seed: int) -> str:
        """Return what a progress display calls a repetition of it."""
        where = f", tier {self.tier}" if self.chosen.attack.facts.per_tier else ""
        return f"{self.chosen.name}{where}, seed {seed}"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An attack that cannot run at a tier (None: nowhere), and why."""

    attack: str
    tier: int | None
    why: str


def plan_jobs(
    opened: OpenedRun,
    config: AttackConfig,
    knowledge: Knowledge,
    attacks: Sequence[Attack] | None,
    recorded: Sequence[int],
    *,
    sent_again: Callable[[int], bool],
    profile_at: Callable[[int], str],
) -> tuple[list[Job], list[LeftOut]]:
    """Return the attacks at their tiers, tier by tier, and those that were left out if that is allowed.

    Args:
        opened: the run.
        config: what to attack and how.
        knowledge: the adversary's.
        attacks: as objects; None for those that the configuration names.
        recorded: tiers of the recorded clients that are attacked; empty if the last round is played again.
        sent_again: whether there are several releases of the records of a tier's victims.
        profile_at: the resource profile of a tier's victims.

    Raises:
        InputError: an unknown attack, adversary or tier, or an attack that cannot run here and may not be left out.
    """
    chosen, left_out, rungs = _choose(opened, config, knowledge, attacks)
    jobs: list[Job] = []
    for tier in tiers_to_attack(opened, config, recorded):
        target = target_at(opened, tier, profile=profile_at(tier))
        for one in chosen:
            if not one.attack.facts.per_tier and any(job.chosen is one for job in jobs):
                continue
            try:
                one.attack.check(target)
                if one.aggregate and not target.whole:
                    raise ruled_out(one.name)
                if one.attack.facts.looks_back and not sent_again(tier):
                    raise once_only(one.name, tier)
            except InputError as error:
                left_out.append(
                    _left_out(config, one.name, tier, error, rungs, spared=_is_spared(opened, config, tier))
                )
            else:
                jobs.append(Job(chosen=one, tier=tier))
    for job in jobs:
        log.debug("planned attack %s at tier %d by %s", job.chosen.name, job.tier, job.chosen.adversary.name)
    for out in left_out:
        log.debug("left out attack %s%s: %s", out.attack, "" if out.tier is None else f" at tier {out.tier}", out.why)
    if not jobs:
        raise NoneCanRunError(f"none of the attacks can run on '{opened.folder.path}': {left_out[0].why}")
    return jobs, left_out


def _choose(
    opened: OpenedRun, config: AttackConfig, knowledge: Knowledge, attacks: Sequence[Attack] | None
) -> tuple[list[Chosen], list[LeftOut], list[str]]:
    """Return the attacks with who mounts them, those that nobody can mount, and which are the ladder's."""
    hidden, taken = opened.prepared.method.hides, taken_away(in_force(opened, config))
    chosen: list[Chosen] = []
    left_out: list[LeftOut] = []
    items: Sequence[Attack | str] = attacks or config.attacks or default_attacks(opened, knowledge)
    made = [make_attack(item, EFFORTS[config.effort]) for item in items]
    rungs = _rungs_of(opened, config, [attack for attack, _ in made])
    for attack, text in [*made, *(make_attack(rung, EFFORTS[config.effort]) for rung in rungs)]:
        try:
            require_shown(attack.facts.needs, hidden, name_of(attack), opened.method_name)
            needs = attack.facts.needs
            if needs & taken:
                needs = needs_of_sum(opened, attack, taken)
            adversary = choose_adversary(attack, config.adversary, knowledge.kind, hidden | taken, needs)
        except InputError as error:
            left_out.append(_left_out(config, name_of(attack), None, error, rungs))
        else:
            aggregate = needs != attack.facts.needs
            chosen.append(Chosen(attack=attack, text=text, adversary=adversary, aggregate=aggregate))
    return chosen, left_out, rungs


def default_attacks(opened: OpenedRun, knowledge: Knowledge) -> tuple[str, ...]:
    """Return the attacks for those who name none: the strongest by what the training method shows.

    On texts two: a lookup is exact at tier 1, where places have not met, and a trained network reads behind attention,
    if there are texts to train it on.
    """
    if opened.vocabulary is not None:
        return ("token-lookup", "token-inverter") if knowledge.kind in WITH_DATA else ("token-lookup",)
    if not opened.prepared.method.cuts:
        return ("update-inversion",)
    return ("surrogate",) if "client-weights" in opened.prepared.method.hides else ("hybrid",)


def _rungs_of(opened: OpenedRun, config: AttackConfig, attacks: Sequence[Attack]) -> list[str]:
    """Return the names of the ladder's attacks that these are set against; none if that is not asked for."""
    if config.against is None:
        return []
    ladder = ladder_of(opened.prepared.method, whole=opened.whole_tier in opened.tiers)
    return rungs_for(attacks, {name_of(attack) for attack in attacks}, ladder)


def _is_spared(opened: OpenedRun, config: AttackConfig, tier: int) -> bool:
    """Whether a tier need not be attacked: that of whole networks, if it was not named and others are there."""
    return tier == opened.whole_tier and bool(opened.cut_tiers) and not isinstance(config.tiers, tuple)


def _left_out(
    config: AttackConfig,
    attack: str,
    tier: int | None,
    why: InputError,
    rungs: Sequence[str],
    *,
    spared: bool = False,
) -> LeftOut:
    if not (config.where_applicable or spared) and attack not in rungs:
        raise why
    return LeftOut(attack=attack, tier=tier, why=str(why))

"""What is to be attacked, by whom and how: checked as a whole before anything is computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from dtfl_private.attacking.adversary_data import Knowledge
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import Attack, Target, name_of
from dtfl_private.attacking.replay import OpenedRun
from dtfl_private.attacking.view import once_only
from dtfl_private.errors import InputError
from dtfl_private.leakage.result import SettingValue
from dtfl_private.plugins.registry import create, explicit, named_object
from dtfl_private.protection.chain import DefenseChain
from dtfl_private.protocol.contracts import tier_names
from dtfl_private.protocol.threat import ADVERSARIES, Adversary, AuxiliaryKind, find_adversary, require


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """An attack as it will be mounted: the object, how a user would write it, and who attacks."""

    attack: Attack
    text: str
    adversary: Adversary

    @property
    def name(self) -> str:
        """Its name as users write it."""
        return name_of(self.attack)

    @property
    def settings(self) -> dict[str, SettingValue]:
        """Its settings, by name; of an object passed from Python those that can be written down."""
        simple = {name: value for name, value in vars(self.attack).items() if name != "adaptive"}
        return {name: value for name, value in simple.items() if isinstance(value, bool | int | float | str | None)}


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
) -> tuple[list[Job], list[LeftOut]]:
    """Return the attacks at their tiers, tier by tier, and those that were left out if that is allowed.

    Args:
        opened: the run.
        config: what to attack and how.
        knowledge: the adversary's.
        attacks: as objects; None for those that the configuration names.
        recorded: tiers of the recorded clients that are attacked; empty if the last round is played again.
        sent_again: whether there are several releases of the records of a tier's victims.

    Raises:
        InputError: an unknown attack, adversary or tier, or an attack that cannot run here and may not be left out.
    """
    chosen: list[Chosen] = []
    left_out: list[LeftOut] = []
    for item in attacks or config.attacks:
        one = _make(item)
        try:
            chosen.append(_chosen(*one, config.adversary, knowledge.kind))
        except InputError as error:
            _leave_out(config, left_out, LeftOut(attack=name_of(one[0]), tier=None, why=str(error)))
    jobs: list[Job] = []
    for tier in tiers_to_attack(opened, config, recorded):
        target = target_at(opened, tier)
        for attack in chosen:
            if not attack.attack.facts.per_tier and any(job.chosen is attack for job in jobs):
                continue
            try:
                attack.attack.check(target)
                if attack.attack.facts.looks_back and not sent_again(tier):
                    raise once_only(attack.name, tier)
            except InputError as error:
                _leave_out(config, left_out, LeftOut(attack=attack.name, tier=tier, why=str(error)))
            else:
                jobs.append(Job(chosen=attack, tier=tier))
    if not jobs:
        raise InputError(f"none of the attacks can run on '{opened.folder.path}': {left_out[0].why}")
    return jobs, left_out


def _leave_out(config: AttackConfig, left_out: list[LeftOut], one: LeftOut) -> None:
    if not config.where_applicable:
        raise InputError(one.why)
    left_out.append(one)


def _make(item: Attack | str) -> tuple[Attack, str]:
    """Return an attack, and how a user would write it."""
    if isinstance(item, str):
        allowed = named_object("attack", item)  # attacks are named by the user, never by a file
        attack, text = create("attack", item, allowed=allowed), explicit("attack", item, allowed=allowed)
    else:
        attack, text = item, f"object:{item!r}"
    if not isinstance(attack, Attack):
        raise InputError(f"attack '{text}' is a {type(attack).__name__}, expected an Attack")
    _validate(attack)
    return attack, text


def _chosen(attack: Attack, text: str, adversary: str | None, knows: AuxiliaryKind) -> Chosen:
    needs = attack.facts.needs
    if adversary is not None:
        named = find_adversary(adversary)
        require(needs, named, knows, name_of(attack))
        return Chosen(attack=attack, text=text, adversary=named)
    # The weakest that can: those who see less are better evidence.
    able = [other for other in ADVERSARIES.values() if needs <= other.knowing(knows)]
    if not able:
        require(needs, ADVERSARIES["server-malicious"], knows, name_of(attack))
    return Chosen(attack=attack, text=text, adversary=min(able, key=lambda other: len(other.has)))


def _validate(attack: Attack) -> None:
    """Check an object's settings as those from the command line are."""
    try:
        TypeAdapter(type(attack)).validate_python({**vars(attack)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"attack '{name_of(attack)}': {where}={first['input']} is refused: {first['msg']}") from None


def tiers_to_attack(opened: OpenedRun, config: AttackConfig, recorded: Sequence[int] = ()) -> list[int]:
    """Return the tiers, ascending: those asked for, or those in use in the last (or the recorded) round.

    Raises:
        InputError: the run has no such tier, or nobody was in it.
    """
    taken = set(recorded or opened.plan.tiers_P.tolist())
    if not taken:
        raise InputError(f"nobody took part in the last round of '{opened.folder.path}': there is nothing to attack")
    used, there = sorted(taken & set(opened.tiers)), opened.tiers
    bound = config.as_scheduled or bool(recorded)
    if not used and (bound or config.tiers is None):
        raise InputError(
            f"in the last round of '{opened.folder.path}' all clients kept the whole network and sent weights alone: "
            f"attack what they would send in other tiers, by --tier {tier_names(there)} or --tier all"
        )
    if config.tiers is None:
        return used
    if config.tiers == "all":
        return used if bound else there
    network = sorted(opened.cut_shapes)  # also tiers that the run leaves out: clients can be placed there all the same
    for tier in config.tiers:
        if tier == opened.whole_tier:
            raise InputError(
                f"clients in tier {tier} keep the whole network, and no attack here is made for the weight update of "
                f"one: attack tier {tier_names(there)}"
            )
        if tier not in network:
            raise InputError(
                f"tier {tier} does not exist in this network: its tiers are {', '.join(map(str, network))}"
            )
        if bound and tier not in used:
            remedy = "use --replay, which places clients there" if recorded else "leave --as-scheduled out"
            raise InputError(
                f"nobody was in tier {tier} in the {'recorded' if recorded else 'last'} round: {remedy}, or attack "
                f"tier {' or '.join(map(str, used))}"
            )
    return sorted(set(config.tiers))


def target_at(opened: OpenedRun, tier: int, *, defended: bool = True) -> Target:
    """Return what an attack may know of a tier before it runs; ``defended`` false as if there were no defenses."""
    worker = opened.prepared.worker
    return Target(
        tier=tier,
        input_shape=tuple(worker.train_images.shape[1:]),
        cut_shape=opened.cut_shapes[tier],
        classes=worker.classes,
        defense=worker.defense if defended else DefenseChain(),
    )

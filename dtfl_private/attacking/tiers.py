"""Which tiers are attacked, and what an attack may know of one before it runs."""

from collections.abc import Sequence

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import Target
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.errors import InputError


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
    if config.tiers is None:
        return used
    if config.tiers == "all":
        return used if bound else there
    for tier in config.tiers:
        _require_tier(opened, tier)
        if bound and tier not in used:
            remedy = "use --replay, which places clients there" if recorded else "leave --as-scheduled out"
            raise InputError(
                f"nobody was in tier {tier} in the {'recorded' if recorded else 'last'} round: {remedy}, or attack "
                f"tier {' or '.join(map(str, used))}"
            )
    return sorted(set(config.tiers))


def _require_tier(opened: OpenedRun, tier: int) -> None:
    """Raise `InputError` if the network has no such tier; those that the run leaves out are fine."""
    network = sorted(opened.cut_shapes)
    if tier not in network and not opened.cut_tiers:
        raise InputError(
            f"clients of this run train the whole network, which is tier {opened.whole_tier}, and send nothing at tier "
            f"{tier}: leave --tier out"
        )
    if tier not in network and not opened.prepared.method.tiered and len(network) == 1:
        raise InputError(
            f"{opened.method_name} cuts the network of this run at tier {network[0]} for all clients, and no server "
            f"can name another: leave --tier {tier} out"
        )
    if tier not in network:
        raise InputError(f"tier {tier} does not exist in this network: its tiers are {', '.join(map(str, network))}")


def target_at(opened: OpenedRun, tier: int, *, profile: str = "", defended: bool = True) -> Target:
    """Return what an attack may know of a tier before it runs.

    Args:
        opened: the run.
        tier: client modules m.
        profile: of the victims' clients; it matters where defenses have rules.
        defended: false as if there were no defenses.
    """
    worker = opened.prepared.worker
    return Target(
        tier=tier,
        input_shape=tuple(worker.train_images.shape[1:]),
        cut_shape=opened.cut_shapes[tier],
        classes=worker.classes,
        defense=worker.defense.at(tier, profile) if defended else worker.defense.undefended,
        whole=tier == opened.whole_tier,
        optimizer=worker.optimizer.name,
        labelled="labels" not in opened.prepared.method.hides,
    )

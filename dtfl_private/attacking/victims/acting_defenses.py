"""Which defenses act at the clients that are attacked, where a run's defenses have rules.

Clients of one tier may differ by their profiles in what protects them. Then those are attacked at whom the fewest
defenses act: what holds for them is what a tier's verdict may say.
"""

from collections import Counter
from collections.abc import Mapping

from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.protection.base import name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload
from dtfl_private.simulation.clients.conditions import advance, initial_state


def differ_in_a_tier(opened: OpenedRun) -> bool:
    """Whether clients of one tier may differ in what acts: by their profiles."""
    return opened.prepared.worker.defense.by_profile


def profile_in(opened: OpenedRun, client: int, number: int) -> str:
    """Return the resource profile of a client in a round, from 1; it follows from the run's settings alone.

    Rounds that a malicious server has played after the last one are played as that one was.
    """
    environment = opened.prepared.settings.schedule.environment
    state = initial_state(environment)
    for round_number in range(1, min(number, opened.plan.round) + 1):
        state = advance(state, environment, round_number)
    return environment.profiles[int(state.profile_K[client])].name


def defense_of(opened: OpenedRun, download: ModelDownload) -> DefenseChain:
    """Return what acts at a client in the round and tier that a message opens."""
    defense = opened.prepared.worker.defense
    if not differ_in_a_tier(opened):
        return defense.at(download.tier)
    return defense.at(download.tier, profile_in(opened, download.client, download.round))


def least_defended(opened: OpenedRun, tier: int, profiles: Mapping[int, str]) -> set[int]:
    """Return the clients at whom the fewest defenses act in a tier, all of them the same; of equals, the most clients.

    Args:
        opened: the run.
        tier: where they are placed.
        profiles: resource profile of each client that there is to choose from.
    """
    defense = opened.prepared.worker.defense
    acting = {client: tuple(defense.at(tier, profile).places) for client, profile in profiles.items()}
    if not acting:
        return set()
    counts = Counter(acting.values())
    fewest = min(counts, key=lambda places: (len(places), -counts[places], places))
    return {client for client, places in acting.items() if places == fewest}


def acting_line(opened: OpenedRun, tier: int, download: ModelDownload) -> str | None:
    """Return what acts at the attacked clients of a tier, in words; None where the defenses have no rules."""
    if not opened.prepared.worker.defense.ruled:
        return None
    names = ", ".join(name_of(member) for member in defense_of(opened, download))
    of_profile = ""
    if differ_in_a_tier(opened):
        of_profile = f" of profile {profile_in(opened, download.client, download.round)}"
    if not names:
        return f"tier {tier}{of_profile}: not defended at this tier"
    return f"tier {tier}{of_profile}: {names}"

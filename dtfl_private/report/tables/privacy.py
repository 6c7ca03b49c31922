"""What is said of privacy at the start and at the end of a run: only what is true."""

from collections.abc import Collection, Iterable, Mapping

from dtfl_private.models.norms import Norm
from dtfl_private.privacy.budget import planned_ledgers
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.privacy.round_releases import PrivacySettings
from dtfl_private.protection.base import name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.guarantees import Disclosure, GaussianRelease, SampledGaussian


def opening_lines(privacy: PrivacySettings, rounds: int) -> list[str]:
    """Return what each defense guarantees, and what will have been disclosed after all rounds."""
    lines = [f"defense {name_of(member)}: guarantee: {member.facts.guarantee}" for member in privacy.defense]
    planned = planned_ledgers(privacy, rounds)
    entries = disclosures(
        privacy.defense, planned, sends=privacy.sends, full_tier=privacy.full_tier, statistics=privacy.statistics
    )
    lines += [f"privacy: {sentence}" for sentence in sentences(entries)]
    if any(planned.values()):
        last = ", or as many as its budget allows" if _has_budget(planned) else ""
        part = f"all {rounds} rounds" if rounds > 1 else "the one round"
        lines.append(f"these privacy figures are for a client that takes part in {part}{last}")
    if _has_budget(planned):
        end = "takes no further part" if privacy.on_budget == "retire" else "ends the run"
        lines.append(f"a client whose privacy budget is spent {end} (on_budget = {privacy.on_budget})")
    return lines


def sentences(entries: Iterable[Disclosure]) -> list[str]:
    """Return the sentences of disclosures, each once."""
    return list(dict.fromkeys(entry["sentence"] for entry in entries))


def norm_line(asked: Norm, found: Collection[Norm], defense: DefenseChain) -> str:
    """Return which normalisation a network has, and why.

    Args:
        asked: that the configuration asks for.
        found: that the network has, see `norms_of`: one without a choice of its own keeps what it was built with.
        defense: of every client.
    """
    needing = [name_of(member) for member in defense if member.facts.group_norm]
    needed = f"group norm is needed by {', '.join(needing)}" if needing else "no defense needs group norm"
    if not found:
        return f"norm: the network has neither batch norm nor group norm: --norm changes nothing in it ({needed})"
    have = " and ".join(f"{norm} norm" for norm in sorted(found))
    if asked not in found:
        return f"norm: {have}, as the network is built: --norm changes nothing in it ({needed})"
    return f"norm: {have} ({needed})"


def _has_budget(ledgers: Mapping[int, Ledger]) -> bool:
    return any(
        isinstance(entry, SampledGaussian | GaussianRelease) and entry.target.epsilon is not None
        for ledger in ledgers.values()
        for entry in ledger
    )

"""What is said of privacy at the start and at the end of a run: only what is true."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dtfl_private.models.norms import Norm
from dtfl_private.privacy.budget import planned_ledgers
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.privacy.round_releases import PrivacySettings
from dtfl_private.protection.base import Defense, name_of
from dtfl_private.protection.conditional import Conditional
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.defense_rule import Case
from dtfl_private.protection.where_words import where_words
from dtfl_private.protocol.guarantees import Disclosure, GaussianRelease, NoisyInputs, SampledGaussian

CHANGING = (
    "a client that changes tier or profile adds up what it releases in each; once it has sent data where a defense "
    "does not act, it has no guarantee by that defense for the whole run"
)

MEETING = (
    "a client that changes tier adds up what it releases in each; where places of a text have met, a token counts as "
    "the whole text"
)


def opening_lines(privacy: PrivacySettings, rounds: int) -> list[str]:
    """Return what each defense guarantees, and what will have been disclosed after all rounds."""
    lines = [f"defense {name_of(member)}: guarantee: {_guarantee(member)}" for member in privacy.defense]
    planned: dict[int, Ledger] = {}
    said: dict[str, list[Case]] = {}
    for cases, variant in privacy.defense.variants():
        one = replace(privacy, defense=variant)
        ledgers = planned_ledgers(one, rounds)
        entries = disclosures(
            variant,
            ledgers,
            sends=one.sends,
            full_tier=one.full_tier,
            statistics=one.statistics,
            assumed=one.assumed,
            next_tokens=one.next_tokens,
        )
        for sentence in sentences(entries):
            said.setdefault(sentence, []).extend(cases)
        planned |= {len(planned) + place: ledger for place, ledger in enumerate(ledgers.values())}
    lines += [f"privacy{_where(cases, privacy.defense)}: {sentence}" for sentence, cases in said.items()]
    if any(planned.values()):
        if privacy.defense.ruled:
            lines.append(CHANGING)
        elif privacy.defense.by_tier:
            lines.append(MEETING)
        last = ", or as many as its budget allows" if _has_budget(planned) else ""
        part = f"all {rounds} rounds" if rounds > 1 else "the one round"
        lines.append(f"these privacy figures are for a client that takes part in {part}{last}")
    if _has_budget(planned):
        end = "takes no further part" if privacy.on_budget == "retire" else "ends the run"
        lines.append(f"a client whose privacy budget is spent {end} (on_budget = {privacy.on_budget})")
    return lines


def _guarantee(member: Defense) -> str:
    guarantee = member.facts.guarantee
    return f"{guarantee}, where it acts" if isinstance(member, Conditional) and guarantee != "none" else guarantee


def _where(cases: Sequence[Case], defense: DefenseChain) -> str:
    """Return in words to which clients a sentence applies; nothing where it is all of them."""
    return "" if len(cases) == len(defense.cases) else f" of clients {where_words(cases, defense.cases)}"


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
        isinstance(entry, SampledGaussian | GaussianRelease | NoisyInputs) and entry.target.epsilon is not None
        for ledger in ledgers.values()
        for entry in ledger
    )

"""What is said of privacy at the start and at the end of a run: only what is true."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from dtfl_private.defense import Defense, DefenseChain, DefenseFacts, name_of
from dtfl_private.federated.budget import BudgetSettings, planned_ledgers
from dtfl_private.guarantees import GaussianRelease, SampledGaussian
from dtfl_private.privacy.disclosure import Disclosure, disclosures
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.report.tables import plain_table


def opening_lines(budget: BudgetSettings, rounds: int) -> list[str]:
    """Return what each defense guarantees, and what will have been disclosed after all rounds."""
    lines = [f"defense {name_of(member)}: guarantee: {member.facts.guarantee}" for member in budget.defense]
    planned = planned_ledgers(budget, rounds)
    lines += [f"privacy: {sentence}" for sentence in sentences(disclosures(budget.defense, planned))]
    if any(planned.values()):
        last = ", or as many as its budget allows" if _has_budget(planned) else ""
        lines.append(f"these privacy figures are for a client that takes part in all {rounds} rounds{last}")
    if _has_budget(planned):
        end = "takes no further part" if budget.on_budget == "retire" else "ends the run"
        lines.append(f"a client whose privacy budget is spent {end} (on_budget = {budget.on_budget})")
    return lines


def sentences(entries: Iterable[Disclosure]) -> list[str]:
    """Return the sentences of disclosures, each once."""
    return list(dict.fromkeys(entry["sentence"] for entry in entries))


def group_norm_line(defense: DefenseChain) -> str | None:
    """Return why the network has group norm, if that is for a defense's sake."""
    needing = [name_of(member) for member in defense if member.facts.group_norm]
    return f"norm: group norm, for {', '.join(needing)}" if needing else None


def _has_budget(ledgers: Mapping[int, Ledger]) -> bool:
    return any(
        isinstance(entry, SampledGaussian | GaussianRelease) and entry.target.epsilon is not None
        for ledger in ledgers.values()
        for entry in ledger
    )


def defenses_table(rows: Sequence[tuple[str, str, str, Any]]) -> Table:
    """Return the table of ``list defenses`` from (name, settings, summary, factory) of each."""
    table = plain_table("defenses", "name", "", "", right=False)
    table.columns[0].no_wrap = True
    for name, settings, summary, factory in rows:
        facts: DefenseFacts = getattr(factory, "facts", Defense.facts)
        table.add_row(name, "what it is", summary)
        for title, text in _lines(settings, facts):
            table.add_row("", title, text)
        table.add_section()
    table.caption = "give several by repeating --defense: they act in that order"
    table.caption_justify = "left"
    return table


def _lines(settings: str, facts: DefenseFacts) -> list[tuple[str, str]]:
    excludes = [*facts.excludes, *(["batch norm"] if facts.group_norm else [])]
    excludes += ["defenses that mix records in the loss"] if "training" in facts.acts_on else []
    return [
        ("settings", settings or "none"),
        ("protects", facts.protects),
        ("guarantees", facts.guarantee),
        ("costs", facts.cost),
        ("attacker does not know", facts.attacker),
        ("excludes", ", ".join(excludes) or "nothing"),
    ]

"""What stands on top of a report, in words without jargon: what leaks, to whom, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.privacy.disclosure import NOTHING
from dtfl_private.report.words.assumed import assumed_plainly
from dtfl_private.report.words.audit import unused_tiers
from dtfl_private.report.words.claims import Claim, claims, nouns, per_hundred, said_together
from dtfl_private.report.words.names import dataset_name
from dtfl_private.report.words.numbers import listed, number_of
from dtfl_private.report.words.results import figure
from dtfl_private.verdicts.findings import Findings, SanityCheck, TierVerdict
from dtfl_private.verdicts.selected_results import failed_checks, fell_back, from_most_exposed, is_valid

NO_PROOF = "That is no proof that nothing leaks."


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The top of a report.

    Attributes:
        main: what leaks, in a sentence.
        sure: how sure that is, in a sentence.
        also: what else there is to say of what leaks, in sentences.
        whom: who gets it, or who tried; None where nothing can be said.
        protection: which defenses were on, what they changed and cost, in sentences; empty where nothing can be said.
        details: figures behind ``sure``, in sentences.
    """

    main: str
    sure: str
    also: Sequence[str] = ()
    whom: str | None = None
    protection: Sequence[str] = ()
    details: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Party:
    """An adversary in words: from what it learns (``{tier}`` is where clients are), what it is called, who it is."""

    source: str
    name: str
    who: str


PARTIES: Mapping[str, Party] = {
    "server-honest-but-curious": Party(
        source="From what a client{tier} sends",
        name="the server",
        who="The server, which follows the rules and keeps all that it receives.",
    ),
    "server-malicious": Party(
        source="From what a client{tier} sends",
        name="a server that cheats",
        who="A server that cheats: it sends clients whatever helps it to see more.",
    ),
    "server-with-secure-aggregation": Party(
        source="From averages over clients, which are all that it sees",
        name="the server",
        who="The server, although it sees averages over clients only.",
    ),
    "curious-client": Party(
        source="From the model that all clients are sent",
        name="any other client",
        who="Any other client that takes part.",
    ),
    "downlink-observer": Party(
        source="From what the server sends to clients",
        name="any other client",
        who="Any other client that also sees what the server sends to the rest.",
    ),
    "model-recipient": Party(
        source="From the finished model", name="whoever is given it", who="Whoever is given the finished model."
    ),
}
SOMEBODY = Party(
    source="From what it sees", name="an attacker", who="An attacker: see who attacks, and what they know."
)

OF_CHECKS: Mapping[str, str] = {
    "identity": "images that are sent just as they are",
    "md1": "{noun} where next to nothing hides them",
    "update": "the one image behind a change to a small network",
}
"""What an attack must rebuild, by sanity check."""

WITHOUT: Mapping[str, str] = {
    "ssim": "With {it} the rebuilt {noun} have a likeness of {reached} to the originals (1 is equal), "
    "without {it} of {without}.",
    "token-accuracy": "With {it} {reached} of 100 tokens of the {noun} were read back, without {it} {without}.",
    "identifiability": "With {it} {reached} of 100 rebuilt {noun} were matched to their original, without {it} "
    "{without}.",
    "auc": "With {it} it is told in {reached} of 100 cases which of two was trained on, without {it} in {without}.",
    "accuracy": "With {it} the attack is right in {reached} of 100 cases, without {it} in {without}.",
}
"""What defenses changed, by the metric of the strongest attack; figures of others mean little to most people."""


def headline(findings: Findings) -> Headline:
    """Return what stands on top of a report: only what the verdicts say, and never that anything is safe."""
    if not is_valid(findings):
        return _invalid(findings)
    if not findings.verdict:
        main = "Nothing can be said about what leaks: no part of the training was attacked."
        return Headline(main=main, sure="Not at all: see what was not tested.")
    shown = {verdict.tier: claims(findings, verdict) for verdict in findings.verdict}
    ranked = [verdict for verdict in from_most_exposed(findings.verdict) if shown[verdict.tier]]
    if not ranked:
        main, also, whom, first = _nothing(findings), [NO_PROOF], _tried(findings), None
    else:
        worst = shown[ranked[0].tier]
        main, *also = [*_main(findings, worst, shown), *_other_tiers(worst, shown)]
        whom, first = _whom(findings, worst), worst[0]
    return Headline(
        main=main,
        also=[*also, *assumed_plainly(findings)],
        whom=whom,
        sure=_sure(findings),
        protection=_protection(findings, first),
        details=_details(findings, first),
    )


def tier_sentence(findings: Findings, verdict: TierVerdict) -> str:
    """Return what a tier's verdict comes to, in a sentence without jargon."""
    found = claims(findings, verdict)
    if verdict.level == "invalid" or not is_valid(findings):
        return "Nothing can be said: an attack failed where it must succeed."
    if not found:
        return "No attack got more than a guess would, which is no proof that nothing leaks."
    by_party: dict[Party, list[str]] = {}
    for claim in found:
        by_party.setdefault(_party(claim), []).append(claim.says)
    parts = [f"{party.name} {' and '.join(said)}" for party, said in by_party.items()]
    return f"{_capital('; '.join(parts))}."


def tiers_text(tiers: Sequence[int]) -> str:
    """Return "tier 1", "tiers 1 and 2" or, of three or more in a row, "tiers 1 to 3"."""
    ordered = sorted(tiers)
    runs: list[list[int]] = []
    for tier in ordered:
        if runs and tier == runs[-1][-1] + 1:
            runs[-1].append(tier)
        else:
            runs.append([tier])
    named: list[object] = []
    for run in runs:
        named += run if len(run) < 3 else [f"{run[0]} to {run[-1]}"]
    return f"tier{'s' * (len(ordered) > 1)} {listed(named)}"


def _main(findings: Findings, worst: Sequence[Claim], shown: Mapping[int, Sequence[Claim]]) -> list[str]:
    """Return what the most exposed tiers give away: the first claim, and in a sentence more one of the same party."""
    first = worst[0]
    tiers = [tier for tier, found in shown.items() if found and _alike(found[0], first)]
    party = _party(first)
    sentence = f"{party.source.format(tier=_where(findings, tiers))}, {party.name} {first.says}."
    for also in worst[1:]:
        equals = [
            claim
            for tier in tiers
            for claim in shown[tier]
            if (claim.template, _party(claim)) == (also.template, party)
        ]
        if len(equals) == len(tiers):
            return [sentence, f"{_capital(party.name)} also {said_together(equals)}."]
    return [sentence]


def _where(findings: Findings, tiers: Sequence[int]) -> str:
    """Return " of tier 1" or " of any tier"; nothing where there is one tier only."""
    judged, there = {verdict.tier for verdict in findings.verdict}, set(findings.training.tiers)
    if len(there | judged) == 1:
        return ""
    if set(tiers) >= there | judged:
        return " of any tier"
    return f" of {tiers_text(tiers).replace('tiers', 'tier').replace(' and ', ' or ')}"


def _other_tiers(worst: Sequence[Claim], shown: Mapping[int, Sequence[Claim]]) -> list[str]:
    """Return sentences about the other tiers: where something else was got, and where nothing was."""
    first = worst[0]
    others = {tier: found[0] for tier, found in shown.items() if found and not _alike(found[0], first)}
    nothing = [tier for tier, found in shown.items() if not found]
    sentences = []
    if len({(claim.template, _party(claim)) for claim in others.values()}) == 1:
        said = said_together(list(others.values())).replace(" its ", " their ")
        sentences.append(f"In {tiers_text(list(others))} {_party(next(iter(others.values()))).name} {said}.")
    elif others:
        sentences.append(f"{_capital(tiers_text(list(others)))} leak too.")
    if nothing:
        sentences.append(f"In {tiers_text(nothing)} nothing was shown to leak, which is no proof that nothing does.")
    return sentences


def _alike(one: Claim, other: Claim) -> bool:
    return (one.says, _party(one)) == (other.says, _party(other))


def _party(claim: Claim) -> Party:
    if claim.goal == "proof":  # of a measure: it is about what the server is sent
        return PARTIES["server-honest-but-curious"]
    return PARTIES.get(claim.result.adversary or "", SOMEBODY)


def _nothing(findings: Findings) -> str:
    count = _attack_count(findings)
    tried = (
        "The one attack of this audit did not find"
        if count == 1
        else f"None of the {count} attacks of this audit found"
    )
    return f"{tried} out more about clients' {nouns(findings)} than a guess would."


def _whom(findings: Findings, worst: Sequence[Claim]) -> str:
    """Return who gets what was shown, and whether labels are simply sent."""
    who = list(dict.fromkeys(_party(claim).who for claim in worst))
    openly = any(
        entry.what == "labels" and entry.epsilon is None and entry.sentence.startswith((NOTHING, "labels are sent in"))
        for entry in findings.guarantees
    )
    return " ".join([*who, *(["Labels are sent to the server openly."] if openly else [])])


def _tried(findings: Findings) -> str | None:
    """Return as whom attacks were tried that got nothing."""
    names = dict.fromkeys(result.adversary for result in findings.results if result.adversary is not None)
    return " ".join(dict.fromkeys(PARTIES.get(name, SOMEBODY).who for name in names)) or None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _attack_count(findings: Findings) -> int:
    return len({result.source for result in findings.results if result.adversary is not None})


def _sure(findings: Findings) -> str:
    """Return on how many records and by how many attacks was measured, and that it is a lower bound."""
    attacks = _attack_count(findings)
    if not attacks:
        return "Better tests may show more."
    where = " in each tier" if len(findings.verdict) > 1 else ""
    by = f"by {number_of(attacks, 'attack')}"
    return f"Measured on {findings.victims:,} {nouns(findings)}{where} {by}; better attacks may get more."


def _protection(findings: Findings, main: Claim | None) -> list[str]:
    """Return which defenses were on, and what the strongest attack and the accuracy would be without them."""
    training = findings.training
    names = [dataset_name(defense) for defense in training.defense]
    if not names:
        return ["No defense was on."]
    one = len(names) == 1
    said = [f"The defense {names[0]} was on." if one else f"The defenses {listed(names)} were on."]
    it = "it" if one else "them"
    if main is not None and main.result.metric in WITHOUT and main.result.undefended is not None:
        metric, values = main.result.metric, (main.result.value, main.result.undefended)
        reached, without = (figure(one, metric) if metric == "ssim" else per_hundred(min(1.0, one)) for one in values)
        said.append(WITHOUT[metric].format(it=it, noun=nouns(findings), reached=reached, without=without))
    if training.undefended_accuracy is not None:
        right, before = (f"{100 * share:.1f} %" for share in (training.test_accuracy, training.undefended_accuracy))
        said.append(f"The model is right on {right} of the test {nouns(findings)}, without {it} on {before}.")
    return said


def _details(findings: Findings, main: Claim | None) -> list[str]:
    """Return what stands behind the word "sure", and what speaks against it."""
    said = []
    if main is not None and main.result.metric == "identifiability":
        said.append(_told_apart(main, nouns(findings)))
    if main is not None and findings.chance is not None:
        alarms = f"{max(0.1, 100 * findings.chance.false_alarm_rate):.1f}"
        said.append(f"If nothing leaked, at most {alarms} % of such audits would find something.")
    repeated = max((result.seeds for result in findings.results if result.adversary is not None), default=1)
    if repeated > 1:
        said.append(f"Each attack was run up to {repeated} times, with other random numbers.")
    convergence = findings.convergence
    if (convergence is not None and not convergence.converged) or fell_back(findings):
        one = _attack_count(findings) == 1
        said.append(f"{'This attack is' if one else 'Some of these attacks are'} known to be weaker than possible.")
    return [*said, *_never_used(findings)]


def _told_apart(claim: Claim, noun: str) -> str:
    """Return how many rebuilt records lead back to their own, with the interval and the guess, all in percent."""
    result = claim.result
    value, low, high = (per_hundred(min(1.0, figure)) for figure in (result.value, result.ci_low, result.ci_high))
    guess = "" if result.baseline is None else f"; of guesses {per_hundred(result.baseline)} %"
    return (
        f"Of the rebuilt {noun} {value} % ({low} to {high} % with 95 % confidence) were matched to their own original"
        f"{guess}."
    )


def _never_used(findings: Findings) -> list[str]:
    """Return in a sentence in which tiers clients were placed for the audit alone."""
    unused = unused_tiers(findings)
    return (
        [f"No client was in {tiers_text(unused)} in this run; there they were placed for the audit."] if unused else []
    )


def _invalid(findings: Findings) -> Headline:
    failed = [_failure(check, nouns(findings)) for check in failed_checks(findings)]
    return Headline(
        main="This audit cannot be relied on, because an attack failed where it must succeed.",
        also=["It shows neither that something leaks nor that nothing does."],
        sure=" ".join(["Not at all.", *(failed or ["The audit itself says that it is not valid."])]),
    )


def _failure(check: SanityCheck, noun: str) -> str:
    if check.name == "random":
        return "An attack read more than a guess would where there was nothing to read."
    return f"The attacks did not rebuild {OF_CHECKS[check.name].format(noun=noun)}."

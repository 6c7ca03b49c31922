"""What stands on top of a report, over all kinds of results: no jargon, no claim of safety, what the verdicts say."""

import re
from itertools import product

import numpy as np
import pytest
from audit_samples import check, clients, full, invalid, result

from dtfl_private.leakage.results.result import Result
from dtfl_private.protocol.adversaries import ADVERSARIES
from dtfl_private.report.words.claims import ALMOST_PERFECT, claims
from dtfl_private.report.words.headline import PARTIES, headline, tier_sentence, tiers_text
from dtfl_private.verdicts.findings import Findings, Threat
from dtfl_private.verdicts.verdict import beats_guess, chance, proves, strongest, tier_verdicts

JARGON = re.compile(
    r"ssim|psnr|\bdb\b|\bmse\b|lpips|\bauc\b|tpr|fpr|smashed|epsilon|delta|canar|p-value|identifiab|membership|advers"
    r"|auxiliar|baseline|reconstruct|metric|decoder|hybrid|gradient|activation|inversion|honest|curious|md1",
    re.IGNORECASE,
)
SAFETY = re.compile(
    r"\b(safe|safely|secure|private|protected|anonymous|harmless|fine|ok|good|no risk)\b", re.IGNORECASE
)
ALLOWED = (
    "no proof that nothing",
    "If nothing leaked",
    "nothing was shown to leak",
    "Nothing can be said",
    "nor that nothing",
)

SERVER, CHEAT, LAST = "server-honest-but-curious", "server-malicious", "model-recipient"
GOALS = {
    "images": [("hybrid", "ssim"), ("hybrid", "psnr"), ("hybrid", "identifiability")],
    "members": [("membership-matching", "auc"), ("membership-matching", "tpr-at-fpr-0.01")],
    "labels": [("label-inference", "accuracy")],
    "property": [("attribute-inference", "accuracy")],
    "proof": [("empirical-epsilon", "empirical-epsilon")],
}
GUESS = {"ssim": 0.3, "psnr": 12.0, "identifiability": 0.05, "auc": 0.5, "tpr-at-fpr-0.01": 0.01, "accuracy": 0.4}


def reached(tier, goal, force, adversary, rng):
    """Return the results of a goal; ``force`` 0 is a guess's, 1 perfect."""
    found = []
    for source, metric in GOALS[goal]:
        guess, top = GUESS.get(metric, 0.0), {"psnr": 60.0, "empirical-epsilon": 5.0}.get(metric, 1.0)
        value = guess + force * (top - guess)
        half = min(0.02, top - value, value) * rng.random()
        sure = {"p_value": 1e-9, "advantage": value - guess} if force > 0 else {"p_value": 0.6, "advantage": 0.0}
        apart = {"advantage_ci_low": sure["advantage"] - half, "advantage_ci_high": sure["advantage"] + half}
        given = {**sure, **apart, "baseline": guess, "baseline_name": "mean-image", "adversary": adversary}
        if goal == "proof":
            given = {"p_value": 1e-9 if force > 0 else 0.6, "adversary": None, "adaptive": False}
        found.append(result(tier, source, metric, value, half, **given))
    return found


def judged(results, **changes) -> Findings:
    """Return findings whose verdicts are what the program makes of these results."""
    made = [Result.model_validate(one) for one in results]
    names = sorted({one.adversary for one in made if one.adversary})
    threats = [Threat(adversary=name, who=ADVERSARIES[name].who, capabilities=()) for name in names]
    given = {
        "results": made,
        "strongest": strongest(made),
        "verdict": tier_verdicts(made, valid=True),
        "chance": chance(made),
        "threat_model": threats,
        "as_scheduled": [],
        "compared": None,
        "auxiliary_curve": [],
        "convergence": None,
    }
    return full(**{**given, **changes})


def combinations():
    """Yield findings of all goals and strengths, one to three tiers, adversaries and inputs, by chance of a seed."""
    rng = np.random.default_rng(17)
    forces = (0.0, 0.02, 0.3, 0.7, 0.97, 1.0)
    for goal, force, adversary in product(GOALS, forces, (SERVER, CHEAT, LAST)):
        yield judged(reached(1, goal, force, adversary, rng))
    for _ in range(400):
        results = []
        for tier in range(1, int(rng.integers(1, 5))):
            for goal in GOALS:
                if rng.random() < 0.6:
                    results += reached(tier, goal, rng.choice(forces), rng.choice([SERVER, CHEAT, LAST]), rng)
        inputs = rng.choice(["images", "sequences", ""]) or None
        about = {"inputs": inputs}
        yield judged(results, about=about, clients=clients(int(rng.integers(1, 4))))


@pytest.fixture(scope="module")
def made():
    return [(findings, headline(findings)) for findings in combinations()]


def sentences(top) -> list[str]:
    return [top.main, *top.also, top.sure, *top.protection, *top.details, *([] if top.whom is None else [top.whom])]


def named_tiers(text: str) -> set[int]:
    """Return all tiers that a text names, also within "1 to 3"."""
    numbers = {int(number) for number in re.findall(r"\b[1-4]\b", text)}
    for first, last in re.findall(r"\b([1-4]) to ([1-4])\b", text):
        numbers |= set(range(int(first), int(last) + 1))
    return numbers


def test_there_is_no_jargon_and_no_claim_of_safety(made):
    for findings, top in made:
        for said in [*sentences(top), *(tier_sentence(findings, verdict) for verdict in findings.verdict)]:
            assert not JARGON.search(said), said
            assert not SAFETY.search(said), said
            assert said[0].isupper()
            assert said.endswith("."), said
            rest = re.sub("|".join(ALLOWED), "", said)
            assert "nothing" not in rest.lower(), said


def test_what_is_said_agrees_with_the_verdicts(made):
    seen = set()
    for findings, top in made:
        levels = {verdict.tier: verdict.level for verdict in findings.verdict}
        seen |= set(levels.values())
        if not levels:
            assert top.main.startswith("Nothing can be said about what leaks")
            continue
        leaks = [tier for tier, level in levels.items() if level != "not shown to leak"]
        if not leaks:
            assert "than a guess would" in top.main
            assert top.also == ["That is no proof that nothing leaks."]
            continue
        assert "than a guess would." not in top.main
        found = {verdict.tier: claims(findings, verdict) for verdict in findings.verdict}
        assert [tier for tier, own in found.items() if own] == leaks
        worst = "exposed" if "exposed" in levels.values() else "partly exposed"
        named = [tier for tier in leaks if found[tier][0].says in top.main]
        assert worst in {levels[tier] for tier in named}
        if worst == "exposed":
            assert "rebuilds its" in top.main
        unshown = [tier for tier in levels if tier not in leaks]
        assert any("no proof" in said for said in top.also) == bool(unshown)
        # What others than the server get does not come from where a client is.
        everywhere = "of tier" not in top.main or len(levels) == 1
        assert everywhere or named_tiers(" ".join([top.main, *top.also])) >= set(levels)
    assert seen == {"exposed", "partly exposed", "not shown to leak"}


def test_only_what_is_surely_beyond_the_guess_or_decides_is_claimed(made):
    for findings, _ in made:
        for verdict in findings.verdict:
            for claim in claims(findings, verdict):
                sure = beats_guess(claim.result) or proves(claim.result)
                assert sure or claim.result == verdict.decided_by, claim


def test_the_strongest_word_needs_the_lower_end_of_an_interval(made):
    said = 0
    for findings, _ in made:
        for verdict in findings.verdict:
            perfect = [claim for claim in claims(findings, verdict) if "almost perfectly" in claim.says]
            low = [one.ci_low for one in findings.results if one.tier == verdict.tier and one.metric == "ssim"]
            assert not perfect or (verdict.level == "exposed" and max(low) >= ALMOST_PERFECT)
            said += len(perfect)
    assert said > 20
    rng = np.random.default_rng(0)
    (close,) = judged(reached(1, "images", 0.93, SERVER, rng)).verdict
    (near,) = judged(reached(1, "images", 0.99, SERVER, rng)).verdict
    assert "closely" in tier_sentence(judged(reached(1, "images", 0.9, SERVER, rng)), close)
    assert "almost perfectly" in tier_sentence(judged(reached(1, "images", 0.99, SERVER, rng)), near)


def test_every_adversary_has_a_name_without_jargon():
    assert set(PARTIES) == set(ADVERSARIES)
    rng = np.random.default_rng(0)
    said = headline(judged(reached(1, "members", 0.8, LAST, rng))).main
    assert said.startswith("From the finished model, whoever is given it tells, in 90 of 100 cases, which of two")
    assert "a server that cheats" in headline(judged(reached(1, "images", 1.0, CHEAT, rng))).main


def test_less_than_all_is_never_rounded_up_to_all():
    rng = np.random.default_rng(0)
    said = headline(judged(reached(1, "members", 0.998, SERVER, rng))).main
    assert "in 99 of 100 cases" in said


def test_an_invalid_audit_says_first_that_it_cannot_be_relied_on():
    top = headline(invalid())
    assert top.main.startswith("This audit cannot be relied on, because")
    assert top.sure == "Not at all. The attacks did not rebuild images where next to nothing hides them."
    assert top.whom is None
    says_of_itself = headline(full(valid=False))
    assert says_of_itself.sure == "Not at all. The audit itself says that it is not valid."
    both = headline(full(valid=False, sanity=[check("identity", 0.1, 0.9), check("update", 0.1, 0.9)]))
    assert both.sure.count("did not rebuild") == 2
    for verdict in invalid().verdict:
        assert tier_sentence(invalid(), verdict) == "Nothing can be said: an attack failed where it must succeed."


def test_how_sure_it_is_comes_with_figures():
    top = headline(full())
    assert top.sure == "Measured on 256 images in each tier by 3 attacks; better attacks may get more."
    assert top.details[0] == (
        "Of the rebuilt images 95 % (93 to 97 % with 95 % confidence) were matched to their own original; "
        "of guesses 0 %."
    )
    assert top.whom is not None
    assert top.whom.endswith("Labels are sent to the server openly.")
    rising = full(chance={"tests": 60, "level": 5e-5, "false_alarm_rate": 0.003})
    assert "If nothing leaked, at most 0.3 % of such audits would find something." in headline(rising).details


def defended(*defense, metric="ssim", undefended=0.98, accuracy=0.9):
    """Return an audit in which one attack rebuilds something, with defenses and with an undefended comparison."""
    guess = {"baseline": 0.3, "baseline_name": "mean-image", "adversary": SERVER, "p_value": 1e-9}
    apart = {"advantage": 0.4, "advantage_ci_low": 0.38, "advantage_ci_high": 0.42}
    source = {"ssim": "hybrid", "psnr": "hybrid", "auc": "membership-matching"}[metric]
    found = judged([result(1, source, metric, 0.7, 0.02, **guess, **apart, undefended=undefended)])
    changes = {"defense": defense, "test_accuracy": 0.875, "undefended_accuracy": accuracy}
    return found.model_copy(update={"training": found.training.model_copy(update=changes)})


def test_the_top_says_which_defenses_were_on_what_they_changed_and_what_they_cost():
    assert headline(defended("gaussian-noise:sd=2")).protection == [
        "The defense gaussian-noise was on.",
        "With it the rebuilt images have a likeness of 0.700 to the originals (1 is equal), without it of 0.980.",
        "The model is right on 87.5 % of the test images, without it on 90.0 %.",
    ]
    assert headline(defended("gaussian-noise", "patch-shuffle:patch=4", metric="auc", accuracy=None)).protection == [
        "The defenses gaussian-noise and patch-shuffle were on.",
        "With them it is told in 70 of 100 cases which of two was trained on, without them in 98.",
    ]


def test_the_top_says_no_more_of_protection_than_is_known():
    assert headline(defended()).protection == ["No defense was on."]
    assert headline(defended("top-k", undefended=None, accuracy=None)).protection == ["The defense top-k was on."]
    assert headline(defended("top-k", metric="psnr", accuracy=None)).protection == ["The defense top-k was on."]
    assert headline(invalid()).protection == ()


def test_tiers_in_a_row_are_named_together():
    assert [tiers_text(one) for one in ([3], [2, 1], [1, 2, 3], [1, 2, 3, 5, 6])] == [
        "tier 3",
        "tiers 1 and 2",
        "tiers 1 to 3",
        "tiers 1 to 3, 5 and 6",
    ]

from pathlib import Path

from dtfl_private.attacking.runner import AttackReport
from dtfl_private.auditing.attack_trainings import compared_with_undefended, galleries


def report(results=(), *, pictures=(), undefended=None) -> AttackReport:
    return AttackReport(
        results=results, verdicts=(), path=Path("attack.json"), pictures=pictures, remarks=(), undefended=undefended
    )


def test_an_attack_without_a_counterpart_is_compared_with_the_strongest_there(figure):
    counterparts = [figure(1, 0.7), figure(1, 0.9, source="hybrid"), figure(2, 0.6, source="hybrid")]
    own = figure(1, 0.5, undefended=0.7)
    alone = figure(1, 0.4, source="unshuffle")
    elsewhere = figure(3, 0.3)
    guess = figure(1, 0.2, source="mean-image", adversary=None)
    compared = compared_with_undefended(report([own, alone, elsewhere, guess], undefended=report(counterparts)))
    assert [result.undefended for result in compared] == [0.7, 0.9, None, None]


def test_without_a_run_without_defenses_nothing_is_compared(figure):
    results = [figure(1, 0.5), figure(2, 0.4)]
    assert compared_with_undefended(report(results)) == results


def test_pictures_are_found_by_tier(tmp_path):
    pictures = [
        tmp_path / name
        for name in ("tier-12-hybrid.png", "tier-2-two-words.png", "tier-1-decoder.png", "psnr-by-tier.png")
    ]
    for path in pictures:
        path.write_bytes(path.name.encode())
    found = galleries(report(pictures=pictures), [1, 2])
    assert list(found.items()) == [
        ("tier-1-decoder.png", b"tier-1-decoder.png"),
        ("tier-2-two-words.png", b"tier-2-two-words.png"),
    ]

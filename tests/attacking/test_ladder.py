"""Attacks from outside set against our own."""

import pytest
from attack_reports import of
from fast_attacks import Blind, LeastSquares

from dtfl_private.attacking.base import Reconstruction
from dtfl_private.attacking.ladder import LADDER, rungs_for
from dtfl_private.attacks.decoder import Decoder
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create


def test_the_ladder_has_what_is_after_the_same_and_is_not_named_already():
    assert rungs_for([Blind()], set()) == ["decoder", "hybrid", "unshuffle"]
    assert rungs_for([Decoder(), MembershipMatching()], {"decoder", "lira"}) == [
        *("hybrid", "unshuffle"),
        "membership-matching",
    ]


@pytest.mark.parametrize("goal", LADDER)
def test_every_rung_is_an_attack_with_this_goal(goal):
    for name in LADDER[goal]:
        assert name in installed("attack")
        assert isinstance(create("attack", name), goal)


def test_both_attack_the_same_victims_and_it_is_said_who_is_ahead(trained, mount, monkeypatch):
    monkeypatch.setitem(LADDER, Reconstruction, ("optimization", "unshuffle"))
    report = mount(trained(), [Blind()], tiers=[1], against="ladder", effort="quick")
    line, absent = report.remarks[:2]
    mine, theirs = (of(report, "psnr", source) for source in ("blind", "optimization"))
    assert mine.n == theirs.n
    shown = f"PSNR, dB {mine.value:.1f}, optimization {theirs.value:.1f}: {mine.value - theirs.value:+.1f} ("
    assert line.startswith(f"tier 1, blind against the ladder: {shown}")
    assert absent.startswith("not in the ladder here: unshuffle undoes one shuffle")
    assert [one.attack for one in report.left_out] == ["unshuffle"]


def test_without_it_nothing_is_added(trained, mount):
    report = mount(trained(), [LeastSquares()], tiers=[1])
    assert {result.source for result in report.results if result.adversary} == {"least-squares"}
    assert not any("ladder" in remark for remark in report.remarks)

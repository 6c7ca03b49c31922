"""Rules of defenses: how they are written, and where they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.protection.defense_rule import DEEPEST, Case, DefenseRule

PROFILES = st.one_of(
    st.none(),
    st.sampled_from(["phone", "4 CPU, 100 Mbps", "R&D", "0.2 CPU, 30 Mbps", "a=b", "x@y", "Ä-gerät"]),
)


@st.composite
def rules(draw):
    low = draw(st.integers(1, 12))
    high = draw(st.none() | st.integers(low, 14))
    return DefenseRule(low=low, high=high, profile=draw(PROFILES))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("tier=3", DefenseRule(low=3, high=3)),
        ("tier<=2", DefenseRule(high=2)),
        ("tier>=4", DefenseRule(low=4)),
        ("tier=2-4", DefenseRule(low=2, high=4)),
        ("profile=phone", DefenseRule(profile="phone")),
        (" tier <= 2 & profile = 4 CPU, 100 Mbps ", DefenseRule(high=2, profile="4 CPU, 100 Mbps")),
        ("tier>=2&tier<=4", DefenseRule(low=2, high=4)),
        ("profile=R&D&tier=1", DefenseRule(low=1, high=1, profile="R&D")),
    ],
)
def test_what_a_rule_says(text, rule):
    assert DefenseRule.parse(text) == rule


@given(rules())
def test_a_rule_is_read_as_it_is_written(rule):
    assert DefenseRule.parse(str(rule)) == rule


@given(rules(), st.integers(1, 20), st.sampled_from(["phone", "4cpu-100mbps", "rd", "tablet"]))
def test_it_holds_in_its_tiers_at_its_profile(rule, tier, profile):
    names = {None: True, "phone": profile == "phone", "4 CPU, 100 Mbps": profile == "4cpu-100mbps"}
    names |= {"R&D": profile == "rd", "0.2 CPU, 30 Mbps": False, "a=b": False, "x@y": False, "Ä-gerät": False}
    within = tier in range(rule.low, (rule.high or DEEPEST) + 1)
    assert rule.holds(Case(tier=tier, profile=profile)) == (within and names[rule.profile])


@given(rules(), rules())
def test_two_rules_overlap_if_there_is_a_client_at_which_both_hold(first, second):
    profiles = {rule.profile for rule in (first, second) if rule.profile is not None} or {"any"}
    cases = [Case(tier=tier, profile=profile) for tier in range(1, 16) for profile in profiles]
    both = any(first.holds(case) and second.holds(case) for case in cases)
    assert first.overlaps(second) == second.overlaps(first) == both


@pytest.mark.parametrize(
    "text",
    [
        *("", "tier", "tier=", "tier=0", "tier=4-2", "tier<2", "tier!=2", "tier<=2-3", "tier=x", "tier=2,3", "tyer<=2"),
        *("profile", "profile=", "profile<=phone", "profile=...", "tier=1&", "&tier=1", "tier=99999", "tier=1&tier=2"),
        *("profile=a&profile=b", "tier=1 profile=a", "tier=1\nprofile=a", "tier=٣", "@", "tier<=2@tier=3"),
    ],
)
def test_junk_gives_one_line_that_says_what_is_expected(text):
    with pytest.raises(InputError) as error:
        DefenseRule.parse(text)
    message = str(error.value)
    assert "\n" not in message
    assert "rule '" in message
    assert any(part in message for part in ("expected tier=3, tier<=2", "once for each", "from 1", "expected a name"))


@given(st.text(max_size=40))
def test_any_text_is_refused_or_a_rule_that_can_be_written_again(text):
    try:
        rule = DefenseRule.parse(text)
    except InputError:
        return
    assert DefenseRule.parse(str(rule)) == rule


def test_an_unknown_profile_is_refused_with_the_nearest_name():
    rule = DefenseRule(profile="fone")
    with pytest.raises(InputError, match=r"unknown profile in the rule 'profile=fone' .*did you mean 'phone'"):
        rule.require_profile(["phone", "tablet"])
    DefenseRule(profile="4cpu 100mbps").require_profile(["4 CPU, 100 Mbps"])

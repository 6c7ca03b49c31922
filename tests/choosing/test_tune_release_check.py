from dataclasses import dataclass, replace

import torch
from reassuring_defenses import MilitaryGradeVault, QuantumSeal, Rewriting

from dtfl_private.choosing.release_check import inactive_defenses
from dtfl_private.defenses.distance_correlation import DistanceCorrelation
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.identity import Identity
from dtfl_private.defenses.label_rr import LabelRr
from dtfl_private.defenses.update_noise import UpdateNoise
from dtfl_private.protection.base import Defense, name_of
from dtfl_private.protection.conditional import only_where


class OnlyAsDeepAsTwo(Defense):
    """Noise at tier 2 and deeper alone."""

    def protect_batch(self, message, at):
        return message if message.tier < 2 else replace(message, smashed=message.smashed + 1)


class ThinAir(Rewriting):
    """Add noise that no number of single precision shows."""

    def rewritten(self, smashed, at):
        return smashed * (1 + 1e-12 * torch.randn(smashed.shape, generator=at.chance).double()).to(smashed.dtype)


@dataclass(frozen=True, kw_only=True)
class Drawing(Rewriting):
    """Draw from its stream, and send the activations as they are."""

    def rewritten(self, smashed, at):
        torch.rand(3, generator=at.chance)
        return smashed


def test_defenses_that_change_nothing_are_noticed_whatever_their_names_are(opened):
    nothing = [MilitaryGradeVault(), Identity(), ThinAir(), Drawing()]
    assert inactive_defenses(opened(rounds=1, defenses=nothing)) == list(map(name_of, nothing))


def test_defenses_that_change_anything_of_what_is_sent_count(opened):
    """Each is compared with nothing in its place, between the others."""
    something = [
        GaussianNoise(sd=0.001),
        QuantumSeal(),
        LabelRr(epsilon=0.5),
        UpdateNoise(sd=0.01),
        DistanceCorrelation(alpha=0.1),
        OnlyAsDeepAsTwo(),
    ]
    assert inactive_defenses(opened(rounds=1, defenses=something)) == []


def test_of_several_defenses_those_are_named_that_change_nothing(opened):
    run = opened(rounds=1, defenses=[MilitaryGradeVault(), GaussianNoise(sd=0.1), Identity()])
    assert inactive_defenses(run) == ["military-grade-vault", "identity"]
    assert inactive_defenses(opened(rounds=1)) == []


def test_a_defense_with_a_rule_counts_where_it_acts_and_is_named_without_the_rule(opened):
    assert inactive_defenses(opened(rounds=1, defenses=[only_where("tier>=2", GaussianNoise(sd=0.1))])) == []
    assert inactive_defenses(opened(rounds=1, defenses=[only_where("tier<=2", MilitaryGradeVault())])) == [
        "military-grade-vault"
    ]


def test_a_defense_with_strengths_of_its_own_in_several_tiers_counts_if_it_acts_in_one(opened):
    noise, none = only_where("tier<=1", GaussianNoise(sd=0.1)), only_where("tier>=2", GaussianNoise(sd=1e-12))
    assert (
        inactive_defenses(opened(rounds=1, defenses=[noise, none]))
        == inactive_defenses(opened(rounds=1, defenses=[none, noise]))
        == []
    )
    vaults = [only_where(rule, MilitaryGradeVault()) for rule in ("tier<=1", "tier>=2")]
    assert inactive_defenses(opened(rounds=1, defenses=vaults)) == ["military-grade-vault"]


def test_a_defense_for_devices_of_one_kind_counts_wherever_such_a_device_may_be(opened):
    names = [profile.name for profile in opened(rounds=1).prepared.settings.schedule.environment.profiles]
    for name in (names[0], names[-1]):
        assert (
            inactive_defenses(opened(rounds=1, defenses=[only_where(f"profile={name}", GaussianNoise(sd=0.1))])) == []
        )
    vault = [only_where(f"profile={names[-1]}", MilitaryGradeVault())]
    assert inactive_defenses(opened(rounds=1, defenses=vault)) == ["military-grade-vault"]

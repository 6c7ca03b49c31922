"""Guesses meet the ground truth."""

from attack_reports import of
from recall import Remembers


def test_membership_is_judged_by_who_was_trained_on(trained, mount, patterns):
    report = mount(trained(), [Remembers(images=patterns.train_images)], tiers=[1, 2], victims=24)
    assert of(report, "auc", "remembers").value == 1.0
    assert of(report, "auc", "remembers").adversary in ("curious-client", "model-recipient")

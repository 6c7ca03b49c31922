import pytest
from attack_reports import of
from malicious_servers import Doubled, Downgrade

from dtfl_private.plugins.registry import create


def test_clients_that_refuse_leave_nothing_to_reconstruct(trained, mount):
    floor = [create("defense", "tier-floor:2")]
    report = mount(trained(defenses=floor), [Downgrade()], tiers=[3], defenses=floor)
    assert of(report, "refused", "downgrade").value == 1
    assert [r for r in report.results if r.metric == "psnr" and r.source == "downgrade"] == []


def test_a_client_could_see_other_weights_but_not_that_only_the_tier_is_another(trained, mount):
    report = mount(trained(), [Downgrade(), Doubled()], tiers=[3])
    assert of(report, "weight-jump", "downgrade").value == 0
    assert of(report, "probe-loss-ratio", "downgrade").value == 1
    assert of(report, "weight-jump", "doubled").value == pytest.approx(1)  # |2w - w| / |w|
    assert of(report, "probe-loss-ratio", "doubled").value != 1
    assert of(report, "remarked", "doubled").value == 0  # no guard is there

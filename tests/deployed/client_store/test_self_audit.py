import pytest

from dtfl_private.data.digits import load_digits
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.deployed.client_store.self_audit import self_audit
from dtfl_private.experiments.config.train_config import make_config


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Audit a client of 64 digits, without a defense and behind noise that hides everything."""
    config = make_config({"max_train_images": 64, "allowed_tiers": [1], "rounds": 30, "clients": 5})
    digits = load_digits()

    def audit(*defenses):
        folder = tmp_path_factory.mktemp("self") / "run"
        return self_audit(config, digits, folder, defenses=defenses, aux_images=150)

    return audit(), audit(GaussianNoise(sd=1e4))


def ssim(found) -> float:
    return max(result.value for result in found.results if (result.source, result.metric) == ("linear-decoder", "ssim"))


def test_a_client_learns_what_its_messages_would_leak_at_each_tier_that_it_may_get(audited):
    bare, _ = audited
    assert [verdict.tier for verdict in bare.verdicts] == [1]
    assert bare.lines[0].startswith("tier 1: ")
    assert any("sent in clear" in line for line in bare.lines)


def test_behind_noise_that_hides_everything_it_is_less(audited):
    bare, noisy = audited
    assert ssim(bare) > ssim(noisy) + 0.2
    assert noisy.verdicts[0].level == "not shown to leak"
    assert bare.verdicts[0].level != "not shown to leak"

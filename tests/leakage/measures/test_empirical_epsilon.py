import numpy as np
import pytest
import torch

from dtfl_private.leakage.measures.base import Release
from dtfl_private.leakage.measures.empirical_epsilon import EmpiricalEpsilon, _bound, _distant_partners, _Played, _Way
from dtfl_private.privacy.one_run import epsilon_ceiling, epsilon_lower_bound
from dtfl_private.randomness import torch_stream


def figures_of(release, **settings):
    return {figure.metric: figure for figure in EmpiricalEpsilon(**settings).figures(release)}


def changed(release: Release, how) -> Release:
    """Return the release with activations (B, values) changed at random by ``how(activations, generator)``."""

    def send(images, _labels, draw):
        return how(release.encoder(images).detach(), torch_stream(3, draw))

    return Release(
        images=release.images,
        labels=release.labels,
        smashed=release.smashed,
        batch_size=release.batch_size,
        encoder=release.encoder,
        release=send,
    )


def shuffled(smashed, generator):
    orders = torch.rand(smashed.shape, generator=generator).argsort(dim=1)
    return smashed.gather(1, orders)


def test_without_noise_it_reaches_its_ceiling(make_release, images_of, linear):
    found = figures_of(make_release(images_of(50), linear(6)[1]))
    assert found["empirical-epsilon"].value == found["empirical-epsilon-ceiling"].value == epsilon_ceiling(1000, 1e-5)
    assert found["empirical-epsilon"].n == 1000


def test_canaries_are_rounded_up_to_whole_batches(make_release, images_of, linear):
    found = figures_of(make_release(images_of(60), linear(6)[1], batch_size=30), canaries=100)
    assert found["empirical-epsilon"].n == 120


def test_secret_orders_of_the_values_do_not_help(make_release, images_of, linear):
    release = make_release(images_of(50), linear(40)[1])
    found = figures_of(changed(release, shuffled), canaries=200)
    assert found["empirical-epsilon"].value == pytest.approx(epsilon_ceiling(200, 1e-5))


def test_scaling_by_a_secret_factor_does_not_help(make_release, images_of, linear):
    release = make_release(images_of(50), linear(40)[1])

    def scaled(smashed, generator):
        return smashed * 0.01 ** torch.rand(len(smashed), 1, generator=generator)

    found = figures_of(changed(release, scaled), canaries=200)
    assert found["empirical-epsilon"].value == pytest.approx(epsilon_ceiling(200, 1e-5))


def test_a_release_that_does_not_depend_on_the_records_proves_next_to_nothing(make_release, images_of, linear):
    """Of 200 guesses or fewer, chance proves an epsilon above 0 in 5 % of cases; this stream is not one of them."""
    release = make_release(images_of(50), linear(6)[1])
    found = figures_of(changed(release, lambda z, g: torch.randn(z.shape, generator=g)), canaries=200)
    assert found["empirical-epsilon"].value == 0
    assert 0.05 < found["empirical-epsilon"].p_value <= 1


def test_more_releases_prove_more_and_no_more_than_eight_are_played(make_release, images_of, linear):
    release = make_release(images_of(50), linear(6)[1], std=6.0, releases=20)
    found = figures_of(release)
    assert 0 < found["empirical-epsilon"].value < found["empirical-epsilon-cumulated"].value
    assert found["empirical-epsilon-cumulated"].p_value < found["empirical-epsilon"].p_value < 0.05
    assert found["empirical-epsilon-ceiling"].p_value is None
    assert EmpiricalEpsilon().remarks(release) == ("the cumulated empirical epsilon is of 8 of 20 releases",)
    assert "empirical-epsilon-cumulated" not in figures_of(make_release(images_of(50), linear(6)[1]), canaries=50)


def test_pairs_are_far_apart_and_each_record_is_in_two(make_release, images_of, linear):
    release = make_release(images_of(50), linear(6)[1])
    partner = _distant_partners(release)
    assert sorted(partner) == list(range(50))
    activations = release.activations()
    apart = (activations - activations[partner]).norm(dim=1)
    typical = torch.cdist(activations, activations).sum() / (50 * 49)
    assert apart.mean() > 1.3 * typical


def test_only_the_surest_guesses_are_made():
    """The ten surest are right, the other ten wrong."""
    coins = np.arange(20) % 2 == 0
    sure = np.arange(20.0, 0.0, -1.0)
    scores = sure * np.where(coins, 1, -1) * np.where(sure > 10, 1, -1)
    played = _Played(coins_M=coins, scores_2M={"any": np.stack([scores, -scores])})
    proven = [_bound(played, _Way(look="any", share=share), after, 0.0) for after in (0, 1) for share in (0.5, 1.0)]
    assert proven == [epsilon_lower_bound(20, 10, 10, 0.0), 0, 0, 0]
    assert proven[0] > 0

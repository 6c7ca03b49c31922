"""Points that depend on a true and on a sent label: the true one is told, whatever was sent."""

import math

import torch
from torch.distributions import MultivariateNormal

from dtfl_private.attacks.shared.pair_discriminant import PairDiscriminant, pair_means, true_label_evidence


def drawn(count, classes, seed):
    chance = torch.Generator().manual_seed(seed)
    true, sent = (torch.randint(classes, (count,), generator=chance) for _ in range(2))
    return torch.randn(count, 5, generator=chance, dtype=torch.float64), true, sent


def test_means_are_those_of_ridge_regression_on_both_labels_and_their_pair():
    """The primal form: one column for each true label, each sent one and each pair."""
    points, true, sent = drawn(40, 3, 0)
    columns = torch.zeros(40, 15, dtype=torch.float64)
    grid = torch.zeros(3, 3, 15, dtype=torch.float64)
    for row, one, other in [(columns[n], int(true[n]), int(sent[n])) for n in range(40)] + [
        (grid[one, other], one, other) for one in range(3) for other in range(3)
    ]:
        row[one], row[3 + other], row[6 + 3 * one + other] = 1, 1, 0.5
    weights = torch.linalg.inv(columns.T @ columns + torch.eye(15)) @ columns.T @ points
    torch.testing.assert_close(pair_means(points, true, sent, 3), grid @ weights)


def test_the_mean_of_a_pair_that_was_never_seen_is_told_by_its_labels():
    steps = torch.tensor([[0.0, 1.0], [10.0, 11.0]], dtype=torch.float64)[:, :, None]
    true, sent = torch.tensor([0, 0, 1] * 200), torch.tensor([0, 1, 0] * 200)
    centred = steps - steps[true, sent].mean()
    found = pair_means(centred[true, sent], true, sent, 2)
    # It would be 7.3, and is drawn towards the common mean, 0.
    assert 4 < float(found[1, 1]) < 7.3


def test_likelihoods_are_those_of_normal_distributions():
    points, true, sent = drawn(60, 2, 1)
    found = PairDiscriminant.fit(points, true, sent, classes=2, shrinkage=0.3)
    rest = points - found.means[true, sent]
    covariance = rest.T @ rest / 60
    shrunk = 0.7 * covariance + 0.3 * covariance.trace() / 5 * torch.eye(5, dtype=torch.float64)
    normal = MultivariateNormal(found.means, covariance_matrix=shrunk)
    expected = normal.log_prob(points[:, None, None])
    apart = found.log_likelihoods(points) - expected
    torch.testing.assert_close(apart, apart[:, :1, :1].expand_as(apart))


def test_the_sent_label_is_summed_out_by_its_probability():
    # By hand: true 0 has 0.75 * 4 + 0.25 * 1 = 3.25, true 1 has 0.5 * 2 + 0.5 * 6 = 4.
    likelihoods = torch.tensor([[[4.0, 1.0], [2.0, 6.0]]], dtype=torch.float64)
    channel = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    found = true_label_evidence(likelihoods.log(), channel)
    torch.testing.assert_close(found, torch.tensor([[math.log(3.25), math.log(4.0)]], dtype=torch.float64))

"""The joint solution against plain Bayesian least squares in the space of what was seen, on toys with known noise."""

import numpy as np
import torch

from dtfl_private.attacks.shared.joint_least_squares import JointLeastSquares, SharesPrior
from dtfl_private.attacks.shared.linear_update import LinearUpdate
from dtfl_private.randomness import torch_stream

ROUNDS, RECORDS, VALUES = 4000, 8, 30
CHANCES = torch.tensor([0.5, 0.5, 0.2, 0.8, 0.5, 0.5, 0.9, 0.5], dtype=torch.float64)
# Share of a member in the stretch that it is in.
SHARES = torch.tensor([1.0, 2.0])


def drawn(chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return shares (S, K, N) and members (S, N): each member is in one of two stretches."""
    members = torch.rand(ROUNDS, RECORDS, generator=chance) < CHANCES
    first = torch.rand(ROUNDS, RECORDS, generator=chance) < 0.5
    return torch.stack([SHARES[0] * (members & first), SHARES[1] * (members & ~first)], dim=1), members


def in_plain(effects: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
    """Return E m - E m's prior, over its variance: in the space of values, by all outcomes of each record."""
    mean, covariance, together = [], np.zeros((2 * RECORDS, 2 * RECORDS)), np.zeros((RECORDS, 2 * RECORDS))
    for record, p in enumerate(CHANCES.tolist()):
        outcomes = [(1 - p, 0, np.zeros(2)), (p / 2, 1, np.array([1.0, 0.0])), (p / 2, 1, np.array([0.0, 2.0]))]
        own = sum(weight * x for weight, _, x in outcomes)
        part = slice(2 * record, 2 * record + 2)
        covariance[part, part] = sum(weight * np.outer(x - own, x - own) for weight, _, x in outcomes)
        together[record, part] = sum(weight * (m - p) * (x - own) for weight, m, x in outcomes)
        mean.append(own)
    a = effects.flatten(0, 1).double().numpy().T
    seen_covariance = a @ covariance @ a.T + np.eye(VALUES)
    found = together @ a.T @ np.linalg.solve(seen_covariance, seen.double().numpy() - a @ np.concatenate(mean))
    return found / (CHANCES * (1 - CHANCES)).numpy()


def test_the_joint_solution_is_that_of_bayesian_least_squares():
    chance = torch_stream(0, "joint")
    effects = torch.randn(RECORDS, 2, VALUES, generator=chance)
    effects[1] = effects[0] + 0.3 * torch.randn(2, VALUES, generator=chance)  # two that are hard to tell apart
    shares, members = drawn(chance)
    seen = torch.einsum("skn,nkd->sd", shares, effects) + torch.randn(ROUNDS, VALUES, generator=chance)
    solution = JointLeastSquares.fitted(effects, seen, shares, SharesPrior.of(CHANCES, shares, members))
    found = solution.log_odds(seen[:50])
    for row, own in zip(found, seen[:50], strict=True):
        np.testing.assert_allclose(row.numpy(), in_plain(effects, own), atol=0.35, rtol=0.1)


def test_what_one_record_explains_speaks_for_no_other():
    """Of two records of nearly the same effect only one is in; each alone would look like a member."""
    chance = torch_stream(1, "joint")
    shares, members = drawn(chance)
    effects = torch.randn(RECORDS, 2, VALUES, generator=chance)
    effects[1] = effects[0] + 0.5 * torch.randn(2, VALUES, generator=chance)
    noise = 0.3 * torch.randn(ROUNDS, VALUES, generator=chance)
    seen = torch.einsum("skn,nkd->sd", shares, effects) + noise
    solution = JointLeastSquares.fitted(effects, seen, shares, SharesPrior.of(CHANCES, shares, members))
    alone = members[:, 0] & ~members[:, 1]
    odds = solution.log_odds(seen[alone])
    aligned = (seen @ effects.sum(dim=1).T)[alone]
    assert (odds[:, 0] > odds[:, 1]).double().mean() > 0.97
    assert (aligned[:, 0] > aligned[:, 1]).double().mean() < 0.95


def test_coefficients_and_noise_of_an_update_are_learnt():
    """A value that never changes says nothing, whatever is seen of it."""
    chance = torch_stream(2, "linear")
    influences = torch.randn(RECORDS, VALUES, generator=chance)
    shares, _ = drawn(chance)
    coefficients = torch.randn(2, VALUES, generator=chance)
    deviation = 0.5 + torch.rand(VALUES, generator=chance)
    values = 3 + (shares @ influences * coefficients).sum(dim=1)
    values = values + deviation * torch.randn(ROUNDS, VALUES, generator=chance)
    values[:, 0] = 7
    model = LinearUpdate.fitted(influences, shares, values)
    torch.testing.assert_close(model.deviation[1:], deviation[1:], rtol=0.06, atol=0)
    true = influences[:, None] * coefficients / deviation
    # The ridge of 2 % draws coefficients towards zero by as much.
    torch.testing.assert_close(model.effects[..., 1:], true[..., 1:], rtol=0.06, atol=0.2)
    assert model.effects[..., 0].abs().max() == 0
    assert torch.isfinite(model.standardised(values[0] + 1)).all()

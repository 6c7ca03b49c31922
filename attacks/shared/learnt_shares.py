"""Read shares of a client's records from what they did to its network, as learnt from simulated rounds."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Simulated rounds with the normal effort, at least, and how many local steps they may take together.
SIMULATED, FEWEST, MOST_STEPS = 160, 40, 4000
# Share of the simulated rounds that are not learnt from.
HELD_OUT = 0.25
# Strengths of the ridge regressions that are tried, for standardised values.
RIDGES = (1.0, 10.0, 100.0, 1000.0)


def simulated_rounds(effort: float, steps: int) -> int:
    """Return how many rounds of so many local steps are simulated."""
    rounds = max(FEWEST, round(SIMULATED * min(effort, 1.0)))
    return max(4, min(rounds, MOST_STEPS // steps))


def held_out(rounds: int) -> slice:
    """Return which of the simulated rounds are not learnt from: the last."""
    return slice(round(rounds * (1 - HELD_OUT)), rounds)


def learnt_shares(
    examples_RF: Tensor, shares_RK: Tensor, parts: Sequence[slice], values_F: Tensor
) -> tuple[float, Tensor]:
    """Return the mean error of the best ridge regression on rounds held out, and the shares (K,) that it reads.

    Args:
        examples_RF: what the simulated rounds did, float64.
        shares_RK: of each; they add up to 1.
        parts: of the F values, that are tried.
        values_F: what the client's round did.
    """
    tried = [one for part in parts for one in _regressions(examples_RF[:, part], shares_RK, values_F[part])]
    return min(tried, key=lambda one: one[0])


def _regressions(examples_RF: Tensor, shares_RK: Tensor, values_F: Tensor) -> Iterator[tuple[float, Tensor]]:
    """Yield for each of `RIDGES` the mean error on rounds held out, and the shares (K,) that are read."""
    held = held_out(len(shares_RK))
    known, shares = examples_RF[: held.start], shares_RK[: held.start]
    mean, scale = known.mean(dim=0), known.std(dim=0).clamp(min=1e-9)
    rows = (known - mean) / scale
    # The dual form: fewer rounds than values.
    inner = rows @ rows.T
    alike_held, alike = (((values - mean) / scale) @ rows.T for values in (examples_RF[held], values_F))
    for ridge in RIDGES:
        weights = torch.linalg.solve(
            inner + ridge * torch.eye(len(rows), dtype=rows.dtype), shares - shares.mean(dim=0)
        )

        def read(likeness: Tensor, weights: Tensor = weights) -> Tensor:
            found: Tensor = (likeness @ weights + shares.mean(dim=0)).clamp(min=0)
            shared: Tensor = found / found.sum(dim=-1, keepdim=True).clamp(min=1e-9)
            return shared

        error = (read(alike_held) - shares_RK[held]).abs().sum(dim=1).mean()
        yield float(error), read(alike)

import math
from itertools import pairwise

import numpy as np
import pytest

from dtfl_private.simulation.depth_progress import MEMORY, DepthProgress, depths, mean_depth


def taught(depth_R: list[float], loss_R: list[float]) -> DepthProgress:
    progress = DepthProgress()
    for depth, loss in zip(depth_R, loss_R, strict=True):
        progress = progress.learn(depth, loss)
    return progress


def test_a_known_effect_of_depth_is_found():
    # Progress is exactly 0.1 (1 + 0.4 (x - mean x)) for the mean depth x of two successive rounds.
    depth_R = np.random.default_rng(0).uniform(0, 1, 30).tolist()
    middle = [(a + b) / 2 for a, b in pairwise(depth_R)]
    weights = [MEMORY ** (len(middle) - 1 - place) for place in range(len(middle))]
    mean = np.average(middle, weights=weights)
    losses = [2.0]
    for x in middle:
        losses.append(losses[-1] * math.exp(-0.1 * (1 + 0.4 * (x - mean))))
    spread, gain = taught(depth_R, losses).evidence()
    assert spread == pytest.approx(np.average((np.array(middle) - mean) ** 2, weights=weights) * sum(weights))
    assert gain / spread == pytest.approx(0.4)


@pytest.mark.parametrize(
    "losses", [[], [1.0], [1.0, 1.0, 1.0], [1.0, 2.0, 3.0]], ids=["no round", "one round", "no fall", "rise"]
)
def test_without_falling_losses_there_is_no_evidence(losses: list[float]):
    assert taught([0.2, 0.9, 0.4][: len(losses)], losses).evidence() == (0.0, 0.0)


def test_equal_depths_are_no_evidence():
    spread, gain = taught([0.5] * 10, [1 / n for n in range(1, 11)]).evidence()
    assert spread == pytest.approx(0, abs=1e-12)
    assert gain == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [None, 0.0, -1.0, math.inf, math.nan])
def test_a_round_without_a_usable_loss_changes_nothing(loss: float | None):
    before = taught([0.2, 0.9], [2.0, 1.0])
    assert before.learn(0.4, loss) == before


def test_it_survives_as_an_array():
    progress = taught([0.2, 0.9, 0.3], [2.0, 1.0, 0.9])
    assert DepthProgress.of(progress.array()) == progress
    assert np.isnan(DepthProgress.of(DepthProgress().array()).last_log_loss)


def test_depth_runs_from_the_shallowest_tier_to_the_deepest_and_is_weighted_by_images():
    assert depths(1).tolist() == [1.0]
    assert depths(5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert mean_depth(np.array([0, 4]), np.array([3.0, 1.0]), 5) == 0.25
    assert mean_depth(np.array([], dtype=np.int64), np.array([]), 5) == 0.0

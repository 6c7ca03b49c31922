from typing import Any

import pytest
import torch

from dtfl_private import TrainConfig
from dtfl_private.training import client, round_sums, server
from dtfl_private.training.aggregate import WeightedAverage
from dtfl_private.training.optimizers import make_optimizer
from examples.paper_pseudocode import TOLERANCE, Compared, both_ways, gap, main


def uneven(**values: Any) -> TrainConfig:
    """Return a run of three rounds whose clients have unequal numbers of images and change tiers."""
    small = {"dataset": "digits:size=8", "max_train_images": 60, "clients": 4, "batch_size": 8, "rounds": 3}
    chance = {"partition": "dirichlet:1", "scheduler": "random", "seed": 3, "precision": "fp64", "device": "cpu"}
    return TrainConfig.model_validate({**small, **chance, **values})


@pytest.mark.parametrize(("norm", "local_epochs"), [("batch", 1), ("group", 2)])
def test_the_trainer_equals_the_plain_loops_after_each_of_three_rounds_with_changing_tiers(norm, local_epochs):
    rows = list(both_ways(uneven(norm=norm, local_epochs=local_epochs)))
    assert [row.round for row in rows] == [1, 2, 3]
    assert all(len({row.tiers[client] for row in rows}) > 1 for client in range(4))
    assert {tier for row in rows for tier in row.tiers.values()} == {1, 2, 3, 4}
    for row in rows:
        assert row.model_gap < TOLERANCE
        assert row.head_gap < TOLERANCE


def far_apart(row: Compared) -> bool:
    return row.model_gap > 100 * TOLERANCE


class Unweighted(WeightedAverage):
    def add(self, state, weight):
        super().add(state, 1)


def test_an_average_that_ignores_the_numbers_of_images_would_be_noticed(monkeypatch):
    monkeypatch.setattr(round_sums, "WeightedAverage", Unweighted)
    assert far_apart(next(both_ways(uneven())))


@pytest.mark.parametrize("half", [client, server])
def test_an_optimizer_that_forgets_after_every_step_would_be_noticed(monkeypatch, half):
    def forgetful(parameters, settings, lr):
        optimizer = make_optimizer(parameters, settings, lr)
        optimizer.register_step_post_hook(lambda stepped, _args, _kwargs: stepped.state.clear())
        return optimizer

    monkeypatch.setattr(half, "make_optimizer", forgetful)
    assert far_apart(next(both_ways(uneven())))


def test_a_weight_that_is_not_a_number_is_no_small_difference():
    ours = {"a": torch.tensor([1.0]), "b": torch.tensor([float("nan")]), "c": torch.tensor([2.0])}
    theirs = {name: torch.tensor([1.0]) for name in ours}
    assert not gap((ours, theirs)) <= TOLERANCE


@pytest.mark.parametrize(("model_gap", "status"), [(0.0, 0), (2e-6, 1), (float("nan"), 1)])
def test_the_script_says_by_its_exit_status_whether_the_weights_are_equal(monkeypatch, capsys, model_gap, status):
    row = Compared(round=1, tiers={0: 2, 1: 4}, model_gap=model_gap, head_gap=0.0)
    monkeypatch.setattr("examples.paper_pseudocode.both_ways", lambda config: iter([row] * config.rounds))
    assert main() == status
    *rounds, verdict = capsys.readouterr().out.splitlines()
    assert all(line.startswith("round 1  model ") and line.endswith("0:2 1:4") for line in rounds)
    assert ("NOT equal" in verdict) == bool(status)


def test_the_script_as_it_is_finds_the_weights_equal(capsys):
    assert main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 4

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.training.optimizers import (
    OptimizerSettings,
    PlateauSettings,
    PlateauState,
    decay_on_plateau,
    make_optimizer,
)

# Around 1 and 0.9999 a loss is, or is not quite, better by the share of 1e-4 that counts.
LOSSES = st.lists(
    st.one_of(
        st.floats(1e-3, 10),
        st.sampled_from([1.0, 0.9999, 0.99991, 0.99989, 0.9998, 0.5, math.inf, math.nan]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=75, deadline=None, derandomize=True)
@given(LOSSES, st.floats(0.05, 0.95), st.integers(1, 4))
def test_decay_equals_torchs_reduce_lr_on_plateau(losses: list[float], factor: float, patience: int):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min", factor=factor, patience=patience, threshold=1e-4, threshold_mode="rel", eps=0.0
    )
    state = PlateauState(lr=0.1)
    for loss in losses:
        torchs.step(loss)
        state = decay_on_plateau(state, loss, PlateauSettings(factor=factor, patience=patience))
        assert state.lr == optimizer.param_groups[0]["lr"]
        assert state.best_loss == torchs.best
        assert state.waited == torchs.num_bad_epochs


def test_learning_rate_falls_after_more_rounds_than_patience_without_a_better_loss():
    state = PlateauState(lr=1.0)
    rates = []
    for loss in (2.0, 2.0, 2.0, 2.0, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5):
        state = decay_on_plateau(state, loss, PlateauSettings(factor=0.5, patience=2))
        rates.append(state.lr)
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_a_factor_of_one_never_changes_the_rate():
    state = PlateauState(lr=0.3)
    for _ in range(10):
        state = decay_on_plateau(state, 1.0, PlateauSettings(factor=1.0, patience=1))
    assert state.lr == 0.3


@pytest.mark.parametrize(
    ("chosen", "kind", "expected"),
    [
        (OptimizerSettings(name="adam", weight_decay=0.2), torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.2}),
        (
            OptimizerSettings(name="sgd", weight_decay=0.2, momentum=0.9),
            torch.optim.SGD,
            {"lr": 0.01, "weight_decay": 0.2, "momentum": 0.9},
        ),
    ],
)
def test_optimizer_has_the_settings_asked_for(
    chosen: OptimizerSettings, kind: type[torch.optim.Optimizer], expected: dict[str, float]
):
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(2))], chosen, lr=0.01)
    assert isinstance(optimizer, kind)
    assert {key: optimizer.param_groups[0][key] for key in expected} == expected

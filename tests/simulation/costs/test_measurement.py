import pytest
import torch

from dtfl_private.models.cutting.staged import snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs.measurement import measure
from tests.simulation.costs.hand_made import hand_made


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_measuring_fills_in_positive_seconds_and_nothing_else(table, precision):
    numerics = Numerics(precision=precision, memory_format="channels-last")
    model = hand_made()
    before, chance = snapshot(model), torch.get_rng_state()
    measured = measure(table, model, (2, 6, 6), 5, numerics, batch_size=4, repeats=2)
    for row, analysed in zip(measured.rows, table.rows, strict=True):
        assert row.client_step_s > 0
        assert row.server_step_s > 0
        assert analysed.client_step_s is None
        assert {**vars(row), "client_step_s": None, "server_step_s": None} == vars(analysed)
    assert measured.forward_macs == table.forward_macs
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), chance)

"""Training MACs against closed forms, also of grouped convolutions."""

import pytest
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import numbered
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs.analysis import analyse


def two_convolutions(groups: int) -> nn.Module:
    return numbered(
        [
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4, bias=False)),
        ]
    )


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_layer_trains_at_three_times_its_forward_macs_and_the_first_at_twice(groups):
    table = analyse(two_convolutions(groups), (3, 6, 6), 4, Numerics())
    first, second, last = 36 * 8 * 3 * 9, 36 * 8 * (8 // groups) * 9, 8 * 4
    head = 3 * last
    assert [row.client_train_macs for row in table.rows] == [2 * first + head, 2 * first + 3 * second + head]
    assert [row.server_train_macs for row in table.rows] == [2 * second + 3 * last, 2 * last]


@pytest.mark.parametrize("name", ["mobilenet-v2", "resnet-8"])
def test_training_takes_about_three_forward_passes_also_with_depthwise_convolutions(name):
    model = build_model(name, input_shape=(3, 16, 16), classes=10, norm="group", seed=0)
    table = analyse(model, (3, 16, 16), 10, Numerics())
    deepest = table.rows[-1]
    assert 2.5 < deepest.client_train_macs / deepest.client_forward_macs <= 3.01


@pytest.mark.parametrize("outputs", [3, 1000])
def test_a_network_with_other_outputs_than_classes_is_refused(outputs):
    model = numbered([nn.Conv2d(1, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, outputs))])
    with pytest.raises(InputError, match=rf"returns \({outputs},\) for each input, expected \(4,\)"):
        analyse(model, (1, 8, 8), 4, Numerics())

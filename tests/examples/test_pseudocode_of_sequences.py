"""The paper's pseudo-code equals the trainer for activations (batch, tokens, width) too."""

import pytest

from dtfl_private import TrainConfig
from examples.paper_pseudocode import TOLERANCE, both_ways

# Without dropout: the plain loops draw from torch's global generator.
VIT = {"dataset": "digits:size=8", "model": "vit:depth=2,width=16,heads=2,dropout=0", "max_train_images": 60}
TEXT = {"dataset": "sentences:train=60,test=20", "model": "transformer:depth=2,width=16,heads=2,dropout=0"}


@pytest.mark.parametrize("data", [VIT, TEXT], ids=["images", "tokens"])
def test_transformers_train_as_the_plain_loops_say_over_three_rounds_with_changing_tiers(data):
    small = {"clients": 4, "batch_size": 8, "rounds": 3, "partition": "dirichlet:1", "scheduler": "random", "seed": 3}
    rows = list(both_ways(TrainConfig.model_validate({**small, **data, "precision": "fp64", "device": "cpu"})))
    assert [row.round for row in rows] == [1, 2, 3]
    assert any(len({row.tiers[client] for row in rows}) > 1 for client in range(4))
    for row in rows:
        assert row.model_gap < TOLERANCE
        assert row.head_gap < TOLERANCE

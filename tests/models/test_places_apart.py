"""How many stages compute each place of a sequence from its own token alone."""

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel, numbered, snapshot
from dtfl_private.models.places_apart import stages_apart
from dtfl_private.models.transformer import Block, Embedding
from dtfl_private.protocol.vocabulary import Vocabulary

VOCABULARY = Vocabulary(size=300, padding=0)
WIDTH, LENGTH = 8, 6


def embedding() -> Embedding:
    return Embedding(300, LENGTH, WIDTH, dropout=0.5, padding=0)


class Neighbours(nn.Module):
    """Adds a share of the vector at the place before; none of it as long as its weight is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.share * tokens.roll(1, dims=1)


@pytest.mark.parametrize("vocabulary", [VOCABULARY, Vocabulary(size=256), Vocabulary(size=300, padding=300)])
def test_places_of_our_own_transformer_meet_in_its_first_block(vocabulary):
    model = build_model(
        "transformer:depth=2,width=8,heads=2,cuts=all",
        input_shape=(LENGTH,),
        classes=3,
        norm="group",
        seed=0,
        tokens=vocabulary,
    )
    before = snapshot(model)
    assert stages_apart(model, vocabulary, LENGTH) == 1
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(model).items())


def test_stages_that_work_on_each_place_are_counted_and_a_described_network_as_one_with_weights():
    stages = [
        embedding(),
        nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)),
        nn.Tanh(),
        Block(5, 1, 0, causal=True),
    ]
    assert stages_apart(numbered(stages), VOCABULARY, LENGTH) == 3
    assert stages_apart(numbered(stages).to("meta"), VOCABULARY, LENGTH) == 3


def test_places_that_meet_as_soon_as_a_weight_is_trained_have_met():
    assert stages_apart(numbered([embedding(), Neighbours(), nn.Tanh()]), VOCABULARY, LENGTH) == 1


@pytest.mark.parametrize("merging", [nn.Flatten(), nn.AdaptiveAvgPool2d((1, WIDTH)), nn.Conv1d(LENGTH, LENGTH, 1)])
def test_what_pools_or_mixes_places_is_not_apart(merging):
    assert stages_apart(numbered([nn.Sequential(embedding(), merging)]), VOCABULARY, LENGTH) == 0


def test_a_network_of_other_inputs_has_no_places_apart():
    assert stages_apart(StagedModel([("stem", nn.Conv2d(1, 2, 3))]), VOCABULARY, LENGTH) == 0

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.automatic import cut_automatically, good_cuts, merged
from dtfl_private.models.cutting.staged import cut_shapes, numbered


def chain(blocks: int) -> nn.Sequential:
    """Return equal blocks of convolution, norm and ReLU, a pooling, and a classifier."""
    layers: list[nn.Module] = []
    for number in range(blocks):
        layers += [nn.Conv2d(2 if number == 0 else 4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 3))


def test_places_without_work_between_them_are_one_and_the_narrowest_last_is_kept():
    # Behind each ReLU; behind the pooling instead of the ReLU before it; none behind the flattening.
    assert good_cuts(chain(3), (2, 6, 6)) == ["2", "5", "9"]


def test_a_wider_tensor_is_not_taken_for_a_narrower_one():
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3), Mean())
    module.append(nn.Linear(4, 2))
    assert good_cuts(module, (2, 6, 6)) == ["1", "3"]


class Mean(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_embeddings_without_macs_are_a_place_to_cut_at():
    module = nn.Sequential(nn.Embedding(9, 4), nn.Dropout(0.1), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert good_cuts(module, (7,)) == ["1", "3"]


def test_seven_cuts_or_fewer_where_there_are_no_more():
    assert len(cut_automatically(chain(3), (2, 6, 6)).tiers) == 3
    assert len(cut_automatically(chain(12), (2, 6, 6)).tiers) == 7
    assert len(cut_automatically(chain(12), (2, 6, 6), "all").tiers) == 12
    assert len(cut_automatically(chain(12), (2, 6, 6), 2).tiers) == 2


def test_more_than_there_are_are_refused():
    with pytest.raises(InputError, match="4 cuts are not possible: this network has 3 places to cut it at"):
        cut_automatically(chain(3), (2, 6, 6), 4)


def test_equal_blocks_are_dealt_out_evenly():
    model = cut_automatically(nn.Sequential(*chain(8)[3:-3], Mean(), nn.Linear(4, 2)), (4, 6, 6), 6)
    convolutions = [sum(isinstance(part, nn.Conv2d) for part in stage.modules()) for stage in model]
    assert convolutions == [1] * 7


@pytest.mark.parametrize("staged", [False, True])
def test_the_first_place_is_kept_where_that_is_asked_for(staged):
    whole = chain(8)
    module = cut_automatically(whole, (2, 6, 6), "all") if staged else whole
    first = sum(parameter.numel() for parameter in whole[:3].parameters())
    for kept in (False, True):
        model = cut_automatically(module, (2, 6, 6), 2, first_kept=kept)
        assert len(model.tiers) == 2
        assert (sum(parameter.numel() for parameter in model[0].parameters()) == first) == kept


def test_cutting_changes_nothing_of_what_the_network_computes_nor_of_its_mode():
    module = chain(4).eval()
    module[1].train()
    images = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    model = cut_automatically(module, (2, 6, 6))
    assert [part.training for part in module][:3] == [False, True, False]
    assert torch.equal(model.eval()(images), module.eval()(images))
    assert module[1].num_batches_tracked == 0


def test_the_stages_of_a_staged_model_are_merged():
    stages = [nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)]
    whole = numbered(stages)
    model = merged(whole, [2, 3])
    assert len(model) == 3
    assert list(model[0]) == stages[:2]
    assert model[1] is stages[2]
    inputs = torch.ones(1, 3)
    assert torch.equal(model(inputs), whole(inputs))
    assert cut_shapes(cut_automatically(whole, (4, 3), 2), torch.ones(1, 4, 3))[:2] == [(4, 3), (4, 3)]


class Recurrent(nn.Module):
    """An embedding, a recurrent layer that returns a tuple, and a classifier of each token."""

    def __init__(self, layer: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.recurrent = layer(4, 4, batch_first=True)
        self.hidden = nn.Linear(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.recurrent(self.embed(tokens))
        return self.out(self.hidden(states).relu())


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_no_cut_is_where_a_tuple_passes(layer):
    module = Recurrent(layer)
    assert good_cuts(module, (7,)) == ["embed", "hidden"]
    model = cut_automatically(module, (7,))
    tokens = torch.zeros(2, 7, dtype=torch.int64)
    assert torch.equal(model(tokens), module(tokens))


def test_stages_that_return_no_tensor_are_refused():
    stages = [nn.LSTM(4, 4), First(), nn.Linear(4, 4), nn.Linear(4, 2)]
    with pytest.raises(InputError, match="stage 1 of the network does not return a tensor"):
        cut_automatically(numbered(stages), (3, 4), 1)
    with pytest.raises(InputError, match="the network returns a tuple, expected a tensor of class scores"):
        cut_automatically(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LSTM(4, 4)), (3, 4))


class First(nn.Module):
    def forward(self, pair: tuple[Tensor, object]) -> Tensor:
        return pair[0]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 2)), "has no place to cut it at"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "has no place to cut it at"),
        (
            nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)),
            r"cannot be run on inputs of shape \(2, 6, 6\): .*channels",
        ),
    ],
)
def test_what_cannot_be_cut_or_run_is_refused_in_one_line(module, said):
    with pytest.raises(InputError, match=said) as refused:
        cut_automatically(module, (2, 6, 6))
    assert "\n" not in str(refused.value)

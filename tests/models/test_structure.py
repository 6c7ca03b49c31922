"""Networks whose costs are counted once: which of them are taken for equal, and which are always counted anew."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.models.build import build_model
from dtfl_private.models.cutting import automatic
from dtfl_private.models.cutting.staged import numbered
from dtfl_private.models.cutting.tracing import staged
from dtfl_private.models.structure import structure_of
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs import analysis
from dtfl_private.simulation.costs.analysis import analyse


def network(stride: int = 1, *, bias: bool = True, frozen: bool = False) -> nn.Sequential:
    first = nn.Conv2d(1, 4, 3, stride=stride, padding=1, bias=bias)
    last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return numbered([first.requires_grad_(not frozen), last])


def test_weights_do_not_matter_and_all_else_does():
    same, other = network(), network()
    assert structure_of(same) is not None
    assert structure_of(same) == structure_of(other)
    assert not torch.equal(same.md1.weight, other.md1.weight)
    unequal = [network(), network(2), network(bias=False), network(frozen=True), network().double(), network().eval()]
    unequal += [
        build_model("resnet-8", input_shape=(1, 8, 8), classes=3, norm=norm, seed=0) for norm in ("batch", "group")
    ]
    assert len({structure_of(one) for one in unequal}) == len(unequal)


class Own(nn.Identity):
    """Nobody knows whether what it does depends on its weights."""


def with_a_hook() -> nn.Module:
    made = network()
    made.md1.register_forward_hook(lambda *_: None)
    return made


def with_another_forward() -> nn.Module:
    made = network()
    made.md1.forward = lambda inputs: F.avg_pool2d(inputs, 2)
    made.md1.scale = object()
    return made


@pytest.mark.parametrize("strange", [numbered([Own(), nn.Flatten()]), with_a_hook(), with_another_forward()])
def test_what_cannot_be_told_has_no_structure(strange):
    assert structure_of(strange) is None


class Residual(nn.Module):
    """Opened by tracing, so that what it does is in the graph of a stage."""

    def __init__(self, combine) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.combine = combine

    def forward(self, inputs):
        hidden = self.first(inputs)
        return self.combine(self.second(hidden), hidden)


def cut_in_two(combine=torch.add, last: nn.Module | None = None) -> nn.Module:
    return staged(nn.Sequential(nn.Linear(4, 4), Residual(combine), last or nn.Flatten(), nn.Linear(4, 2)), ["1.first"])


def test_stages_made_by_tracing_are_told_apart_by_their_graphs():
    assert structure_of(cut_in_two()) is not None
    assert structure_of(cut_in_two()) == structure_of(cut_in_two()) != structure_of(cut_in_two(torch.mul))
    assert structure_of(cut_in_two(last=Own())) is None


def test_places_to_cut_at_are_looked_for_once(monkeypatch):
    looked = []
    look = automatic._looked_for
    monkeypatch.setattr(automatic, "_KNOWN", type(automatic._KNOWN)())
    monkeypatch.setattr(automatic, "_looked_for", lambda *asked: looked.append(asked) or look(*asked))

    def chain(*, tied: bool = False) -> nn.Sequential:
        made = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
        if tied:
            made[2].weight = made[0].weight
        return made

    cuts = [automatic.good_cuts(chain(tied=tied), (3, 4)) for tied in (False, True, False, True)]
    assert cuts == [["0", "1", "2"], ["2"], ["0", "1", "2"], ["2"]]
    assert len(looked) == 2
    assert automatic.good_cuts(chain(), (2, 4)) == cuts[0]
    assert len(looked) == 3


def test_equal_networks_are_counted_once_and_others_each_time(monkeypatch):
    counted = []
    count = analysis._counted
    monkeypatch.setattr(analysis, "_KNOWN", type(analysis._KNOWN)())
    monkeypatch.setattr(analysis, "_counted", lambda *asked: counted.append(asked) or count(*asked))
    first = analyse(network(), (1, 8, 8), 3, Numerics())
    assert analyse(network(), (1, 8, 8), 3, Numerics()) == first == count(*counted[0])
    assert len(counted) == 1
    for different in (
        (network(2), (1, 8, 8), 3, Numerics(), "paper"),
        (network(), (1, 6, 6), 3, Numerics(), "paper"),
        (network(), (1, 8, 8), 3, Numerics(precision="fp64"), "paper"),
        (network(), (1, 8, 8), 3, Numerics(), "large"),
    ):
        assert analyse(*different) == count(*different) != first
    own = numbered([network()[0], Own(), network()[1]])
    assert analyse(own, (1, 8, 8), 3, Numerics()) == analyse(own, (1, 8, 8), 3, Numerics())
    assert len(counted) == 7


def test_equal_stages_are_counted_once_and_all_of_them_count(monkeypatch):
    count, counted = analysis.stage_macs, []
    monkeypatch.setattr(analysis, "stage_macs", lambda *asked: counted.append(asked) or count(*asked))
    block = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(5)]
    model = numbered([network()[0], *block[:3], nn.MaxPool2d(2), *block[3:], network()[1]])
    table = analysis._counted(model, (1, 8, 8), 3, Numerics(), "paper")
    assert len(counted) == 9  # first, block and head on either size, pooling, last in its three parts
    assert table.module_macs[1:7] == (8 * 8 * 4 * 36,) * 3 + (0,) + (4 * 4 * 4 * 36,) * 2
    monkeypatch.setattr(analysis, "structure_of", lambda _: None)
    assert analysis._counted(model, (1, 8, 8), 3, Numerics(), "paper") == table


def test_a_chain_takes_what_its_parts_take(monkeypatch):
    """Also where it begins with what cannot be trained, or writes into its input."""
    frozen = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    chain = nn.Sequential(nn.ReLU(inplace=True), frozen, nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3))
    for first in (network()[0], network(frozen=True)[0]):
        model = numbered([first, chain, network()[1]])
        table = analysis._counted(model, (1, 8, 8), 3, Numerics(), "paper")
        with monkeypatch.context() as patched:
            patched.setattr(analysis, "structure_of", lambda _: None)
            assert analysis._counted(model, (1, 8, 8), 3, Numerics(), "paper") == table


def test_cuts_are_chosen_by_the_work_of_every_stage_though_equal_ones_are_run_once(monkeypatch):
    stages = numbered([nn.Linear(4, 4), nn.Linear(4, 4), nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12)])
    runs = []
    true = automatic.MacCounter
    monkeypatch.setattr(automatic, "MacCounter", lambda: (runs.append(1), true())[1])
    macs, shapes = automatic._forward(stages, (3, 4))
    assert macs == [48, 48, 0, 144, 144]
    assert shapes == [(3, 4), (3, 4), (12,), (12,), (12,)]
    assert len(runs) == 3


def test_no_more_tables_are_kept_than_wanted(monkeypatch):
    monkeypatch.setattr(analysis, "_KNOWN", type(analysis._KNOWN)())
    monkeypatch.setattr(analysis, "MOST_KNOWN", 2)
    for side in (8, 6, 8, 4):
        analyse(network(), (1, side, side), 3, Numerics())
    assert [asked[1] for asked in analysis._KNOWN] == [(1, 8, 8), (1, 4, 4)]

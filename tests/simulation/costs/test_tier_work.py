"""What a client's step consists of: its MACs are those of the cost table, its memory is what it holds."""

import pytest
import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_description
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.network_operators import network_operators
from dtfl_private.simulation.costs.operators import CLASSES, PRECISIONS
from dtfl_private.simulation.costs.tier_work import HeldParts, StepOptimizer, step_optimizer, tier_work

ADAM = step_optimizer("adam", 0.0)


BRAIN_FLOAT = Numerics(precision="bf16", memory_format="channels-last")


@pytest.mark.parametrize(
    ("name", "shape", "numerics", "head"),
    [
        ("resnet-8", (1, 8, 8), Numerics(), "paper"),
        ("mobilenet-v2", (3, 16, 16), BRAIN_FLOAT, "small"),
        ("vit:depth=2", (3, 8, 8), BRAIN_FLOAT, "large"),
        ("transformer", (16,), Numerics(), "paper"),
    ],
)
def test_the_operators_of_a_tier_have_the_macs_of_the_cost_table(name, shape, numerics, head):
    model = build_description(name, input_shape=shape, classes=10, norm="batch", seed=0)
    table, network = analyse(model, shape, 10, numerics, head), network_operators(model, shape, 10, numerics, head)
    for row in table.rows:
        work = tier_work(network, HeldParts(first=row.tier, head=True), row.tier, ADAM, 2)
        assert work.training.image_macs_O.sum() == row.client_train_macs
        assert work.releasing.image_macs_O.sum() == row.client_forward_macs
    whole = tier_work(network, HeldParts(first=table.modules), table.modules, ADAM, 2)
    assert whole.training.image_macs_O.sum() == table.train_macs
    assert whole.measuring.image_macs_O.sum() == table.forward_macs


def dense() -> StagedModel:
    """Return 4x1 images flattened, 4 -> 3, ReLU, and 3 -> 2."""
    first = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Unflatten(1, (3, 1, 1)))
    return StagedModel([("first", first), ("last", nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))])


def test_the_operators_of_a_small_network_are_those_counted_by_hand():
    network = network_operators(dense(), (1, 2, 2), 2, Numerics())
    stage = network.stages[0]
    # addmm, relu; threshold_backward, the gradient to the weights (mm), and the bias's (sum).
    kinds = [CLASSES[kind] for kind in stage.first.kind_O]
    assert kinds == ["linear", "elementwise", "elementwise", "linear", "elementwise"]
    assert {PRECISIONS[place] for place in stage.first.precision_O} == {"fp32"}
    assert stage.first.image_macs_O.tolist() == [12, 0, 0, 12, 0]
    # Per image 4 in and 3 out; 3 and 3; gradient, result and gradient; gradient and inputs; gradients of the bias.
    assert stage.first.image_bytes_O.tolist() == [4 * 7, 4 * 6, 4 * 9, 4 * 7, 4 * 3]
    # Besides, bias and weights; nothing; nothing; the weights' gradients; the bias's.
    assert stage.first.step_bytes_O.tolist() == [4 * 15, 0, 0, 4 * 12, 4 * 3]
    # With a gradient to its input there is one product more.
    assert stage.inner.image_macs_O.sum() == 36
    assert (stage.weight_bytes, stage.trained_bytes, stage.tensors) == (60, 60, 2)


def test_the_memory_of_a_tier_is_what_it_holds_when_the_backward_pass_begins():
    network = network_operators(dense(), (1, 2, 2), 2, Numerics())
    need = tier_work(network, HeldParts(first=1, head=True), 1, ADAM, 5).need
    head = 4 * (3 * 2 + 2)
    assert (need.weights, need.gradients, need.optimizer) == (60 + head, 60 + head, 2 * (60 + head))
    # The batch (4), what ReLU puts out (3), the head's pooled input (3): the backward passes need them.
    assert need.activations == 5 * 4 * (4 + 3 + 3)
    assert need.total == 4 * (60 + head) + 200
    assert (
        str(need)
        == "0.000568 MB (weights 9.2e-05 MB, gradients 9.2e-05 MB, optimiser 0.000184 MB, activations 0.0002 MB)"
    )


@pytest.mark.parametrize(
    ("optimizer", "momentum", "moved", "kept"), [("adam", 0.0, 7, 2), ("sgd", 0.0, 3, 0), ("sgd", 0.9, 5, 1)]
)
def test_the_optimiser_moves_and_keeps_what_its_rule_says(optimizer, momentum, moved, kept):
    network = network_operators(dense(), (1, 2, 2), 2, Numerics())
    work = tier_work(network, HeldParts(first=2), 2, step_optimizer(optimizer, momentum), 5)
    weights = 60 + 4 * 8
    stepping = work.training.kind_O == CLASSES.index("optimizer")
    assert work.training.step_bytes_O[stepping].tolist() == [moved * weights]
    assert work.training.launches_O[stepping].tolist() == [4]
    assert work.need.optimizer == kept * weights
    assert step_optimizer(optimizer, momentum) == StepOptimizer(moved=moved, kept=kept)


def test_what_a_client_keeps_is_what_autograd_keeps_of_the_whole_half():
    """Boundaries between stages count once: the stages' sum is what one run through all of them keeps."""
    shape, batch = (3, 16, 16), 4
    model = build_description("resnet-8", input_shape=shape, classes=10, norm="batch", seed=0)
    network = network_operators(model, shape, 10, Numerics())
    work = tier_work(network, HeldParts(first=len(model)), len(model), ADAM, batch)
    kept = {}
    images = torch.zeros(batch, *shape)
    kept[images.untyped_storage()._cdata] = images.untyped_storage()
    own = {one.untyped_storage()._cdata for one in [*model.parameters(), *model.buffers()]}

    def keep(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images)
    expected = sum(storage.nbytes() for place, storage in kept.items() if place not in own)
    assert work.need.activations == pytest.approx(expected, rel=1e-3)


class Fickle(nn.Module):
    """Runs one operator more on larger batches."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images * self.scale if len(images) < 3 else (images * self.scale).exp()


def test_a_network_whose_operators_depend_on_the_batch_is_refused():
    model = StagedModel([("fickle", Fickle()), ("last", nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))])
    with pytest.raises(InputError, match="stage 'fickle' runs other operators on 2 inputs than on 4"):
        network_operators(model, (1, 2, 2), 2, Numerics())

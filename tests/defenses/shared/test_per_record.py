"""Gradients of single records equal the slow loop."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.defenses.shared.per_record import per_record_gradients
from dtfl_private.errors import RunError
from dtfl_private.plugins.registry import create

RECORDS = 5


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)

    def forward(self, values):
        return values + F.gelu(self.inner(self.norm(values)))


class Attention(nn.Module):
    """A pre-norm transformer layer with one head, of matrix products."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mlp = Residual(width)

    def forward(self, tokens):
        query, key, value = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        return self.mlp(tokens + (query @ key.transpose(1, 2)).softmax(-1) @ value).mean(1)


class Tied(nn.Module):
    """One layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, values):
        return self.layer(F.relu(self.layer(values)))


class Idle(nn.Module):
    """A layer whose output nobody uses, and one that is frozen."""

    def __init__(self):
        super().__init__()
        self.used = nn.Linear(6, 4)
        self.idle = nn.Linear(6, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)

    def forward(self, values):
        return self.frozen(self.used(values))


class Tokens(nn.Module):
    """Embeddings of tokens, and a parameter of the module's own."""

    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.randn(6, 5))
        self.tokens = nn.Embedding(11, 5)

    def forward(self, tokens):
        return (self.tokens(tokens) + self.places).flatten(1)


NETWORKS = {
    "convolution, group norm, linear": lambda: nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Flatten(),
        nn.Linear(8, 3),
    ),
    "residual": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 6), Residual(6), Residual(6)),
    "transformer layer": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(36, 8), Attention(8)),
    "used twice": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 6), Tied()),
    "idle and frozen": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 6), Idle()),
}


def inputs_and_labels(side=6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(RECORDS, 2, side, side, generator=generator), torch.arange(RECORDS) % 3


def one_by_one(network, inputs, labels):
    """The slow loop: a backward pass per record."""
    slow = []
    for record in range(len(inputs)):
        network.zero_grad()
        F.cross_entropy(network(inputs[record : record + 1]), labels[record : record + 1]).backward()
        slow.append(
            [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters() if p.requires_grad]
        )
    network.zero_grad()
    return [torch.stack(gradients) for gradients in zip(*slow, strict=True)]


def at_once(network, inputs, labels):
    with per_record_gradients(network) as gradients:
        return gradients.of_batch(F.cross_entropy(network(inputs), labels, reduction="sum"), len(inputs))


def assert_equal(ours, slow):
    assert len(ours) == len(slow)
    for mine, theirs in zip(ours, slow, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_gradients_are_those_of_the_slow_loop(kind):
    torch.manual_seed(0)
    network = NETWORKS[kind]().double()
    inputs, labels = inputs_and_labels()
    assert_equal(at_once(network, inputs.double(), labels), one_by_one(network, inputs.double(), labels))


def test_also_of_embeddings_and_a_modules_own_parameters():
    torch.manual_seed(0)
    network = Tokens().double()
    tokens = torch.randint(11, (RECORDS, 6), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(RECORDS)
    assert_equal(at_once(network, tokens, labels), one_by_one(network, tokens, labels))


def test_and_of_the_projects_own_network_with_its_head():
    network = create("model", "resnet-8", input_shape=(2, 8, 8), classes=3, norm="group").double()
    inputs, labels = inputs_and_labels(side=8)
    assert_equal(at_once(network, inputs.double(), labels), one_by_one(network, inputs.double(), labels))


@pytest.mark.parametrize("weights_too", [True, False])
def test_the_memory_layout_does_not_matter(weights_too):
    """Opacus 1.6.0 reads the wrong addresses of channels-last activations."""
    network = create("model", "resnet-8", input_shape=(2, 8, 8), classes=3, norm="group").double()
    inputs, labels = inputs_and_labels(side=8)
    slow = one_by_one(network, inputs.double(), labels)
    if weights_too:
        network = network.to(memory_format=torch.channels_last)
    assert_equal(at_once(network, inputs.double().to(memory_format=torch.channels_last), labels), slow)


def test_gradients_that_an_earlier_use_left_are_not_taken_for_the_batchs():
    network = NETWORKS["residual"]().double()
    inputs, labels = inputs_and_labels()
    slow = one_by_one(network, inputs.double(), labels)
    network(inputs.double()).sum().backward()
    assert_equal(at_once(network, inputs.double(), labels), slow)


def test_a_single_record_and_several_batches_one_after_the_other():
    network = NETWORKS["residual"]().double()
    inputs, labels = inputs_and_labels()
    slow = one_by_one(network, inputs.double(), labels)
    with per_record_gradients(network) as gradients:
        for part in (slice(0, 1), slice(1, 5)):
            loss = F.cross_entropy(network(inputs[part].double()), labels[part], reduction="sum")
            ours = gradients.of_batch(loss, len(labels[part]))
            assert_equal(ours, [gradient[part] for gradient in slow])
            assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_on_the_network(fails):
    network = NETWORKS["idle and frozen"]()
    before = {name: set(vars(module)) for name, module in network.named_modules()}
    try:
        with per_record_gradients(network) as gradients:
            loss = F.cross_entropy(network(inputs_and_labels()[0]), inputs_and_labels()[1], reduction="sum")
            if fails:
                raise KeyboardInterrupt
            gradients.of_batch(loss, RECORDS)
    except KeyboardInterrupt:
        pass
    assert {name: set(vars(module)) for name, module in network.named_modules()} == before
    assert all(not vars(parameter) for parameter in network.parameters())
    assert all(not module._forward_hooks and not module._backward_hooks for module in network.modules())
    network(inputs_and_labels()[0]).sum().backward()


class BehindTheHooks(nn.Module):
    """Uses a layer's weights without calling the layer, once in addition to a call."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(72, 4)

    def forward(self, images):
        return self.layer(images.flatten(1)) + 0.1 * F.linear(images.flatten(1), self.layer.weight)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(72, 72)

    def forward(self, images):
        values = self.layer(images.flatten(1))
        values += images.flatten(1)
        return values


class OwnParameterAndDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(72))
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.dropout(images.flatten(1) * self.scale)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (BehindTheHooks, "cannot tell the records apart in the gradient of 'layer.weight'"),
        (InPlace, "a layer changes its input in place: write 'out = out"),
        (OwnParameterAndDropout, "a module has parameters of its own next to dropout"),
        (lambda: nn.MultiheadAttention(4, 1), "cannot tell the records apart"),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten()), "use a network with group norm"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(network, message):
    torch.manual_seed(0)
    inputs, labels = inputs_and_labels()
    with pytest.raises(RunError, match=message):
        at_once(network(), inputs, labels)


def test_a_forward_pass_on_the_side_is_noticed():
    network = NETWORKS["residual"]()
    inputs, labels = inputs_and_labels()
    with per_record_gradients(network) as gradients:
        network(inputs)
        loss = F.cross_entropy(network(inputs), labels, reduction="sum")
        with pytest.raises(RunError, match="cannot tell the records apart"):
            gradients.of_batch(loss, RECORDS)

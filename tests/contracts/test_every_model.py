"""What every registered network must do, with both norms, in every tier."""

import copy
import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils.flop_counter import FlopCounterMode

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.models.build import build_model
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, join, numbered, split
from dtfl_private.models.input_kinds import network_facts
from dtfl_private.models.norms import Norm
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.installed import find, installed
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.simulation.costs.analysis import analyse

# Sizes to plan with: they have tests of their own, without weights.
LARGE = {"bert-base", "bert-large", "gpt2-xl", "llama-7b"}
# From files on disk, with tests of its own.
FROM_FILES = {"pretrained"}
TRAINABLE = sorted(set(installed("model")) - LARGE - FROM_FILES)
# Published without norms.
WITHOUT_NORMS = {"he-cnn"}

every_network = pytest.mark.parametrize("name", TRAINABLE)
both_norms = pytest.mark.parametrize("norm", ["batch", "group"])

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(256, (3, 8), generator=torch.Generator().manual_seed(0))


def kind(name: str) -> str:
    return network_facts(find("model", name).load()).kind


def inputs_of(name: str) -> Tensor:
    return TOKENS if kind(name) == "tokens" else IMAGES


@cache
def built(name: str, norm: Norm) -> StagedModel:
    shape = tuple(inputs_of(name).shape[1:])
    return build_model(name, input_shape=shape, classes=4, norm=norm, seed=0)


def fresh(name: str, norm: Norm) -> StagedModel:
    return copy.deepcopy(built(name, norm))


def trained_a_little(name: str, norm: Norm) -> StagedModel:
    """Return a network in eval mode whose running statistics are those of the inputs."""
    model = fresh(name, norm)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(inputs_of(name))
    return model.eval()


def changed_in_place(model: nn.Module, inputs: Tensor) -> list[str]:
    """Return the modules at whose inputs or outputs a tensor was written to after it was made."""
    seen: list[tuple[str, Tensor]] = [("the network's input", inputs)]

    def tensors(values: object) -> list[Tensor]:
        return [value for value in (values if isinstance(values, tuple) else [values]) if isinstance(value, Tensor)]

    def look(name: str) -> object:
        return lambda _, given, output: seen.extend((name, value) for value in [*tensors(given), *tensors(output)])

    # Hooks on the layers: what a layer got and gave is written to by whoever writes in place.
    hooks = [module.register_forward_hook(look(name)) for name, module in model.named_modules()]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    return [name for name, tensor in seen if tensor._version > 0]


@every_network
@both_norms
@torch.no_grad()
def test_the_halves_one_after_the_other_and_joined_are_the_network_bit_for_bit_and_evaluating_changes_nothing(
    name, norm
):
    model, inputs = trained_a_little(name, norm), inputs_of(name)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    expected = model(inputs)
    assert expected.shape == (3, 4)
    assert expected.std(dim=0).min() > 0
    tiers = list(model.tiers)
    for tier in tiers:
        client, server = split(model, tier)
        again = join(client, server)
        # The same modules in the same order, so that it computes the same.
        assert list(again.named_children()) == list(model.named_children())
        assert list(again.state_dict()) == list(state)
        if tier in {tiers[0], tiers[len(tiers) // 2], tiers[-1]}:
            assert torch.equal(server(client(inputs)), expected)
    assert torch.equal(again.eval()(inputs), expected)
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())


@every_network
def test_training_the_halves_apart_is_what_training_the_network_does_behind_the_cut(name):
    # The server half's gradients on detached activations are those of the whole network.
    model, inputs = fresh(name, "batch"), inputs_of(name)
    client, server = split(model, max(1, model.tiers[-1] // 2))
    torch.manual_seed(5)  # dropout
    model(inputs).square().sum().backward()
    whole = [parameter.grad.clone() for parameter in server.parameters()]
    model.zero_grad()
    torch.manual_seed(5)
    server(client(inputs).detach()).square().sum().backward()
    assert all(torch.equal(ours.grad, theirs) for ours, theirs in zip(server.parameters(), whole, strict=True))
    assert all(parameter.grad is None for parameter in client.parameters())


@every_network
def test_nothing_is_computed_in_place(name):
    model, inputs = fresh(name, "batch"), inputs_of(name).clone()
    assert changed_in_place(model, inputs) == []
    assert torch.equal(inputs, inputs_of(name))
    assert not any(getattr(module, "inplace", False) for module in model.modules())


@every_network
def test_the_look_for_in_place_work_sees_it(name):
    model = fresh(name, "batch")
    planted = numbered([model[0], nn.ReLU(inplace=True), *list(model)[1:]])
    assert changed_in_place(planted, inputs_of(name).clone()) != []


def attributes(module: nn.Module) -> list[tuple[object, ...]]:
    """Return what each part of a module has, but for tensors and other parts; of a traced one the names alone."""
    held, found = ("_parameters", "_buffers", "_modules"), []
    for name, part in module.named_modules(remove_duplicate=False):
        plain = not isinstance(part, GraphModule)
        values = {key: repr(value) if plain else None for key, value in vars(part).items() if key not in held}
        found.append((name, type(part).__name__, values))
    return found


@every_network
def test_a_copy_has_all_that_a_network_has_and_shares_none_of_it(name):
    network = fresh(name, "batch")
    next(network.parameters()).requires_grad_(False)
    made = copied(network)
    assert attributes(made) == attributes(copy.deepcopy(network))
    ours, theirs = made.state_dict(keep_vars=True), network.state_dict(keep_vars=True)
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        assert torch.equal(ours[key], tensor)
        assert (type(ours[key]), ours[key].requires_grad) == (type(tensor), tensor.requires_grad)
        assert ours[key].data_ptr() != tensor.data_ptr()
    parts = {id(part) for part in network.modules()}
    assert not any(id(part) in parts for part in made.modules())
    made.eval()
    assert all(part.training for part in network.modules())
    made.register_forward_hook(lambda *_: None)
    assert not network._forward_hooks


@pytest.mark.parametrize("name", [name for name in TRAINABLE if kind(name) == "images"])
def test_grey_images_of_another_size_are_taken_and_one_alone_can_be_trained_on(name):
    model = build_model(name, input_shape=(1, 12, 12), classes=4, norm="batch", seed=0)
    logits = model(torch.ones(1, 1, 12, 12))
    assert logits.shape == (1, 4)
    logits.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


@every_network
@both_norms
def test_the_norm_asked_for_is_the_only_one(name, norm):
    wanted, other = (nn.BatchNorm2d, nn.GroupNorm) if norm == "batch" else (nn.GroupNorm, nn.BatchNorm2d)
    modules = list(built(name, norm).modules())
    assert not any(isinstance(module, other | nn.modules.batchnorm._BatchNorm) for module in modules) or norm == "batch"
    assert not any(isinstance(module, other) for module in modules)
    assert any(isinstance(module, wanted | nn.LayerNorm) for module in modules) or name in WITHOUT_NORMS
    for module in modules:
        if isinstance(module, nn.GroupNorm):
            assert module.num_groups == math.gcd(8, module.num_channels)


@every_network
def test_another_seed_gives_other_weights(name):
    # That the same seed gives the same weights is seen where a run begins, in the round below.
    shape = tuple(inputs_of(name).shape[1:])
    first = built(name, "group").state_dict()
    other = build_model(name, input_shape=shape, classes=4, norm="group", seed=1).state_dict()
    assert not all(torch.equal(first[key], other[key]) for key in first)


@every_network
def test_the_macs_are_those_that_torch_counts_in_the_whole_network(name):
    # As in the round below, for which they need not be counted again.
    model, inputs = built(name, "group"), inputs_of(name)
    table = analyse(model, tuple(inputs.shape[1:]), 4, Numerics())
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    assert counter.get_total_flops() == 2 * len(inputs) * table.forward_macs
    assert table.rows[-1].client_forward_macs <= table.forward_macs


@pytest.mark.parametrize("name", sorted(installed("model")))
def test_the_list_says_what_it_takes_and_where_it_is_from(name):
    facts = network_facts(find("model", name).load())
    assert facts is not None
    assert facts.takes
    assert any(sign in facts.source for sign in ("arXiv", "ACSAC", "Language Models"))


@pytest.fixture(scope="module")
def sequences() -> TokenDataset:
    """40 training and 12 test sequences of 8 tokens: which of three tokens stands in them more often."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(52) % 3
    tokens = torch.randint(3, (52, 8), generator=generator)
    tokens[:, ::2] = labels[:, None]
    tokens = tokens.to(torch.uint8)
    return TokenDataset(
        name="sequences",
        source="made up",
        classes=("a", "b", "c"),
        train_images=tokens[:40],
        train_labels=labels[:40],
        test_images=tokens[40:],
        test_labels=labels[40:],
    )


@every_network
def test_a_round_of_dtfl_begins_with_the_weights_of_its_seed_and_lowers_the_loss(
    name, tiny_config, patterns, sequences, play
):
    # Of as many channels and classes as the networks above.
    data = sequences if kind(name) == "tokens" else patterns
    images, labels = data.train_images[:16], data.train_labels[:16]
    images = images if kind(name) == "tokens" else images.expand(-1, 3, -1, -1)
    few = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    data = replace(data, classes=("a", "b", "c", "d"), **few)
    # In tier 1 the server trains nearly all of the network on its loss; small plain steps go down it.
    settings = {"norm": "group", "clients": 2, "batch_size": 8, "local_epochs": 1, "rounds": 1, "seed": 0}
    settings |= {"scheduler": "static:1", "optimizer": "sgd", "lr": 0.002}
    prepared = prepare(tiny_config(model=name, **settings), objects=RunObjects(dataset=data))
    begun, same = prepared.initial.weights.model, built(name, "group").state_dict()
    assert begun.keys() == same.keys()
    assert all(torch.equal(begun[key], same[key]) for key in same)
    before = InProcess(prepared.worker).evaluate(prepared.initial.weights.model)
    ((_, outcome),) = play(prepared)
    assert outcome.test_loss < before.loss_sum / before.images

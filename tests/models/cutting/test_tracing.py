"""Cutting modules that know nothing of stages: where it is possible, and what is said where it is not."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.staged import StagedModel, join, split
from dtfl_private.models.cutting.tracing import cut_points, staged, trace

IMAGES = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.second(F.relu(self.first(inputs)))


class Plain(nn.Module):
    """Convolutions, a residual block, a classifier; with functions between the modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.blocks = nn.Sequential(Residual(), Residual())
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.blocks(self.stem(images))
        return self.fc(self.drop(torch.flatten(F.adaptive_avg_pool2d(features, 1), 1)))


def plain() -> Plain:
    torch.manual_seed(0)
    return Plain().eval()


@pytest.mark.parametrize("cuts", [["stem"], ["stem.0", "blocks.0", "blocks"], ["stem.1", "drop"]])
def test_the_stages_one_after_the_other_are_the_module_bit_for_bit(cuts):
    module = plain()
    model = staged(module, cuts)
    assert isinstance(model, StagedModel)
    assert model.stage_names == tuple(f"md{number}" for number in range(1, len(cuts) + 2))
    with torch.no_grad():
        expected = module(IMAGES)
        assert torch.equal(model(IMAGES), expected)
        for tier in model.tiers:
            assert torch.equal(join(*split(model, tier))(IMAGES), expected)
    inside = dict(module.named_modules())
    values = IMAGES
    for name, stage in zip(cuts, model, strict=False):
        values = stage(values)
        seen = []
        hook = inside[name].register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        module(IMAGES)
        hook.remove()
        assert torch.equal(values, seen[0])


def test_training_mode_passes_on_to_the_parts():
    model = staged(plain(), ["stem", "blocks"]).train()
    torch.manual_seed(1)
    first, second = model(IMAGES), model(IMAGES)
    assert not torch.equal(first, second)  # dropout
    assert model.state_dict()["md1.stem.1.num_batches_tracked"] == 2
    assert torch.equal(model.eval()(IMAGES), model(IMAGES))


def test_stages_share_the_module_s_parameters_and_hold_each_once():
    module = plain()
    model = staged(module, ["stem", "blocks.0"])
    assert {id(p) for p in model.parameters()} == {id(p) for p in module.parameters()}
    assert len(list(model.parameters())) == len(list(module.parameters()))
    assert len(model.state_dict()) == len(module.state_dict())


def test_a_copy_of_the_stages_is_one_of_its_own():
    model = staged(plain(), ["stem"])
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_parameter("md1.stem.0.weight").zero_()
    assert not torch.equal(model(IMAGES), other(IMAGES))
    assert torch.equal(staged(plain(), ["stem"])(IMAGES), model(IMAGES))


def test_tracing_leaves_the_module_as_it_was():
    module = plain()
    module.blocks.train()
    modes = [part.training for part in module.modules()]
    staged(module, ["stem"])
    assert [part.training for part in module.modules()] == modes
    assert all(parameter.grad is None for parameter in module.parameters())


def test_points_are_the_outermost_modules_behind_which_one_tensor_passes():
    # Nothing inside a residual block: the shortcut crosses too. drop feeds fc, the last.
    assert cut_points(trace(plain())) == ["stem.0", "stem.1", "stem", "blocks.0", "blocks", "drop"]


def test_only_what_a_cut_needs_is_opened():
    stages = list(staged(plain(), ["stem"]))
    assert [type(part) for part in stages[0].children()] == [nn.Sequential]
    assert isinstance(stages[1].get_submodule("blocks.0"), Residual)


@pytest.mark.parametrize(
    ("cuts", "said"),
    [
        (["stm"], r"unknown cut point of Plain 'stm': did you mean 'stem'"),
        ([""], r"unknown cut point of Plain ''"),
        (["blocks.0.first"], r"cannot be cut behind 'blocks.0.first': 2 values cross it"),
        (["fc"], r"cannot be cut behind 'fc': it returns the network's output"),
        (["blocks", "stem"], r"cuts blocks, stem are not in the order in which the network runs"),
        (["stem", "stem"], r"or one is twice there"),
        (["stem", "stem.2"], r"or one is twice there"),
    ],
)
def test_a_cut_that_is_not_possible_is_refused_with_the_reason(cuts, said):
    with pytest.raises(InputError, match=said):
        staged(plain(), cuts)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.between = nn.ReLU()
        self.last = nn.Linear(4, 4)
        self.last.weight = self.shared.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.between(self.shared(inputs)))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.step(torch.relu(self.step(inputs))))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.used(inputs))


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = Pair(), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        first, second = self.inner(inputs)
        return self.last(first + second)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(inputs), self.other(inputs)


@pytest.mark.parametrize(
    ("module", "cut", "said"),
    [
        (Tied(), "between", "parameters are used on both sides of it"),
        (Twice(), "step", "it is called 2 times"),
        (Unused(), "idle", "it is never called"),
        (Several(), "inner", "it does not return one tensor"),
    ],
)
def test_what_would_tear_parameters_or_values_apart_is_refused(module, cut, said):
    with pytest.raises(InputError, match=said):
        staged(module, [cut])


class Branching(nn.Module):
    """Control flow that depends on values, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs) if inputs.sum() > 0 else inputs


class NoisyInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return F.dropout(self.linear(inputs), 0.5, self.training)


@pytest.mark.parametrize("kind", [Branching, NoisyInTraining])
def test_a_part_that_cannot_be_traced_is_kept_whole(kind):
    module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(kind(), nn.ReLU()), nn.Linear(4, 2))
    assert cut_points(trace(module)) == ["0", "1.0", "1"]
    model = staged(module, ["0", "1.0"])
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.eval()(inputs), module.eval()(inputs))
    torch.manual_seed(0)
    trained = module.train()(inputs)
    torch.manual_seed(0)
    assert torch.equal(model.train()(inputs), trained)


class Holder(nn.Module):
    """One part in the middle."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.first, self.part, self.last = nn.Linear(4, 4), part, nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.part(self.first(inputs)))


@pytest.mark.parametrize(
    ("part", "cut", "why"),
    [
        (Branching(), "part.linear", "symbolically traced variables cannot be used as inputs to control flow"),
        (NoisyInTraining(), "part.linear", "it depends on self.training"),
        (nn.TransformerEncoderLayer(4, 1), "part.self_attn.out_proj", "torch's own modules are not opened"),
        (nn.Sequential(nn.ReLU(), Holder(Branching())), "part.1.part.linear", "symbolically traced variables"),
    ],
)
def test_a_cut_inside_a_part_that_is_kept_whole_is_refused_with_the_parts_name(part, cut, why):
    owner = "part.1.part" if "1.part" in cut else "part"
    with pytest.raises(InputError) as refused:
        staged(Holder(part).eval(), [cut])
    assert f"cannot be cut behind '{cut}': it lies inside '{owner}', which is kept whole ({why}" in str(refused.value)
    assert str(refused.value).endswith("; cut behind 'part.1.part' instead" if "1.part" in cut else "'part' instead")
    assert staged(Holder(part), [owner])


def test_a_cut_inside_a_whole_part_that_is_no_cut_itself_is_given_no_remedy():
    module = nn.Sequential(nn.Linear(4, 4), Branching())
    with pytest.raises(
        InputError, match=r"it lies inside '1', which is kept whole \(symbolically.*control flow, at '.*'\)$"
    ):
        staged(module, ["1.linear"])


class Counting(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + torch.zeros(inputs.shape[0], 1)


class Looping(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        for _ in range(inputs.shape[1]):
            inputs = inputs + 1
        return inputs


class Rounding(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * int(inputs.max())


class Unrolling(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return sum(row for row in inputs)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (Counting, "return inputs + torch.zeros(inputs.shape[0], 1)"),
        (Looping, "for _ in range(inputs.shape[1]):"),
        (Rounding, "return inputs * int(inputs.max())"),
        (Unrolling, "return sum(row for row in inputs)"),
    ],
)
def test_the_tracers_stand_in_is_never_shown_but_the_line_that_could_not_be_followed(kind, line):
    with pytest.raises(InputError) as refused:
        trace(kind())
    assert "Proxy" not in str(refused.value)
    assert f"{kind.__name__}.forward cannot be cut: " in str(refused.value)
    assert f", at '{line}'; keep that part in a submodule of its own" in str(refused.value)


def test_where_a_line_is_not_to_be_had_an_operation_is_named(monkeypatch):
    monkeypatch.setattr("linecache.getline", lambda *_: "")
    monkeypatch.setattr("linecache.getlines", lambda *_: [])
    with pytest.raises(
        InputError, match=r"an operation asks for a value that is known only when the network runs; keep"
    ):
        trace(Rounding())


@pytest.mark.parametrize(
    ("kind", "reason"), [(Branching, "control flow"), (NoisyInTraining, "depends on self.training")]
)
def test_a_forward_that_cannot_be_traced_itself_is_refused(kind, reason):
    with pytest.raises(InputError, match=rf"{kind.__name__}.forward cannot be cut: .*{reason}.*StagedModel"):
        trace(kind())

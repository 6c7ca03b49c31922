"""A network as an ordered list of modules md1..mdL that can be cut between any two of them.

In tier m the client holds md1..md_m and the server the rest (dtfl section 1); a network of L modules has L - 1 tiers.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import State


class StagedModel(nn.Sequential):
    """An ordered list of named stages, run one after the other on a single tensor.

    Halves made by `split` are StagedModels too. They keep the stages' names, so that the state dicts of both halves
    together are the whole model's.

    Attributes:
        resolved_settings: what its maker found for settings that were left open; a run's configuration then has them.
        notes: what a user should know of where the network is from, a line each.
        vocabulary: of a language model, which is trained on next tokens: how many tokens there are, and its logits are
            (B, T, vocabulary). None of a classifier, whose logits are (B, classes).
    """

    resolved_settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    vocabulary: int | None = None

    def __init__(self, stages: "OrderedDict[str, nn.Module] | Sequence[tuple[str, nn.Module]]") -> None:
        stages = OrderedDict(stages)
        if not stages:
            raise InputError("a staged model needs at least one stage")
        super().__init__(stages)

    @property
    def tiers(self) -> tuple[int, ...]:
        """The tiers that this network has: 1 .. number of stages - 1."""
        return tuple(range(1, len(self)))

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages, in order."""
        return tuple(name for name, _ in self.named_children())


def numbered(stages: Sequence[nn.Module]) -> StagedModel:
    """Return a staged model whose stages are named md1, md2, ... as in the paper."""
    return StagedModel([(f"md{number}", stage) for number, stage in enumerate(stages, start=1)])


def as_language_model(model: StagedModel, vocabulary: int) -> StagedModel:
    """Return a network as one that is trained on next tokens, of so many kinds."""
    model.vocabulary = vocabulary
    return model


def split(model: StagedModel, tier: int) -> tuple[StagedModel, StagedModel]:
    """Cut a model into (client half md1..md_tier, server half); both share the model's parameters.

    Raises:
        InputError: the model has no such tier.
    """
    if tier not in model.tiers:
        raise InputError(f"tier {tier} does not exist: a network of {len(model)} modules has tiers 1..{len(model) - 1}")
    stages = list(model.named_children())
    return StagedModel(stages[:tier]), StagedModel(stages[tier:])


def client_modules(model: StagedModel, tier: int) -> StagedModel:
    """Return md1..md_tier, sharing the model's parameters: a client half, or of all L modules the whole network.

    Raises:
        InputError: the model has no such tier, nor so many modules.
    """
    return model if tier == len(model) else split(model, tier)[0]


def held_modules(model: StagedModel, tier: int, tail: int) -> StagedModel:
    """Return md1..md_tier and the last ``tail`` modules, sharing the model's parameters: both ends of a U-shaped split.

    Raises:
        InputError: the model has no such tier, or fewer modules behind it.
    """
    if not tail:
        return client_modules(model, tier)
    if not 0 < tail <= len(model) - tier:
        raise InputError(f"tail {tail} does not exist: {len(model) - tier} modules are behind tier {tier}")
    stages = list(model.named_children())
    return StagedModel([*stages[:tier], *stages[-tail:]])


def join(client: StagedModel, server: StagedModel) -> StagedModel:
    """Return the whole model of a client half and a server half, sharing their parameters: the inverse of `split`."""
    stages = [*client.named_children(), *server.named_children()]
    if len({name for name, _ in stages}) != len(stages):
        raise InputError(f"halves overlap: {client.stage_names} and {server.stage_names}")
    return StagedModel(stages)


def snapshot(module: nn.Module) -> State:
    """Return a copy on the CPU of a module's parameters and buffers."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in module.state_dict().items()}


def cut_shapes(
    model: StagedModel, inputs: Tensor, passed: Callable[[nn.Module, Tensor], Any] | None = None
) -> list[tuple[int, ...]]:
    """Return the shape of one example's activations behind each stage, for a batch of inputs on the model's device.

    Args:
        model: any.
        inputs: a batch.
        passed: what a stage makes of its inputs, where that is to be had without computing it.

    Raises:
        InputError: a stage returns something else than a tensor.
    """
    shapes = []
    for name, stage in model.named_children():
        inputs = stage(inputs) if passed is None else passed(stage, inputs)
        if not isinstance(inputs, Tensor):
            raise InputError(f"stage '{name}' returns a {type(inputs).__name__}: exactly one tensor may cross a cut")
        shapes.append(tuple(inputs.shape[1:]))
    return shapes

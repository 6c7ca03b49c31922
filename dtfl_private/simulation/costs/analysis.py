"""The cost table of a network by analysis: parameters, MACs and bytes of each tier.

A network on the meta device has shapes and types but no numbers: it is analysed there, whatever its size.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dtfl_private.errors import InputError
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, cut_shapes, split
from dtfl_private.models.frozen import frozen_numbers
from dtfl_private.models.heads import make_heads
from dtfl_private.models.input_kinds import blank_inputs
from dtfl_private.models.setting_types import HeadSize
from dtfl_private.models.shapes.mode import ShapeRules
from dtfl_private.models.statistics import statistics_bytes
from dtfl_private.models.structure import structure_of
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import state_bytes
from dtfl_private.randomness import isolated
from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.costs.training_macs import StageMacs, stage_macs, train_macs

LABEL_BYTES = torch.int64.itemsize


# Tables of networks whose structure is known, the latest last: opening a run asks for the same one several times.
_KNOWN: OrderedDict[Hashable, TierTable] = OrderedDict()
MOST_KNOWN = 64


def analyse(
    model: StagedModel, input_shape: tuple[int, ...], classes: int, numerics: Numerics, head: HeadSize = "paper"
) -> TierTable:
    """Return the cost table of a network by counting the operations of one training step; it is left as it was.

    What has been counted once in a process is not counted again; see `structure_of`.

    Args:
        model: the network, on any device; on the meta device it may be larger than the memory.
        input_shape: shape of one input.
        classes: outputs of the auxiliary heads.
        numerics: gives the types of weights and of smashed data.
        head: size of the auxiliary heads.

    Raises:
        InputError: the last stage has nothing to train, or a cut's shape does not suit the auxiliary heads.
    """
    structure = structure_of(model)
    if structure is None:
        return _counted(model, input_shape, classes, numerics, head)
    asked = (structure, input_shape, classes, numerics.weight_dtype, numerics.wire_dtype, head)
    table = _KNOWN.pop(asked, None) or _counted(model, input_shape, classes, numerics, head)
    _KNOWN[asked] = table
    if len(_KNOWN) > MOST_KNOWN:
        _KNOWN.popitem(last=False)
    return table


@isolated(0, "analyse")
def _counted(
    model: StagedModel, input_shape: tuple[int, ...], classes: int, numerics: Numerics, head: HeadSize
) -> TierTable:
    described = next(model.parameters(), torch.empty(0)).is_meta
    with ShapeRules() if described else nullcontext():
        return _tabled(model, input_shape, classes, numerics, head, described=described)


def _tabled(
    model: StagedModel,
    input_shape: tuple[int, ...],
    classes: int,
    numerics: Numerics,
    head: HeadSize,
    *,
    described: bool,
) -> TierTable:
    # Otherwise on the CPU: on the meta device torch follows batch norm in Python, which takes several times longer.
    device, dtype = "meta" if described else "cpu", numerics.weight_dtype
    skeleton = copied(model).to(device=device, dtype=dtype)
    # Batches of two: batch norm refuses a single value.
    like = torch.empty(0, device=device, dtype=dtype)
    with torch.no_grad():
        shapes = cut_shapes(skeleton, blank_inputs(input_shape, 2, like=like), _Passing())
    inputs = [blank_inputs(input_shape, 2, like=like), *(like.new_zeros(2, *shape) for shape in shapes[:-1])]
    known: dict[Hashable, StageMacs] = {}
    stages = [_macs(stage, zeros, known) for stage, zeros in zip(skeleton, inputs, strict=True)]
    _require_logits(shapes[-1], model, input_shape, classes)
    if not stages[-1].trainable:
        raise InputError(f"the last stage '{model.stage_names[-1]}' has no parameters: the server half could not train")
    heads = make_heads({tier: shapes[tier - 1] for tier in model.tiers}, classes, head, model.vocabulary)
    rows = [_tier_cost(tier, skeleton, shapes[tier - 1], heads[tier], stages, known, numerics) for tier in model.tiers]
    if model.vocabulary is not None:  # a label for each place
        rows = [replace(row, label_bytes=LABEL_BYTES * input_shape[0]) for row in rows]
    return TierTable(
        rows=tuple(rows),
        forward_macs=sum(stage.forward for stage in stages),
        train_macs=train_macs(stages),
        weight_bytes=state_bytes(skeleton.state_dict()),
        statistics_bytes=statistics_bytes(skeleton),
        modules=len(skeleton),
        module_macs=tuple(stage.forward for stage in stages),
    )


def _require_logits(shape: tuple[int, ...], model: StagedModel, input_shape: tuple[int, ...], classes: int) -> None:
    """Refuse a network that returns something else than the logits of its task."""
    of_classes = model.vocabulary is None
    wanted = (classes,) if of_classes else (*input_shape, model.vocabulary)
    if shape != wanted:
        each = "one value for each of the classes" if of_classes else "at each place one value for each token"
        raise InputError(f"the network returns {shape} for each input, expected {wanted}: {each}")


def _tier_cost(
    tier: int,
    skeleton: StagedModel,
    shape: tuple[int, ...],
    head: nn.Module,
    stages: Sequence[StageMacs],
    known: dict[Hashable, StageMacs],
    numerics: Numerics,
) -> TierCost:
    """Return the cost of a cut behind stage ``tier``, whose activations have this shape per input."""
    client, server = split(skeleton, tier)
    like = next(skeleton.parameters())
    head = head.to(device=like.device, dtype=numerics.weight_dtype)
    head_macs = _macs(head, like.new_zeros(2, *shape, dtype=numerics.weight_dtype), known)
    return TierCost(
        tier=tier,
        cut_shape=shape,
        client_params=_params(client),
        server_params=_params(server),
        head_params=_params(head),
        client_frozen=frozen_numbers(client),
        server_frozen=frozen_numbers(server),
        client_forward_macs=sum(stage.forward for stage in stages[:tier]),
        client_train_macs=train_macs([*stages[:tier], head_macs]),
        server_train_macs=train_macs(stages[tier:]),
        smashed_bytes=math.prod(shape) * numerics.wire_dtype.itemsize,
        label_bytes=LABEL_BYTES,
        weight_bytes=state_bytes(client.state_dict()) + state_bytes(head.state_dict()),
        head_bytes=state_bytes(head.state_dict()),
        head_forward_macs=head_macs.forward,
        chained_client_macs=train_macs(stages[:tier]),
        chained_server_macs=train_macs(stages[tier:], gradient_flows=True),
    )


class _Passing:
    """What parts make of their inputs, in shape and type: equal parts, as the blocks of a transformer, run once."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Tensor] = {}

    def __call__(self, part: nn.Module, inputs: Any) -> Any:
        if type(part) is nn.Sequential:
            for inner in part:
                inputs = self(inner, inputs)
            return inputs
        structure = structure_of(part)
        if structure is None or not isinstance(inputs, Tensor):
            return part(inputs)
        asked = (structure, tuple(inputs.shape), inputs.dtype)
        if asked not in self._made:
            made = part(inputs)
            if not isinstance(made, Tensor):
                return made
            self._made[asked] = made
        return torch.zeros_like(self._made[asked])


def _macs(stage: nn.Module, inputs: Tensor, known: dict[Hashable, StageMacs]) -> StageMacs:
    """Return the MACs of a stage; those of equal stages, and of equal parts of a chain, are counted once: ``known``."""
    structure = structure_of(stage)
    if structure is None:
        return stage_macs(stage, inputs)
    asked = (structure, tuple(inputs.shape), inputs.dtype)
    if asked not in known:
        known[asked] = _chain_macs(stage, inputs, known) if type(stage) is nn.Sequential else stage_macs(stage, inputs)
    return known[asked]


def _chain_macs(chain: nn.Sequential, inputs: Tensor, known: dict[Hashable, StageMacs]) -> StageMacs:
    """Return the MACs of parts that run one after the other, as merged stages do."""
    parts, passing = [], _Passing()
    for part in chain:
        parts.append(_macs(part, inputs, known))
        with torch.no_grad():
            inputs = passing(part, inputs)
    return StageMacs(
        forward=sum(part.forward for part in parts),
        inner=train_macs(parts, gradient_flows=True),
        first=train_macs(parts),
        trainable=any(part.trainable for part in parts),
    )


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""The cost of each tier of a network: parameters, MACs and bytes by analysis, seconds by measurement on this host.

MACs are multiply-accumulate operations of convolutions and matrix products as torch's flop counter sees them
(one MAC is two of its flops); normalisation, activation and optimiser work is not in them. The counter knows torch's
fused attention on some devices only, so attention is counted in its plain form, which does the same products.

A network on the meta device has shapes and types but no numbers: it is analysed there, whatever its size.
"""

import copy
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.staged import StagedModel, cut_shapes, split
from dtfl_private.models.heads import make_heads
from dtfl_private.models.inputs import blank_inputs
from dtfl_private.models.statistics import statistics_bytes
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.protocol.messages import state_bytes
from dtfl_private.randomness import isolated

LABEL_BYTES = torch.int64.itemsize


@dataclass(frozen=True, kw_only=True)
class TierCost:
    """What tier m costs. MACs and bytes are per image, but those of weights and statistics, which are per transfer.

    Attributes:
        tier: client modules m.
        cut_shape: shape of one image's smashed data.
        client_params: parameters of md1..md_m, without the auxiliary head.
        server_params: parameters of the remaining modules.
        head_params: parameters of the auxiliary head.
        client_forward_macs: of md1..md_m.
        client_train_macs: forward and backward of md1..md_m and the auxiliary head.
        server_train_macs: forward and backward of the server half.
        smashed_bytes: activations at the cut.
        label_bytes: the label.
        weight_bytes: parameters and buffers of md1..md_m and the head.
        head_bytes: parameters and buffers of the auxiliary head alone, within ``weight_bytes``.
        head_forward_macs: of the auxiliary head.
        chained_client_macs: forward and backward of md1..md_m when the gradient comes from the server.
        chained_server_macs: forward and backward of the server half when it returns that gradient.
        release_macs: forward passes on the client for what it sends apart from its training.
        gradient_bytes: gradients at the cut that the server returns.
        logit_bytes: logits that go either way beside smashed data.
        statistics_macs: the forward pass by which a client measures batch norm's statistics of the new global weights.
        statistics_bytes: the statistics that it then sends, per transfer; 0 where the method has no such pass.
        client_step_s: measured seconds of a client's training step per image, if measured.
        server_step_s: measured seconds of the server half's training step per image, if measured.
    """

    tier: int
    cut_shape: tuple[int, ...]
    client_params: int
    server_params: int
    head_params: int
    client_forward_macs: int
    client_train_macs: int
    server_train_macs: int
    smashed_bytes: int
    label_bytes: int
    weight_bytes: int
    head_bytes: int = 0
    head_forward_macs: int = 0
    chained_client_macs: int = 0
    chained_server_macs: int = 0
    release_macs: int = 0
    gradient_bytes: int = 0
    logit_bytes: int = 0
    statistics_macs: int = 0
    statistics_bytes: int = 0
    client_step_s: float | None = None
    server_step_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class TierTable:
    """The costs of all tiers of a network, ascending in m, and of the whole network.

    forward_macs, train_macs: of the whole network, per image; weight_bytes: its parameters and buffers;
    statistics_bytes: the means and variances of batch norm among them; modules: L; module_macs: forward MACs of each
    of the L modules.
    """

    rows: tuple[TierCost, ...]
    forward_macs: int
    train_macs: int = 0
    weight_bytes: int = 0
    statistics_bytes: int = 0
    modules: int = 0
    module_macs: tuple[int, ...] = ()

    @property
    def tiers_M(self) -> IntArray:
        """The tiers (client modules)."""
        return np.array([row.tier for row in self.rows], dtype=np.int64)

    def column(self, field: str) -> FloatArray:
        """Return one field of all rows as floats, in the order of ``tiers_M``."""
        return np.array([getattr(row, field) for row in self.rows], dtype=np.float64)

    def deepest(self, count: int) -> "TierTable":
        """Return the table of the ``count`` deepest cuts (dtfl section 1: with M < 7 keep the M deepest)."""
        if not 1 <= count <= len(self.rows):
            raise InputError(f"tiers {count} is out of range: this network has {len(self.rows)} tiers")
        return replace(self, rows=self.rows[-count:])

    def only(self, tiers: Collection[int]) -> "TierTable":
        """Return the table of those of its tiers that are among ``tiers``; they need not follow one another."""
        return replace(self, rows=tuple(row for row in self.rows if row.tier in tiers))


@dataclass(frozen=True, kw_only=True)
class _StageMacs:
    """MACs per image of one stage: forward; forward and backward; the same when its input needs no gradient."""

    forward: int
    inner: int
    first: int
    trainable: bool


def _stage_macs(stage: nn.Module, inputs: Tensor) -> _StageMacs:
    trainable = any(parameter.requires_grad for parameter in stage.parameters())
    forward, first = _count(stage, inputs, backward=trainable)
    inner = first
    if inputs.is_floating_point():  # no gradient flows to tokens
        needing_gradient = inputs.clone().requires_grad_().clone()  # no leaf: a stage may begin with an in-place ReLU
        _, inner = _count(stage, needing_gradient, backward=True)
    return _StageMacs(forward=forward, inner=inner, first=first, trainable=trainable)


def _count(stage: nn.Module, inputs: Tensor, *, backward: bool) -> tuple[int, int]:
    """Return the MACs per image of a forward pass, and of forward and backward together."""
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    with counter, sdpa_kernel(SDPBackend.MATH):
        outputs = stage(inputs)
        forward: int = counter.get_total_flops()
        if backward:
            outputs.backward(torch.ones_like(outputs))
    total: int = counter.get_total_flops()
    return forward // 2 // len(inputs), total // 2 // len(inputs)


def _convolution_backward(
    gradient_shape: Sequence[int],
    inputs_shape: Sequence[int],
    weight_shape: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: object,
    wanted: Sequence[bool],
    **_: object,
) -> int:
    """Return the flops of a convolution's gradients: each, to inputs and to weights, takes as many as the forward pass.

    torch's own formula leaves groups out of the gradient to the weights, which makes a depthwise convolution of C
    channels C times as dear as it is.
    """
    places = (inputs_shape if transposed else gradient_shape)[2:]
    forward = 2 * gradient_shape[0] * math.prod(places) * math.prod(weight_shape)
    return forward * sum(wanted[:2])


def _train_macs(stages: Sequence[_StageMacs], *, gradient_flows: bool = False) -> int:
    """Return the MACs of training a chain whose input needs no gradient, unless told that it does."""
    total = 0
    for stage in stages:
        total += stage.inner if gradient_flows else stage.first
        gradient_flows = gradient_flows or stage.trainable
    return total


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@isolated(0, "analyse")
def analyse(model: StagedModel, input_shape: tuple[int, ...], classes: int, numerics: Numerics) -> TierTable:
    """Return the cost table of a network by counting the operations of one training step; it is left as it was.

    Args:
        model: the network, on any device; on the meta device it may be larger than the memory.
        input_shape: shape of one input.
        classes: outputs of the auxiliary heads.
        numerics: gives the types of weights and of smashed data.

    Raises:
        InputError: the last stage has nothing to train, or a cut's shape does not suit the auxiliary heads.
    """
    # Otherwise on the CPU: on the meta device torch follows batch norm in Python, which takes several times longer.
    described = next(model.parameters(), torch.empty(0)).is_meta
    device, dtype = "meta" if described else "cpu", numerics.weight_dtype
    skeleton = copy.deepcopy(model).to(device=device, dtype=dtype)
    # Batches of two: batch norm refuses a single value.
    like = torch.empty(0, device=device, dtype=dtype)
    with torch.no_grad():
        shapes = cut_shapes(skeleton, blank_inputs(input_shape, 2, like=like))
    inputs = [blank_inputs(input_shape, 2, like=like), *(like.new_zeros(2, *shape) for shape in shapes[:-1])]
    stages = [_stage_macs(stage, zeros) for stage, zeros in zip(skeleton, inputs, strict=True)]
    if shapes[-1] != (classes,):
        raise InputError(
            f"the network returns {shapes[-1]} for each input, expected {(classes,)}: one value for each of the classes"
        )
    if not stages[-1].trainable:
        raise InputError(f"the last stage '{model.stage_names[-1]}' has no parameters: the server half could not train")
    heads = make_heads({tier: shapes[tier - 1] for tier in model.tiers}, classes)
    rows = []
    for tier in model.tiers:
        client, server = split(skeleton, tier)
        shape, head = shapes[tier - 1], heads[tier].to(device=device, dtype=dtype)
        head_macs = _stage_macs(head, like.new_zeros(2, *shape))
        rows.append(
            TierCost(
                tier=tier,
                cut_shape=shape,
                client_params=_params(client),
                server_params=_params(server),
                head_params=_params(head),
                client_forward_macs=sum(stage.forward for stage in stages[:tier]),
                client_train_macs=_train_macs([*stages[:tier], head_macs]),
                server_train_macs=_train_macs(stages[tier:]),
                smashed_bytes=math.prod(shape) * numerics.wire_dtype.itemsize,
                label_bytes=LABEL_BYTES,
                weight_bytes=state_bytes(client.state_dict()) + state_bytes(head.state_dict()),
                head_bytes=state_bytes(head.state_dict()),
                head_forward_macs=head_macs.forward,
                chained_client_macs=_train_macs(stages[:tier]),
                chained_server_macs=_train_macs(stages[tier:], gradient_flows=True),
            )
        )
    return TierTable(
        rows=tuple(rows),
        forward_macs=sum(stage.forward for stage in stages),
        train_macs=_train_macs(stages),
        weight_bytes=state_bytes(skeleton.state_dict()),
        statistics_bytes=statistics_bytes(skeleton),
        modules=len(skeleton),
        module_macs=tuple(stage.forward for stage in stages),
    )


@isolated(0, "measure")
def measure(
    table: TierTable,
    model: StagedModel,
    input_shape: tuple[int, ...],
    classes: int,
    numerics: Numerics,
    *,
    batch_size: int,
    repeats: int,
) -> TierTable:
    """Return the table with the median seconds per image of the training steps, measured on this host.

    The optimiser's step is included. One warm-up step, then ``repeats`` timed ones, for each half of each tier.

    Raises:
        InputError: the network is on the meta device.
    """
    if next(model.parameters()).is_meta:
        raise InputError("a network without weights (on the meta device) cannot be measured: ask for 0 repeats")
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(batch_size, *input_shape, generator=generator)
    # Zeros are tokens of every vocabulary, and looking them up takes as long as others.
    blank = blank_inputs(input_shape, batch_size, like=drawn)
    inputs = numerics.place_images(drawn if blank.is_floating_point() else blank)
    labels = torch.randint(classes, (batch_size,), generator=generator).to(numerics.device)
    resident = numerics.place(copy.deepcopy(model))
    heads = make_heads({row.tier: row.cut_shape for row in table.rows}, classes)
    rows = []
    for row in table.rows:
        client, server = split(resident, row.tier)
        with torch.no_grad(), numerics.autocast():
            smashed = client(inputs).to(numerics.wire_dtype)
        trained_client = nn.Sequential(client, numerics.place(heads[row.tier]))
        rows.append(
            replace(
                row,
                client_step_s=_step_s(trained_client, inputs, labels, numerics, repeats) / batch_size,
                server_step_s=_step_s(server, smashed, labels, numerics, repeats) / batch_size,
            )
        )
    return replace(table, rows=tuple(rows))


def _step_s(module: nn.Module, inputs: Tensor, labels: Tensor, numerics: Numerics, repeats: int) -> float:
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    module.train()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with numerics.autocast():
            loss = F.cross_entropy(module(inputs), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        loss.item()  # on an accelerator, wait for the step to be done
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))

"""The cost of each tier of a network: parameters, MACs and bytes by analysis, seconds by measurement on this host.

MACs are multiply-accumulate operations of convolutions and matrix products as torch's flop counter sees them
(one MAC is two of its flops); normalisation, activation and optimiser work is not in them.
"""

import copy
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dtfl_private.contracts import FloatArray, IntArray
from dtfl_private.errors import InputError
from dtfl_private.messages import state_bytes
from dtfl_private.models.heads import make_heads
from dtfl_private.models.staged import StagedModel, cut_shapes, split
from dtfl_private.numerics import Numerics

LABEL_BYTES = torch.int64.itemsize


@dataclass(frozen=True, kw_only=True)
class TierCost:
    """What tier m costs. MACs and bytes are per image, but ``weight_bytes``, which is per transfer.

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
    client_step_s: float | None = None
    server_step_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class TierTable:
    """The costs of all tiers of a network, ascending in m; ``forward_macs`` is the whole network's, per image."""

    rows: tuple[TierCost, ...]
    forward_macs: int

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


def _macs(module: nn.Module, inputs: Tensor, *, backward: bool) -> int:
    """Return MACs per image of a forward pass, or of forward and backward, on the meta device."""
    counter = FlopCounterMode(display=False)
    with counter:
        outputs = module(inputs)
        if backward:
            outputs.backward(torch.ones_like(outputs))
    flops: int = counter.get_total_flops()
    return flops // 2 // len(inputs)


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def analyse(model: StagedModel, input_shape: tuple[int, ...], classes: int, numerics: Numerics) -> TierTable:
    """Return the analytic cost table of a network: nothing is computed, shapes alone are followed.

    Args:
        model: the network, on any device.
        input_shape: shape of one input.
        classes: outputs of the auxiliary heads.
        numerics: gives the types of weights and of smashed data.
    """
    # On the meta device tensors have shapes but no data. Batches of two: batch norm refuses a single value.
    skeleton = copy.deepcopy(model).to(device="meta", dtype=numerics.weight_dtype)
    inputs = torch.empty(2, *input_shape, device="meta", dtype=numerics.weight_dtype)
    with torch.no_grad():
        shapes = cut_shapes(skeleton, inputs)
    heads = make_heads({tier: shapes[tier - 1] for tier in model.tiers}, classes)
    rows = []
    for tier in model.tiers:
        client, server = split(skeleton, tier)
        head = heads[tier].to(device="meta", dtype=numerics.weight_dtype)
        smashed = torch.empty(2, *shapes[tier - 1], device="meta", dtype=numerics.weight_dtype)
        rows.append(
            TierCost(
                tier=tier,
                cut_shape=shapes[tier - 1],
                client_params=_params(client),
                server_params=_params(server),
                head_params=_params(head),
                client_forward_macs=_macs(client, inputs, backward=False),
                client_train_macs=_macs(nn.Sequential(client, head), inputs, backward=True),
                server_train_macs=_macs(server, smashed, backward=True),
                smashed_bytes=int(np.prod(shapes[tier - 1])) * numerics.wire_dtype.itemsize,
                label_bytes=LABEL_BYTES,
                weight_bytes=state_bytes(client.state_dict()) + state_bytes(head.state_dict()),
            )
        )
    return TierTable(rows=tuple(rows), forward_macs=_macs(skeleton, inputs, backward=False))


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
    """
    generator = torch.Generator().manual_seed(0)
    inputs = numerics.place_images(torch.randn(batch_size, *input_shape, generator=generator))
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

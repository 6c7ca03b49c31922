"""Seconds of training steps, measured on this host."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.errors import InputError
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, split
from dtfl_private.models.heads import make_heads
from dtfl_private.models.input_kinds import blank_inputs
from dtfl_private.models.next_token import task_loss
from dtfl_private.models.setting_types import HeadSize
from dtfl_private.numerics import Numerics
from dtfl_private.randomness import isolated
from dtfl_private.simulation.costs.table import TierTable


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
    head: HeadSize = "paper",
) -> TierTable:
    """Return the table with the median seconds per image of the training steps, measured on this host.

    The optimiser's step is included, and the client halves have auxiliary heads of the size ``head``. One warm-up step,
    then ``repeats`` timed ones, for each half of each tier.

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
    labels = drawn_labels(model, input_shape, classes, batch_size, generator).to(numerics.device)
    resident = numerics.place(copied(model))
    heads = make_heads({row.tier: row.cut_shape for row in table.rows}, classes, head, model.vocabulary)
    rows = []
    for row in table.rows:
        client, server = split(resident, row.tier)
        with torch.no_grad(), numerics.autocast():
            smashed = client(inputs).to(numerics.wire_dtype)
        trained_client = nn.Sequential(client, numerics.place(heads[row.tier]))
        rows.append(
            replace(
                row,
                client_step_s=step_s(trained_client, inputs, labels, numerics, repeats) / batch_size,
                server_step_s=step_s(server, smashed, labels, numerics, repeats) / batch_size,
            )
        )
    return replace(table, rows=tuple(rows))


def drawn_labels(
    model: StagedModel, input_shape: tuple[int, ...], classes: int, batch_size: int, generator: torch.Generator
) -> Tensor:
    """Return labels to measure steps with: (B,) classes, or of a language model (B, T) tokens."""
    if model.vocabulary is None:
        return torch.randint(classes, (batch_size,), generator=generator)
    return torch.randint(model.vocabulary, (batch_size, *input_shape), generator=generator)


def step_s(
    module: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    numerics: Numerics,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median seconds of a training step, by a clock that is read when the step is done."""
    optimizer = EagerAdam(module.parameters(), fused=True)
    module.train()
    seconds = []
    for _ in range(repeats + 1):
        start = clock()
        with numerics.autocast():
            loss = task_loss(module(inputs), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        loss.item()  # on an accelerator, wait for the step to be done
        seconds.append(clock() - start)
    return float(np.median(seconds[1:]))

"""The operators and the memory of each stage of a network, of its auxiliary heads, and of the loss."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.frozen import frozen_bytes, frozen_numbers
from dtfl_private.models.heads import make_heads
from dtfl_private.models.input_kinds import blank_inputs
from dtfl_private.models.setting_types import HeadSize
from dtfl_private.models.structure import structure_of
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import state_bytes
from dtfl_private.randomness import isolated
from dtfl_private.simulation.costs.noting import DTYPES, LARGE, PRODUCTS, SMALL, Noted, noted_by, per_image
from dtfl_private.simulation.costs.operators import (
    NO_OPERATORS,
    PRECISIONS,
    KeptBytes,
    NetworkOperators,
    Operators,
    StageOperators,
)

# Networks whose structure is known, the latest last: opening a run asks for the same one several times.
_KNOWN: OrderedDict[Hashable, NetworkOperators] = OrderedDict()
MOST_KNOWN = 16


def network_operators(
    model: StagedModel, input_shape: tuple[int, ...], classes: int, numerics: Numerics, head: HeadSize = "paper"
) -> NetworkOperators:
    """Return the operators of a network's training step, found by running it on a few blank inputs on the CPU.

    A network on the meta device is followed there, without any numbers; its products are then taken to be in the run's
    precision.

    Args:
        model: the network; it is left as it was.
        input_shape: shape of one input.
        classes: number of classes.
        numerics: precision and memory format.
        head: size of the auxiliary heads.

    Raises:
        InputError: a stage runs other operators on batches of another size.
    """
    structure = structure_of(model)
    asked = (structure, input_shape, classes, numerics.precision, numerics.memory_format, head)
    found = _KNOWN.pop(asked, None) if structure is not None else None
    found = found or _followed(model, input_shape, classes, numerics, head)
    if structure is not None:
        _KNOWN[asked] = found
        if len(_KNOWN) > MOST_KNOWN:
            _KNOWN.popitem(last=False)
    return found


@isolated(0, "operators")
def _followed(
    model: StagedModel, input_shape: tuple[int, ...], classes: int, numerics: Numerics, size: HeadSize
) -> NetworkOperators:
    described = next(model.parameters(), torch.empty(0)).is_meta
    on_cpu = replace(numerics, device="meta" if described else "cpu")
    skeleton = on_cpu.place(copied(model)).train()
    like = torch.empty(0, device=on_cpu.device, dtype=on_cpu.weight_dtype)
    inputs = [on_cpu.place_images(blank_inputs(input_shape, count, like=like)) for count in (SMALL, LARGE)]
    follower = _Follower(numerics=on_cpu, partly=frozen_numbers(skeleton) > 0)
    stages, heads = [], {}
    for tier, (name, stage) in enumerate(skeleton.named_children(), start=1):
        following, inputs = follower.follow(stage, inputs, f"stage '{name}'")
        stages.append(following)
        if tier in model.tiers:
            (head,) = make_heads({tier: tuple(inputs[0].shape[1:])}, classes, size, model.vocabulary).values()
            heads[tier], _ = follower.follow(on_cpu.place(head), inputs, "the auxiliary head")
    return NetworkOperators(
        stages=stages,
        heads=heads,
        loss=_loss(inputs),
        input_bytes=inputs_bytes(input_shape, on_cpu),
        weight_precision=PRECISIONS.index(DTYPES[on_cpu.weight_dtype]),
    )


def inputs_bytes(input_shape: tuple[int, ...], numerics: Numerics) -> int:
    """Return the bytes of one input as it lies in a device's memory."""
    one = blank_inputs(input_shape, 1, like=torch.empty(0, dtype=numerics.weight_dtype))
    return one.numel() * one.element_size()


@dataclass(frozen=True, kw_only=True)
class _Follower:
    """Runs stages and notes what they do; equal stages are run once.

    ``partly``: whether the network has frozen weights, so that a stage behind others may get no gradient to its input.
    """

    numerics: Numerics
    partly: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", {})

    def follow(self, stage: nn.Module, inputs: Sequence[Tensor], what: str) -> tuple[StageOperators, list[Tensor]]:
        """Return a stage's operators, and its outputs for the inputs of the two sizes."""
        structure = structure_of(stage)
        asked = (structure, tuple(inputs[0].shape), inputs[0].dtype, inputs[0].stride())
        known: dict[Hashable, Any] = self._known  # type: ignore[attr-defined] # set past the frozen dataclass
        if structure is not None and asked in known:
            operators, shape, dtype, layout = known[asked]
            return operators, [_blank(one, shape, dtype, layout) for one in inputs]
        operators, outputs = self._run(stage, inputs, what)
        if structure is not None:
            known[asked] = (operators, outputs[0].shape[1:], outputs[0].dtype, _layout(outputs[0]))
        return operators, outputs

    def _run(self, stage: nn.Module, inputs: Sequence[Tensor], what: str) -> tuple[StageOperators, list[Tensor]]:
        trained = [one for one in stage.parameters() if one.requires_grad]
        runs = [self._both_passes(stage, one, needs_gradient=False, trained=trained) for one in inputs]
        small, large = runs
        forward, first = (per_image(small[part], large[part], what) for part in ("forward", "all"))
        inner = first
        if inputs[0].is_floating_point():
            few, many = (self._both_passes(stage, one, needs_gradient=True, trained=trained)["all"] for one in inputs)
            inner = per_image(few, many, what)
        kept = kept_first = [self._kept(stage, one, flows=True) for one in inputs]
        if self.partly:  # else next to nothing depends on it
            kept_first = [self._kept(stage, one, flows=False) for one in inputs]
        return (
            StageOperators(
                forward=forward,
                first=first,
                inner=inner,
                kept=_kept_bytes(kept, inputs),
                kept_first=_kept_bytes(kept_first, inputs),
                weight_bytes=state_bytes(stage.state_dict()) + frozen_bytes(stage),
                trained_bytes=sum(one.numel() * one.element_size() for one in trained),
                tensors=len(trained),
            ),
            [run["output"] for run in runs],
        )

    def _both_passes(
        self, stage: nn.Module, inputs: Tensor, *, needs_gradient: bool, trained: Sequence[Tensor]
    ) -> dict[str, Any]:
        """Run a stage forward, and backward if there is anything to train; return what ran, and the output."""
        given = inputs.clone().requires_grad_().clone() if needs_gradient else inputs.clone()
        made: list[Tensor] = []

        def forward() -> None:
            with self._precisely():
                made.append(stage(given))

        passed = self._noted(forward)
        back: list[Noted] = []
        if needs_gradient or trained:
            gradient = torch.ones_like(made[0])
            back = self._noted(lambda: torch.autograd.backward(made[0], gradient))
        for one in trained:
            one.grad = None
        return {"forward": passed, "all": [*passed, *back], "output": made[0].detach()}

    def _noted(self, run: Any) -> list[Noted]:
        noted = noted_by(run)
        if self.numerics.device != "meta" or self.numerics.precision != "bf16":
            return noted
        products = set(PRODUCTS.values()) | {"pointwise-conv", "depthwise-conv"}
        return [
            replace(one, precision="bf16", moved_bytes=one.moved_bytes // 2) if one.kind in products else one
            for one in noted
        ]

    def _precisely(self) -> Any:
        # Autocast knows no meta device; what it would do is put in afterwards.
        return nullcontext() if self.numerics.device == "meta" else self.numerics.autocast()

    def _kept(self, stage: nn.Module, inputs: Tensor, *, flows: bool) -> tuple[int, bool, bool]:
        """Return the bytes that autograd keeps of a forward pass, without weights and input; whether also of these.

        ``flows``: whether a gradient goes to the input.
        """
        given = inputs.clone()
        if flows and given.is_floating_point():
            given = given.requires_grad_().clone()
        own = {one.untyped_storage()._cdata for one in [*stage.parameters(), *stage.buffers()]}
        kept: dict[int, Any] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), self._precisely():
            output = stage(given)
        of_input = given.untyped_storage()._cdata
        sizes = {place: storage.nbytes() for place, storage in kept.items() if place not in own}
        keeps_input = sizes.pop(of_input, None) is not None
        return sum(sizes.values()), keeps_input, output.untyped_storage()._cdata in sizes


def _kept_bytes(kept: Sequence[tuple[int, bool, bool]], inputs: Sequence[Tensor]) -> KeptBytes:
    (small, keeps_input, keeps_output), (large, _, _) = kept
    image = (large - small) / (LARGE - SMALL)
    of_input = inputs[0].numel() * inputs[0].element_size() / SMALL
    return KeptBytes(
        image=image,
        step=max(0.0, small - SMALL * image),
        input_image=of_input if keeps_input else 0.0,
        keeps_output=keeps_output,
    )


def _layout(tensor: Tensor) -> torch.memory_format:
    spread = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if spread and not tensor.is_contiguous() else torch.contiguous_format


def _blank(like: Tensor, shape: Sequence[int], dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    return torch.zeros(len(like), *shape, dtype=dtype, device=like.device).contiguous(memory_format=layout)


def _loss(logits: Sequence[Tensor]) -> Operators:
    """Return the operators of cross entropy on these logits, forward and backward."""
    if logits[0].ndim not in (2, 3):
        return NO_OPERATORS

    def trained(one: Tensor) -> list[Noted]:
        given = one.detach().float().flatten(0, -2).requires_grad_()
        labels = torch.zeros(len(given), dtype=torch.int64, device=one.device)
        return noted_by(lambda: torch.autograd.backward(F.cross_entropy(given, labels)))

    small, large = map(trained, logits)
    return per_image(small, large, "the loss")

"""Any module to a staged model without hand work: find where it can be cut, count the work, choose."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.cuts import choose_cuts
from dtfl_private.models.cutting.staged import StagedModel, numbered
from dtfl_private.models.cutting.tracing import cut_points, stages_behind, trace
from dtfl_private.models.input_kinds import blank_inputs
from dtfl_private.models.mac_counter import MacCounter
from dtfl_private.models.structure import structure_of

Cuts = Literal["auto", "all"] | Annotated[int, Field(ge=1)]
"""How many cuts: a number, all that there are, or "auto": the seven of the DTFL paper, or all where there are fewer."""

PAPERS_CUTS = 7

# Auxiliary heads take images (channels, height, width) and sequences (tokens, width).
CUT_RANKS = (2, 3)


def cut_automatically(
    module: nn.Module, input_shape: tuple[int, ...], cuts: Cuts = "auto", *, first_kept: bool = False
) -> StagedModel:
    """Cut a module where `choose_cuts` says, by forward MACs and activations in the module's own type.

    Args:
        module: a StagedModel, whose stages are merged, or any network that `trace` can follow.
        input_shape: shape of one input.
        cuts: how many.
        first_kept: whether the first place of all is one of them: of a StagedModel, behind its first stage.

    Raises:
        InputError: the network cannot be run on such inputs, or not cut so often.
    """
    if not isinstance(module, StagedModel):
        found = _good_places(module, input_shape)
        places = found.places
        count = _how_many(cuts, len(places))
        if count != len(places):
            total = places[-1].macs_in_all
            macs, widths = [one.macs for one in places], [one.width for one in places]
            places = [places[index] for index in choose_cuts(macs, widths, total, count, first_kept=first_kept)]
        return stages_behind(module, [one.name for one in places], found.whole)
    candidates = len(module) - 1
    count = _how_many(cuts, candidates)
    if count == candidates:
        return module
    macs, shapes = _forward(module, input_shape)
    work = list(accumulate(macs[:-1]))
    widths = [shape.numel() for shape in shapes[:-1] if shape is not None]
    if len(widths) != candidates:
        raise InputError(
            f"stage {shapes.index(None) + 1} of the network does not return a tensor: merge it with the next"
        )
    chosen = choose_cuts(work, widths, sum(macs), count, first_kept=first_kept)
    return merged(module, [place + 1 for place in chosen])


def _how_many(cuts: Cuts, candidates: int) -> int:
    return int({"all": candidates, "auto": min(PAPERS_CUTS, candidates)}.get(str(cuts), cuts))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A place to cut at: the submodule's name, forward MACs up to it and in all, and values of the tensor there."""

    name: str
    macs: int
    macs_in_all: int
    width: int


def good_cuts(module: nn.Module, input_shape: tuple[int, ...]) -> list[str]:
    """Return the submodules behind which a cut makes sense, in order of execution.

    Of places between which no MACs lie (behind a convolution, its norm, its activation, a pooling), the narrowest is
    kept, and of equally narrow ones the last: it is the same cut for the work, and the cheapest to send. A cut's tensor
    must be an image or a sequence, since the auxiliary heads take no others.

    Raises:
        InputError: there is no such place.
    """
    return [place.name for place in _good_places(module, input_shape).places]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The places of a network, and its submodules that are kept whole; see `trace`."""

    places: list[_Place]
    whole: Mapping[str, str]


# Those of networks whose structure is known, the latest last: a run and its audit build the same one several times.
_KNOWN: OrderedDict[Hashable, _Found] = OrderedDict()
MOST_KNOWN = 16


def _good_places(module: nn.Module, input_shape: tuple[int, ...]) -> _Found:
    structure = structure_of(module)
    if structure is None:
        return _looked_for(module, input_shape)
    first: dict[int, int] = {}  # tensors that are used twice are on one side of a cut
    shared = tuple(
        first.setdefault(id(one), place)
        for place, (_, one) in enumerate(module.named_parameters(remove_duplicate=False))
    )
    asked = (structure, shared, input_shape)
    found = _KNOWN.pop(asked, None) or _looked_for(module, input_shape)
    _KNOWN[asked] = found
    if len(_KNOWN) > MOST_KNOWN:
        _KNOWN.popitem(last=False)
    return found


def _looked_for(module: nn.Module, input_shape: tuple[int, ...]) -> _Found:
    traced = trace(module)
    names = cut_points(traced)
    everywhere = stages_behind(module, names, traced.whole)
    macs, shapes = _forward(everywhere, input_shape)
    kept: list[_Place] = []
    fresh = False  # whether there was work since the last place that was kept
    for name, stage, work, before, shape in zip(names, everywhere, macs, accumulate(macs), shapes, strict=False):
        embeds = not kept and any(True for _ in stage.parameters())  # looking up embeddings takes no MACs
        fresh = fresh or work > 0 or embeds
        if shape is None or len(shape) not in CUT_RANKS:
            continue
        place = _Place(name=name, macs=before, macs_in_all=sum(macs), width=shape.numel())
        if fresh:
            kept.append(place)
        elif kept and place.width <= kept[-1].width:
            kept[-1] = place
        else:
            continue
        fresh = False
    while kept and kept[-1].macs == sum(macs):
        kept.pop()  # the server half would have nothing to train
    if not kept:
        raise InputError(
            f"{type(module).__name__} has no place to cut it at: nowhere does a single tensor of shape "
            "(channels, height, width) or (tokens, width) pass from one submodule to the next"
        )
    return _Found(places=kept, whole=traced.whole)


def merged(model: StagedModel, tiers: list[int]) -> StagedModel:
    """Return a staged model that keeps only the cuts of these tiers, ascending; it shares the parameters."""
    stages = list(model)
    groups = [stages[start:stop] for start, stop in zip([0, *tiers], [*tiers, len(stages)], strict=True)]
    return numbered([group[0] if len(group) == 1 else nn.Sequential(*group) for group in groups])


def _forward(model: StagedModel, input_shape: tuple[int, ...]) -> tuple[list[int], list[torch.Size | None]]:
    """Return each stage's forward MACs for one input, and the shape of what it returns of one: None of no tensor."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    like = next(model.parameters(), torch.empty(0))
    values: Tensor = blank_inputs(input_shape, 2, like=like)
    macs: list[int] = []
    shapes: list[torch.Size | None] = []
    known: dict[Hashable, tuple[int, Tensor]] = {}  # of equal stages, as the blocks of a transformer are
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            for stage in model:
                work, values = _counted(stage, values, known)
                macs.append(work)
                shapes.append(values.shape[1:] if isinstance(values, Tensor) else None)
    except Exception as error:  # a user's forward may raise anything; it becomes one line
        reason = " ".join(str(error).split())
        raise InputError(f"the network cannot be run on inputs of shape {input_shape}: {reason}") from None
    finally:
        for part, training in modes:
            part.training = training
    if shapes[-1] is None:
        raise InputError(f"the network returns a {type(values).__name__}, expected a tensor of class scores")
    return macs, shapes


def _counted(stage: nn.Module, values: Tensor, known: dict[Hashable, tuple[int, Tensor]]) -> tuple[int, Any]:
    """Return a stage's forward MACs for one input, and what it returns; equal stages are run once."""
    structure = structure_of(stage) if isinstance(values, Tensor) else None
    asked = None if structure is None else (structure, values.shape, values.dtype)
    if asked is not None and asked in known:
        macs, alike = known[asked]
        return macs, torch.zeros_like(alike)
    with MacCounter() as counter:
        returned = stage(values)
    macs = counter.macs // 2
    if asked is not None and isinstance(returned, Tensor):
        known[asked] = (macs, returned)
    return macs, returned

"""From a specification to an initialised network."""

from functools import partial
from typing import Any

import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.automatic import cut_automatically
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.frozen import frozen_numbers
from dtfl_private.models.norms import Norm
from dtfl_private.models.shapes.mode import ShapeRules
from dtfl_private.models.unfilled import Unfilled
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.specification import is_object_path
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import isolated

# Parameters from which on a network is only described for `profile` and `plan`: 400 MB of weights in float32.
LARGE = 100_000_000


def build_model(
    text: str,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,
    seed: int,
    allowed: Allowed = NOTHING_ALLOWED,
    tokens: Vocabulary | None = None,
) -> StagedModel:
    """Build the network that ``text`` names, with initial weights that depend on ``seed`` alone.

    Args:
        text: ``NAME[:key=value,...]``, or ``package.module:function[:key=value,...]`` for a user's own, which may be
            any module: one that is not a StagedModel is cut automatically.
        input_shape: shape of one input: (channels, height, width), or (length,) for tokens.
        classes: number of classes.
        norm: kind of normalisation.
        seed: of the initial weights.
        allowed: what ``text`` may name by its module.
        tokens: which numbers are tokens; None of images, and where that is not known.

    Raises:
        InputError: unknown name, an object that is not allowed, inputs that the network does not take, or a network
            that cannot be cut.
    """
    with isolated(seed, "model"):
        about = {"input_shape": input_shape, "classes": classes, "norm": norm, "tokens": tokens}
        model = create("model", text, allowed=allowed, **about)
    if is_object_path("model", text):
        return as_staged(model, input_shape)
    if not isinstance(model, StagedModel) or not model.tiers:
        raise InputError(f"model '{text}' is not a StagedModel of at least two stages")
    return model


def as_staged(model: nn.Module, input_shape: tuple[int, ...]) -> StagedModel:
    """Return a StagedModel as it is, and any other module cut automatically.

    Raises:
        InputError: it cannot be cut.
    """
    if not isinstance(model, StagedModel):
        return cut_automatically(model, input_shape)
    if not model.tiers:
        raise InputError("the network is not a StagedModel of at least two stages")
    return model


def build_description(
    text: str,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,
    seed: int,
    allowed: Allowed = NOTHING_ALLOWED,
    tokens: Vocabulary | None = None,
) -> StagedModel:
    """Build a network to be analysed only: on the meta device, without any weights, if it is large.

    Arguments and errors as those of `build_model`. A network that cannot be built on the meta device is built as it is.
    """
    settings: dict[str, Any] = {"input_shape": input_shape, "classes": classes, "norm": norm, "seed": seed}
    settings["tokens"] = tokens
    build = partial(build_model, text, allowed=allowed, **settings)
    if not is_object_path("model", text):
        try:
            with torch.device("meta"), Unfilled(), ShapeRules():
                model = build()
            if sum(parameter.numel() for parameter in model.parameters()) + frozen_numbers(model) >= LARGE:
                return model
        except (RuntimeError, NotImplementedError):  # it computes with weights while it is built; meta ones hold none
            pass  # it is built below
    return build()

"""From a specification to an initialised network."""

from functools import partial

import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.automatic import cut_automatically
from dtfl_private.models.norms import Norm
from dtfl_private.models.staged import StagedModel
from dtfl_private.plugins import create, is_object_path
from dtfl_private.randomness import isolated

# Parameters from which on a network is only described for `profile` and `plan`: 400 MB of weights in float32.
LARGE = 100_000_000


def build_model(text: str, *, input_shape: tuple[int, ...], classes: int, norm: Norm, seed: int) -> StagedModel:
    """Build the network that ``text`` names, with initial weights that depend on ``seed`` alone.

    Args:
        text: ``NAME[:key=value,...]``, or ``package.module:function[:key=value,...]`` for a user's own, which may be
            any module: one that is not a StagedModel is cut automatically.
        input_shape: shape of one input: (channels, height, width), or (length,) for tokens.
        classes: number of classes.
        norm: kind of normalisation.
        seed: of the initial weights.

    Raises:
        InputError: unknown name, inputs that the network does not take, or a network that cannot be cut.
    """
    with isolated(seed, "model"):
        model = create("model", text, input_shape=input_shape, classes=classes, norm=norm)
    if is_object_path("model", text):
        if not isinstance(model, nn.Module):
            raise InputError(f"model '{text}' returned a {type(model).__name__}, expected a torch.nn.Module")
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


def build_description(text: str, *, input_shape: tuple[int, ...], classes: int, norm: Norm, seed: int) -> StagedModel:
    """Build a network to be analysed only: on the meta device, without any weights, if it is large.

    Arguments and errors as those of `build_model`. A network that cannot be built on the meta device is built as it is.
    """
    build = partial(build_model, text, input_shape=input_shape, classes=classes, norm=norm, seed=seed)
    if not is_object_path("model", text):
        try:
            with torch.device("meta"):
                model = build()
            if sum(parameter.numel() for parameter in model.parameters()) >= LARGE:
                return model
        except (RuntimeError, NotImplementedError):  # it computes with weights while it is built; meta ones hold none
            pass  # it is built below
    return build()

"""From a specification to an initialised network."""

from dtfl_private.errors import InputError
from dtfl_private.models.norms import Norm
from dtfl_private.models.staged import StagedModel
from dtfl_private.plugins import create
from dtfl_private.randomness import isolated

# Two halvings must leave more than one pixel: batch norm cannot train on a single value per channel.
SMALLEST_SIDE = 8


def build_model(text: str, *, input_shape: tuple[int, ...], classes: int, norm: Norm, seed: int) -> StagedModel:
    """Build the network that ``text`` names, with initial weights that depend on ``seed`` alone.

    Args:
        text: ``NAME[:key=value,...]``.
        input_shape: shape of one input (channels, height, width).
        classes: number of classes.
        norm: kind of normalisation.
        seed: of the initial weights.

    Raises:
        InputError: unknown name, or inputs too small for the network.
    """
    if min(input_shape[1:]) < SMALLEST_SIDE:
        raise InputError(
            f"images of {input_shape[1]}x{input_shape[2]} are too small: at least {SMALLEST_SIDE}x{SMALLEST_SIDE}"
        )
    with isolated(seed, "model"):
        model = create("model", text, input_shape=input_shape, classes=classes, norm=norm)
    if not isinstance(model, StagedModel) or not model.tiers:
        raise InputError(f"model '{text}' is not a StagedModel of at least two stages")
    return model

"""Profile: what each tier of a network costs."""

from dtfl_private.models.staged import StagedModel
from dtfl_private.numerics import Numerics
from dtfl_private.runtime.device import one_thread
from dtfl_private.tiers.table import TierTable, analyse, measure


def profile(
    model: StagedModel,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    numerics: Numerics | None = None,
    batch_size: int = 32,
    repeats: int = 0,
) -> TierTable:
    """Return the cost table of a network; it is left as it was.

    Args:
        model: the network.
        input_shape: shape of one input (channels, height, width).
        classes: outputs of the auxiliary heads.
        numerics: device and precision; float32 on the CPU by default.
        batch_size: images per batch of the measured steps.
        repeats: timed steps per half and tier, on one CPU thread; 0 measures nothing.
    """
    numerics = numerics or Numerics()
    table = analyse(model, input_shape, classes, numerics)
    if repeats == 0:
        return table
    with one_thread():
        return measure(table, model, input_shape, classes, numerics, batch_size=batch_size, repeats=repeats)

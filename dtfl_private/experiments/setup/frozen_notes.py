"""What a run says of weights that are never trained."""

from collections.abc import Sequence

from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.frozen import frozen_numbers


def frozen_notes(model: StagedModel) -> Sequence[str]:
    """Return what is frozen in a network, and that nothing said of released weights is of it; no line without any."""
    frozen = frozen_numbers(model)
    if not frozen:
        return ()
    trained = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"frozen: {frozen:,} weights of the network are never trained or sent, and are taken for public; updates of "
        f"weights, and any epsilon of them, are of the other {trained:,} and of auxiliary heads alone, and say nothing "
        "of the data that the frozen ones come from",
    )

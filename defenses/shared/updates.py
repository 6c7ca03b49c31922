"""A client's weight update as the change it is: what the defenses of outgoing weights share."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from dtfl_private.defenses.shared.precision import working
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import ModelDownload, WeightUpdate


def download_of(at: ClientRound) -> ModelDownload:
    """Return the weights that the round began with."""
    if at.download is None:
        raise ValueError("a defense of weights needs at.download")
    return at.download


def changes(message: WeightUpdate, download: ModelDownload) -> list[Tensor]:
    """Return by how much each floating-point tensor of weights and head differs from the download."""
    pairs = [
        (new, old[name].to(new.device))
        for state, old in ((message.weights, download.weights), (message.head, download.head))
        for name, new in state.items()
        if new.is_floating_point()
    ]
    return [working(new) - working(old) for new, old in pairs]


def rewritten(message: WeightUpdate, rewrite: Callable[[Tensor, Tensor], Tensor], at: ClientRound) -> WeightUpdate:
    """Return the update with ``rewrite(new, old)`` in the place of each floating-point tensor of weights and head.

    Buffers are among them; counters, which are whole numbers, stay. Variances stay non-negative.
    """
    download = download_of(at)

    def state(new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: one(name, tensor, old[name]) for name, tensor in new.items()}

    def one(name: str, new: Tensor, old: Tensor) -> Tensor:
        if not new.is_floating_point():
            return new
        changed = rewrite(working(new), working(old.to(new.device)))
        # A batch norm divides by the root of its running variance.
        return (changed.clamp(min=0) if name.endswith("running_var") else changed).to(new.dtype)

    return replace(message, weights=state(message.weights, download.weights), head=state(message.head, download.head))

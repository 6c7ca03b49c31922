"""What the known program makes of candidates, and how alike that is to what clients sent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacking.program import ClientProgram

# Random batches that each candidate is run in: batch norm makes its activations depend on the others of a batch.
TURNS = 2
# A deviation is never taken for smaller than this share of the activations' variance.
FLOOR = 1e-3
# Candidates compared at a time.
CHUNK = 512

Form = Callable[[Tensor], Tensor]
"""From activations (N, *cut shape) to what is compared, (N, D)."""


Way = Literal["forward", "message", "expected"]
"""Of templates: the forward pass, with what defenses draw in it; the whole way of a message, with fresh draws; or what
`ClientProgram.expected` makes, without the draws that a release shows."""


def _as_sent(smashed: Tensor) -> Tensor:
    return smashed.flatten(1)


def _channels_sorted(smashed: Tensor) -> Tensor:
    """Sort the channels' values at each place: the same for every order of the channels."""
    return smashed.sort(dim=1 if smashed.ndim == 4 else -1).values.flatten(1)


def _places_sorted(smashed: Tensor) -> Tensor:
    """Sort each channel's values over the places: the same for every order of pieces of the map."""
    return (smashed.flatten(2) if smashed.ndim == 4 else smashed.transpose(1, -1)).sort(dim=-1).values.flatten(1)


FORMS: Sequence[Form] = (_as_sent, _channels_sorted, _places_sorted)


def altered(images: Tensor, augmentations: Sequence[str]) -> Iterator[Tensor]:
    """Yield images (N, C, H, W) in each way in which clients may have flipped and cropped them; texts as they are.

    Squares that a client cuts out are left: at random places, they are a part of what does not match.
    """
    if images.ndim == 2:  # sequences of tokens
        yield images
        return
    pad = max(1, images.shape[2] // 8) if "crop" in augmentations else 0
    height, width = images.shape[2:]
    padded = F.pad(images, (pad, pad, pad, pad))
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            window = padded[:, :, top : top + height, left : left + width]
            yield window
            if "flip" in augmentations:
                yield window.flip(-1)


@torch.no_grad()
def templates(
    program: ClientProgram, images: Tensor, labels: Tensor, size: int, chance: torch.Generator, *, way: Way
) -> Tensor:
    """Return what the program makes of images (N, C, H, W), (N, *cut shape), as the mean over random batches.

    Args:
        program: of a client.
        images: in [0, 1].
        labels: of the images.
        size: of a batch.
        chance: for the batches.
        way: how far they go.
    """
    total: Tensor | None = None
    for _ in range(TURNS):
        order = torch.randperm(len(images), generator=chance)
        # The last batch is filled up with images from the front.
        filled = order.repeat(1 + size // len(order))[: -(-len(order) // size) * size]
        parts = []
        for batch in torch.split(filled, size):
            own = images[batch].to(program.device)
            parts.append(_made(program, own, labels[batch], way))
        made = torch.cat(parts)[: len(order)]
        ordered = torch.empty_like(made)
        ordered[order.to(made.device)] = made
        total = ordered if total is None else total + ordered
    assert total is not None
    return total / TURNS


def _made(program: ClientProgram, images: Tensor, labels: Tensor, way: Way) -> Tensor:
    if way == "message":
        return program.release(images, labels)
    return program.expected(images) if way == "expected" else program.activations(images)


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How much likelier a release is of this very image than of any: Gaussian, value by value.

    Attributes:
        form: what is compared.
        mean: of releases (D,).
        spread: their variance (D,).
        error: mean squared difference of a release from its own template (D,).
    """

    form: Form
    mean: Tensor
    spread: Tensor
    error: Tensor

    @classmethod
    def fit(cls, released: Tensor, made: Tensor, form: Form) -> "Likeness":
        """Estimate from releases (N, *cut shape) and the templates of the same images."""
        sent, own = form(released), form(made)
        floor = FLOOR * float(sent.var(dim=0).mean()) + 1e-12
        return cls(
            form=form,
            mean=sent.mean(dim=0),
            spread=sent.var(dim=0).clamp(min=floor),
            error=(sent - own).square().mean(dim=0).clamp(min=floor),
        )

    def log_ratios(self, made: Tensor, released: Tensor) -> Tensor:
        """Return log p(release | this image) - log p(release) of templates and releases (templates, releases)."""
        sent = self.form(released)
        of_any = ((sent - self.mean).square() / self.spread).sum(dim=1)
        scale = self.error.rsqrt()
        constant = (self.spread / self.error).log().sum()
        rows = [torch.cdist(self.form(part) * scale, sent * scale).square() for part in torch.split(made, CHUNK)]
        return (of_any + constant - torch.cat(rows)) / 2

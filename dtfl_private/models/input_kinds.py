"""What networks take: images (channels, height, width), or sequences of tokens (length,)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.staged import StagedModel

Kind = Literal["images", "tokens"]

KINDS: dict[int, Kind] = {3: "images", 1: "tokens"}
"""What inputs are, by the number of axes of one of them."""


def blank_inputs(input_shape: tuple[int, ...], count: int, *, like: Tensor) -> Tensor:
    """Return ``count`` inputs of zeros on the device of ``like``: images in its type, tokens as int64."""
    dtype = torch.int64 if KINDS.get(len(input_shape)) == "tokens" else like.dtype
    return torch.zeros(count, *input_shape, dtype=dtype, device=like.device)


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """What a list says about a network.

    Attributes:
        kind: images or tokens; either, where what is in its files decides.
        smallest: least side of an image in pixels, or least length of a sequence.
        example: shape of a common input, at which the list counts tiers and parameters.
        source: the paper it is from.
        needs: what must be there to build it, in words; "" if nothing.
    """

    kind: Kind | Literal["either"]
    smallest: int
    example: tuple[int, ...]
    source: str
    needs: str = ""

    @property
    def takes(self) -> str:
        """The inputs it takes, in words."""
        if self.kind == "either":
            return "images or tokens"
        return f"images from {self.smallest}x{self.smallest}" if self.kind == "images" else "tokens"


IMAGES, SEQUENCES = "images (channels, height, width)", "sequences of tokens (length,)"

Factory = Callable[..., StagedModel]


def network(
    *,
    source: str,
    kind: Kind | Literal["either"] = "images",
    smallest: int = 8,
    example: tuple[int, ...] = (3, 32, 32),
    needs: str = "",
) -> Callable[[Factory], Factory]:
    """Decorate a function that builds a network: keep its facts, and refuse inputs that it cannot take."""
    facts = NetworkFacts(kind=kind, smallest=smallest, example=example, source=source, needs=needs)

    def decorate(factory: Factory) -> Factory:
        @functools.wraps(factory)
        def build(*, input_shape: tuple[int, ...], **others: Any) -> StagedModel:
            _require(facts, input_shape)
            return factory(input_shape=input_shape, **others)

        build.facts = facts  # type: ignore[attr-defined] # functions have no declared attributes
        return build

    return decorate


def network_facts(factory: object) -> NetworkFacts | None:
    """Return the facts of a decorated function; None of any other."""
    facts = getattr(factory, "facts", None)
    return facts if isinstance(facts, NetworkFacts) else None


def _require(facts: NetworkFacts, input_shape: tuple[int, ...]) -> None:
    given = KINDS.get(len(input_shape))
    if given is None or facts.kind not in (given, "either"):
        wanted = {"images": IMAGES, "tokens": SEQUENCES, "either": f"{IMAGES} or {SEQUENCES}"}[facts.kind]
        raise InputError(f"this network takes {wanted}, not inputs of shape {input_shape}")
    if facts.kind == "images" and min(input_shape[1:]) < facts.smallest:
        size = f"{facts.smallest}x{facts.smallest}"
        raise InputError(f"images of {input_shape[1]}x{input_shape[2]} are too small: at least {size}")
    if facts.kind == "tokens" and input_shape[0] < facts.smallest:
        raise InputError(f"sequences of {input_shape[0]} tokens are too short: at least {facts.smallest}")

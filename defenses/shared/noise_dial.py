"""The settings that the two Gaussian defenses share: noise as a plain dial, or worked out from a target epsilon.

No defense of its own.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense
from dtfl_private.protection.cost import RunFacts
from dtfl_private.protocol.guarantees import PrivacyTarget

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Below it squares underflow, and it would be no noise at all.
Noise = Annotated[float, Field(ge=1e-12, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1)]

DEFAULT_NOISE = 1.0


@dataclass(frozen=True, kw_only=True)
class NoiseDial(Defense):
    """Noise by multiplier or by epsilon.

    Args:
        epsilon: alone: the noise is worked out so that all planned rounds stay within it. With ``noise_multiplier``: a
            budget, and the client retires before it would exceed it.
        noise_multiplier: standard deviation of the noise over the clipping norm; 1 if neither is given.
        delta: at which epsilon is stated; must be below 1/N_k of every client.
    """

    epsilon: Positive | None = None
    noise_multiplier: Noise | None = None
    delta: Probability = 1e-5

    def __post_init__(self) -> None:
        for name in ("epsilon", "noise_multiplier"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name}={value} is refused: it must be positive and finite")
        if not 0 < self.delta < 1:
            raise InputError(f"delta={self.delta} is refused: it must lie between 0 and 1")

    @property
    def target(self) -> PrivacyTarget:
        """Delta and budget."""
        return PrivacyTarget(delta=self.delta, epsilon=self.epsilon)

    @property
    def needs_calibration(self) -> bool:
        """Whether the noise follows from the target epsilon and the run."""
        return self.noise_multiplier is None and self.epsilon is not None

    @property
    def noise(self) -> float:
        """Standard deviation of the noise over the clipping norm.

        Raises:
            RuntimeError: `calibrated` has not been called, but must be.
        """
        if self.needs_calibration:
            raise RuntimeError(f"the noise for epsilon={self.epsilon} is not known before calibrated() was called")
        return DEFAULT_NOISE if self.noise_multiplier is None else self.noise_multiplier

    def require_records(self, run: RunFacts) -> None:
        """Refuse a delta that means nothing for a client with so many records."""
        self.require_small_delta(run)

    def require_small_delta(self, run: RunFacts, tokens: int = 1) -> None:
        """Refuse a delta at which giving away whole records, or one of so many tokens of each, would be private."""
        records = max(run.records_K)
        largest, unit = records * tokens, "record" if tokens == 1 else "token"
        if self.delta * largest >= 1:
            each = "" if tokens == 1 else f" of {tokens} tokens"
            raise InputError(
                f"delta={self.delta:g} is not below 1/{largest}, for a client of {records} records{each}: with it, "
                f"giving away a {unit} at random would count as private; use delta={0.1 / largest:.1g} or less"
            )

"""How images are normalised: by sums that clients send, by constants, or by all clients' pixels pooled."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.plugins.specification import Spec

Kind = Literal["client-sums", "constants", "pooled"]

CLIENT_SUMS, CONSTANTS, POOLED = KINDS = get_args(Kind)

FORM = "constants:mean=X,std=Y, one number for all channels or one for each as in mean=0.49/0.48/0.45"


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """What the configuration's ``normalization`` means.

    kind: client-sums (each client sends `ChannelSums` once), constants (nothing is sent), or pooled (computed from all
        clients' pixels at one place, which a real federation cannot do).
    mean, deviation: constants of the user's own, one for all channels or one for each; empty for the data set's.
    """

    kind: Kind
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Normalization":
        """Read ``client-sums``, ``constants[:mean=X[/X...],std=Y[/Y...]]`` or ``pooled``.

        Raises:
            InputError: another name, an unknown or missing setting, or a value that is no such number.
        """
        spec = Spec.parse(text)
        names = {comparable(kind): kind for kind in KINDS}
        kind = names.get(comparable(spec.name))
        if kind is None:
            raise unknown_name("normalization", spec.name, KINDS)
        if not spec.settings:
            return cls(kind=kind)
        if kind != CONSTANTS:
            raise InputError(f"normalization '{text}' is refused: {kind} takes no settings")
        for key in spec.settings:
            if key not in ("mean", "std"):
                raise unknown_name(f"setting of normalization '{text}'", key, ("mean", "std"))
        if len(spec.settings) < 2:
            raise InputError(f"normalization '{text}' is refused: expected {FORM}")
        mean, deviation = (_numbers(text, key, spec.settings[key]) for key in ("mean", "std"))
        if min(deviation) <= 0:
            raise InputError(f"normalization '{text}' is refused: std={spec.settings['std']} is not above 0")
        return cls(kind=kind, mean=mean, deviation=deviation)

    def __str__(self) -> str:
        if not self.mean:
            return self.kind
        mean, deviation = ("/".join(map(repr, numbers)) for numbers in (self.mean, self.deviation))
        return f"{self.kind}:mean={mean},std={deviation}"


def _numbers(text: str, key: str, written: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in written.split("/"))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"normalization '{text}' is refused: {key}={written} is no number; expected {FORM}")
    return numbers

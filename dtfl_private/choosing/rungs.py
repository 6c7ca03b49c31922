"""The rungs of a search, from short trainings with quick attacks to whole ones, and the attacks of the fresh audit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.ladder import ladder_of
from dtfl_private.choosing.limits import Limit, aims_of
from dtfl_private.report.words.numbers import number_of
from dtfl_private.training.method import Method

LINEAR = "linear-decoder"
"""The search's own attack, which is no installed one; see `LinearDecoder`."""

# Of the trials of a rung, one in so many is promoted to the next.
REDUCTION = 4
# With as many rounds as this, a sixteenth of them is still a training: three rungs instead of two.
ROUNDS_FOR_THREE = 48

# Attacked images of quick attacks, and of those of the last rung.
QUICK_VICTIMS, VICTIMS = 64, 128
# How many rounds of a usual training take as long as the attacks of a trial: quick ones, and those of the last rung.
ATTACK_UNITS = (4, 12)

# Attacks of the search by their names in the ladder, with a budget for each rung but the last, and for the last one.
_SEARCHED: Mapping[str, tuple[str, str]] = {
    "decoder": (LINEAR, LINEAR),
    "unshuffle": (
        "unshuffle:size=small,decoder_steps=60,steps=20",
        "unshuffle:size=small,decoder_steps=240,steps=60",
    ),
    "surrogate": (
        "surrogate:size=small,steps=100,refining_steps=20,decoder_steps=60",
        "surrogate:size=small,steps=300,refining_steps=60,decoder_steps=240",
    ),
    "update-inversion": ("update-inversion", "update-inversion"),
    "membership-matching": ("membership-matching", "membership-matching"),
    "membership-surrogate": (
        "membership-surrogate:steps=100,refining_steps=20",
        "membership-surrogate:steps=300,refining_steps=60",
    ),
    "update-membership": ("update-membership", "update-membership"),
    "attribute-inference": (
        "attribute-inference:decoder_steps=60,search_steps=20",
        "attribute-inference:decoder_steps=240,search_steps=60",
    ),
    "update-attributes": ("update-attributes", "update-attributes"),
    "token-occurrence": ("token-occurrence", "token-occurrence"),
    "token-lookup": ("token-lookup", "token-lookup"),
    "token-inverter": ("token-inverter:size=small,steps=40", "token-inverter:size=small,steps=200"),
    "label-inference": ("label-inference", "label-inference"),
    "label-clustering": ("label-clustering", "label-clustering"),
    "label-counts": ("label-counts", "label-counts"),
    "gradient-labels": ("gradient-labels", "gradient-labels"),
    "label-matching": ("label-matching", "label-matching"),
}

# With more work, or by other means than the search: for the audit of what is recommended.
# Those that have no budget are the same, on more victims. Decoders of larger images need more steps: with 300 of them
# one gets images of 28x28 pixels that are sent as they are back with SSIM .975, with 1,000 with .995, and so more of
# what is hidden too.
_FRESH: Mapping[str, str] = {
    "decoder": "decoder:size=small,steps={steps}",
    "unshuffle": "unshuffle:size=small,decoder_steps={steps},steps=120",
    "surrogate": "surrogate:size=small,steps=1000,decoder_steps=300",
    "update-inversion": "update-inversion:effort=0.3",
    "membership-matching": "membership-matching",
    "membership-surrogate": "membership-surrogate",
    "update-membership": "update-membership",
    "attribute-inference": "attribute-inference:decoder_steps=600,search_steps=120",
    "update-attributes": "update-attributes",
    "token-occurrence": "token-occurrence",
    "token-lookup": "token-lookup",
    "token-inverter": "token-inverter:steps=1000",
    "label-inference": "label-inference",
    "label-clustering": "label-clustering",
    "label-counts": "label-counts",
    "gradient-labels": "gradient-labels",
    "label-matching": "label-matching",
}

# Steps of a decoder for images of so many pixels, as the embedded digits have.
STEPS, PIXELS = 300, 16 * 16

LEFT_OUT = frozenset(("optimization", "hybrid", "lira", "token-search"))
"""Attacks of the ladder that a search has no time for: searches by optimisation, shadow trainings."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How trials of one rung are trained and attacked.

    Attributes:
        number: from 0.
        name: in words.
        rounds: of the training.
        attacks: as users write them; those that cannot run at a tier are left out there.
        victims: attacked images.
        aux_images: of the attacker.
        seeds: repetitions of each attack.
        thorough: whether all attacks are mounted at all tiers; otherwise those but `LINEAR` at the shallowest alone.
    """

    number: int
    name: str
    rounds: int
    attacks: Sequence[str]
    victims: int = QUICK_VICTIMS
    aux_images: int = 1000
    seeds: int = 1
    thorough: bool = True

    @property
    def units(self) -> int:
        """What a trial costs, in rounds: attacks take about as long as these."""
        return self.rounds + (ATTACK_UNITS[self.victims > QUICK_VICTIMS] if self.attacks else 1)

    def line(self, trials: int) -> str:
        """Return what is done on the rung, in words."""
        attacks = ", ".join(self.attacks) or "no attack: nothing but guarantees or measures is limited"
        return (
            f"{self.name}: {number_of(trials, 'trial')} of {number_of(self.rounds, 'round')}, "
            f"{self.victims} victims at each tier; {attacks}"
        )


def rungs_of(rounds: int, attacks: Sequence[Sequence[str]]) -> list[Rung]:
    """Return the rungs of a search.

    Args:
        rounds: of the whole training.
        attacks: of rungs before the last, and of the last.
    """
    quick, whole = attacks
    steps = [REDUCTION**2, REDUCTION, 1] if rounds >= ROUNDS_FOR_THREE else [REDUCTION, 1]
    names = ["first", "second", "whole"] if len(steps) == 3 else ["short", "whole"]
    found = []
    for number, (step, name) in enumerate(zip(steps, names, strict=True)):
        last = step == 1
        found.append(
            Rung(
                number=number,
                name=name,
                rounds=max(1, round(rounds / step)),
                attacks=whole if last else quick,
                victims=VICTIMS if last else QUICK_VICTIMS,
                aux_images=1500 if last else 600,
                thorough=last,
            )
        )
    return found


def promoted(trials: int, rungs: int) -> list[int]:
    """Return how many trials are promoted to each rung after the first, besides the untouched configuration."""
    counts = []
    for _ in range(rungs - 1):
        trials = max(1, -(-trials // REDUCTION))
        counts.append(trials)
    return counts


def search_attacks(limits: Sequence[Limit], methods: Sequence[tuple[Method, bool]]) -> tuple[list[str], list[str]]:
    """Return the attacks by which trials are judged: on rungs before the last, and on the last.

    Args:
        limits: that say what attacks must be after.
        methods: that trials may be trained by, each with whether clients may keep the whole network.
    """
    names = _names(limits, methods)
    quick, whole = ([_SEARCHED[name][at] for name in names] for at in (0, 1))
    return quick, whole


def fresh_attacks(limits: Sequence[Limit], method: Method, *, whole: bool, input_shape: Sequence[int]) -> list[str]:
    """Return the attacks by which the recommended configuration is audited.

    Args:
        limits: that say what attacks must be after.
        method: of the configuration.
        whole: whether clients may keep the whole network.
        input_shape: of one input; decoders have steps by its height and width.
    """
    steps = max(STEPS, int(round(STEPS * math.prod(input_shape[1:]) / PIXELS, -1)))
    return [_FRESH[name].format(steps=steps) for name in _names(limits, [(method, whole)])]


def _names(limits: Sequence[Limit], methods: Sequence[tuple[Method, bool]]) -> list[str]:
    """Return the attacks of the ladder that are after what limits are about, each once, but for those left out."""
    aims: Sequence[type[Attack]] = aims_of(limits)
    found = [
        name
        for method, whole in methods
        for aim, names in ladder_of(method, whole=whole).items()
        if aim in aims
        for name in names
        if name not in LEFT_OUT
    ]
    return list(dict.fromkeys(found))

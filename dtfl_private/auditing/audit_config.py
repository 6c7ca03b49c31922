"""How a run is audited: one frozen value, and the two presets that fill it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dtfl_private.attacking.attack_config import EXECUTOR_HELP, AttackConfig, Count, described, make
from dtfl_private.attacking.effort import EFFORT_HELP, Effort
from dtfl_private.errors import unknown_name
from dtfl_private.numerics import DeviceName
from dtfl_private.protocol.assumptions import AssumptionName
from dtfl_private.runtime.executor_choice import LOCAL, spelled_executor

PresetName = Literal["quick", "thorough"]
Switch = Literal["on", "off"]
PRESETS: tuple[PresetName, ...] = get_args(PresetName)

# Attacks of the presets, in the order in which they are run: later ones use what earlier ones trained. Those that
# are about a defense that the run has not are left out, and the report says so.
QUICK = (
    "decoder:size=small",
    "hybrid:size=small",
    "unshuffle:size=small",
    "membership-matching",
    "label-clustering",
    "label-inference",
)
THOROUGH = (
    "decoder:size=best",
    "optimization",
    "hybrid:size=best",
    "unshuffle:size=best",
    "multi-release:size=best",
    "surrogate",
    "update-inversion",
    "membership-matching",
    "lira",
    "attribute-inference",
    "label-clustering",
    "label-inference",
    "tier-downgrade",
    "weight-trap",
)


# Of both presets, where clients are not sent their weights: the others are left out there.
WITHOUT_WEIGHTS = ("surrogate:size=small", "membership-surrogate")

# Of both presets, where clients send the update of a whole network.
OF_UPDATES = ("update-inversion", "update-membership", "update-attributes", "label-counts")

# Of both presets, where clients keep the last modules, and return gradients.
OF_TAILS = ("label-matching",)

# Of both presets, in their place, where inputs are texts: sequences of tokens.
OF_TEXTS: Mapping[PresetName, tuple[str, ...]] = {
    # So few steps, as a network is trained for each tier, repetition and check; its start reads much by itself.
    "quick": ("token-lookup", "token-inverter:size=small,steps=40"),
    "thorough": ("token-lookup", "token-inverter", "token-search", "membership-matching", "token-occurrence"),
}

# Of each preset, where the server returns gradients.
OF_REPLIES: Mapping[PresetName, tuple[str, ...]] = {
    "quick": ("gradient-labels",),
    "thorough": ("gradient-labels", "hijacking:size=best"),
}


class _Preset(BaseModel):
    """What a preset settles."""

    model_config = ConfigDict(frozen=True)

    attacks: tuple[str, ...]
    victims: int
    aux_images: int
    seeds: int
    training_seeds: int
    effort: Effort
    aux_curve: Switch
    by_client: Switch


SETTLED: Mapping[PresetName, _Preset] = {
    "quick": _Preset(
        attacks=QUICK,
        victims=64,
        aux_images=3000,
        seeds=3,
        training_seeds=1,
        effort="quick",
        aux_curve="off",
        by_client="on",
    ),
    "thorough": _Preset(
        # A sixth is to tune by: 10,000 to train on, where the curve over auxiliary images ends.
        attacks=THOROUGH,
        victims=256,
        aux_images=12000,
        seeds=3,
        training_seeds=3,
        effort="normal",
        aux_curve="on",
        by_client="on",
    ),
}


class AuditConfig(BaseModel):
    """All that determines an audit. The descriptions of the fields are the help of ``dtfl-private audit``.

    What is None is as the preset says; so many ``workers`` as cores, but one on a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: PresetName = described(
        "quick",
        "quick takes minutes on two cores; thorough runs every attack on three trainings, and is for a GPU",
    )
    attacks: Annotated[tuple[str, ...], Field(min_length=1)] | None = described(
        None, "attack instead of the preset's; repeat for several"
    )
    tiers: tuple[Count, ...] | Literal["all"] = described("all", "tier to audit; repeat for several")
    recorded: bool = described(
        False,
        "attack what the run recorded of its last recorded round, clients in the tiers in which they were, instead of "
        "playing the last round once more",
    )
    victims: Count | None = described(None, "images or texts to attack at each tier")
    assume: AssumptionName | None = described(
        None,
        "what is taken for granted in addition to what the run assumes: secure-aggregation (the server sees the sum of "
        "the round's weight updates only)",
    )
    aux: str = described("same", "the adversary's auxiliary knowledge, as for `attack`")
    aux_dir: Path | None = described(None, "folder of the files of --aux shifted:DATASET")
    aux_images: Count | None = described(None, "auxiliary images")
    seeds: Count | None = described(None, "repetitions of each attack")
    effort: Effort | None = described(None, EFFORT_HELP)
    training_seeds: Count | None = described(
        None, "trainings to attack: the run, and others of further seeds, which are trained once"
    )
    aux_curve: Switch | None = described(
        None,
        "mount the strongest attack that learns also with 100, 1,000 and 10,000 auxiliary images, as far as there are "
        "more, at one tier",
    )
    by_client: Switch | None = described(
        None,
        "attack the first batches of all clients, each placed in every tier, and say which clients are more exposed "
        "than others beyond chance",
    )
    undefended: str = described(
        "train",
        "what a run with defenses is compared with: the same without them, trained once, or a run folder that has it",
    )
    measured: Annotated[int, Field(ge=100)] = described(512, "records at most that measures without attacks look at")
    device: DeviceName = described("auto", "where attacks compute")
    workers: Count | None = described(None, "processes at the same time")
    executor: Annotated[str, BeforeValidator(spelled_executor)] = described(LOCAL, EXECUTOR_HELP)

    def settled(self) -> "AuditConfig":
        """Return the configuration with the preset's values where there are none."""
        preset = SETTLED[self.preset].model_dump()
        return self.model_copy(update={name: value for name, value in preset.items() if getattr(self, name) is None})

    def attacking(self, workers: int) -> AttackConfig:
        """Return how the run is attacked with the same weights at every tier; of a settled configuration."""
        return make(
            AttackConfig,
            attacks=self.attacks,
            tiers=self.tiers,
            replay=not self.recorded,
            assume=self.assume,
            aux=self.aux,
            aux_dir=self.aux_dir,
            aux_images=self.aux_images,
            victims=self.victims,
            seeds=self.seeds,
            effort=self.effort,
            device=self.device,
            threads=1 if workers > 1 or self.executor != LOCAL else None,
            workers=workers,
            executor=self.executor,
            where_applicable=True,
        )


def make_audit_config(**values: object) -> AuditConfig:
    """Return the configuration with these values, the rest by default.

    Raises:
        InputError: the first refused value, in one line.
    """
    if (preset := values.get("preset", "quick")) not in PRESETS:
        raise unknown_name("preset", str(preset), PRESETS)
    return make(AuditConfig, **values)

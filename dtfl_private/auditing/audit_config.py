"""How a run is audited: one frozen value, and the two presets that fill it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from dtfl_private.attacking.attack_config import AttackConfig, Count, make
from dtfl_private.errors import unknown_name
from dtfl_private.numerics import DeviceName

PresetName = Literal["quick", "thorough"]
PRESETS: tuple[PresetName, ...] = get_args(PresetName)

# Attacks of the presets, in the order in which they are mounted: later ones use what earlier ones trained. Those that
# are about a defense that the run has not are left out, and the report says so.
QUICK = (
    "decoder:epochs=20",
    "optimization:steps=120",
    "hybrid:epochs=20,steps=120",
    "unshuffle:epochs=20",
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


class _Preset(BaseModel):
    """What a preset settles."""

    model_config = ConfigDict(frozen=True)

    attacks: tuple[str, ...]
    victims: int
    aux_images: int
    seeds: int
    training_seeds: int


SETTLED: Mapping[PresetName, _Preset] = {
    "quick": _Preset(attacks=QUICK, victims=64, aux_images=3000, seeds=3, training_seeds=1),
    "thorough": _Preset(attacks=THOROUGH, victims=256, aux_images=8000, seeds=3, training_seeds=3),
}


class AuditConfig(BaseModel):
    """All that determines an audit. What is None is as the preset says.

    Attributes:
        preset: "quick" takes minutes on two cores, "thorough" is for a GPU.
        attacks: specifications ``NAME[:key=value,...]``, instead of the preset's.
        tiers: to audit; "all" that the run has.
        victims: images attacked at each tier, in whole batches.
        aux: auxiliary knowledge of the adversary: ``same``, ``shifted:DATASET``, ``architecture`` or ``none``.
        aux_dir: folder of the files of another auxiliary data set.
        aux_images: auxiliary images at most.
        seeds: repetitions of each attack.
        training_seeds: trainings to be attacked: the run itself, and others that differ from it in their seed alone.
        undefended: of a run with defenses: "train" trains the same run without them, once; a folder is where it is;
            "none" leaves it out.
        measured: records at most that measures look at.
        device: where attacks compute.
        workers: processes side by side, one thread each; None for one per core, and one in all on a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: PresetName = "quick"
    attacks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    tiers: tuple[Count, ...] | Literal["all"] = "all"
    victims: Count | None = None
    aux: str = "same"
    aux_dir: Path | None = None
    aux_images: Count | None = None
    seeds: Count | None = None
    training_seeds: Count | None = None
    undefended: str = "train"
    measured: Annotated[int, Field(ge=100)] = 512
    device: DeviceName = "auto"
    workers: Count | None = None

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
            replay=True,
            aux=self.aux,
            aux_dir=self.aux_dir,
            aux_images=self.aux_images,
            victims=self.victims,
            seeds=self.seeds,
            device=self.device,
            threads=1 if workers > 1 else None,
            workers=workers,
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

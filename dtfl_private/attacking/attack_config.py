"""How a run is attacked: one frozen value."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.errors import InputError
from dtfl_private.numerics import DeviceName
from dtfl_private.printable import shown_value

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class AttackConfig(BaseModel):
    """All that determines an attack on a run.

    Attributes:
        attacks: specifications ``NAME[:key=value,...]``.
        tiers: to attack, or "all" that the run has; None for those in use in its last round.
        as_scheduled: only clients that really were in a tier are attacked there. Otherwise the same clients are placed
            in every tier, from the same weights.
        replay: play the last round again although the run recorded rounds. Recorded clients were in the tiers they were
            in: nobody is placed elsewhere.
        adversary: name; None for the weakest that can mount each attack.
        aux: auxiliary knowledge: ``same``, ``shifted:DATASET``, ``architecture`` or ``none``.
        aux_dir: folder of the files of another auxiliary data set; None for where it looks for itself.
        aux_images: auxiliary images at most.
        victims: images to be attacked, in whole batches.
        seeds: repetitions of each attack.
        lpips: judge images by LPIPS too, whose weights must be there.
        undefended: folder of the same run without defenses, to be attacked likewise; ``train`` trains it first.
        device: where attacks compute.
        threads: CPU threads; None for all cores, or one in each of several processes.
        workers: processes that mount attacks side by side; attacks and parts of the run that were passed as objects
            stay in this one.
        where_applicable: leave out attacks where they cannot run, and say so, instead of refusing them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacks: Annotated[tuple[str, ...], Field(min_length=1)] = ("hybrid",)
    tiers: tuple[Count, ...] | Literal["all"] | None = None
    as_scheduled: bool = False
    replay: bool = False
    adversary: str | None = None
    aux: str = "same"
    aux_dir: Path | None = None
    aux_images: Count = 5000
    victims: Count = 64
    seeds: Count = 3
    lpips: bool = False
    undefended: str | None = None
    device: DeviceName = "auto"
    threads: Count | None = None
    workers: Count = 1
    where_applicable: bool = False


Config = TypeVar("Config", bound=BaseModel)


def make_attack_config(**values: object) -> AttackConfig:
    """Return the configuration with these values, the rest by default.

    Raises:
        InputError: the first refused value, in one line.
    """
    return make(AttackConfig, **values)


def make(kind: type[Config], **values: object) -> Config:
    """Return a configuration of a kind with these values.

    Raises:
        InputError: the first refused value, in one line.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{where} {shown_value(first['input'])} is refused: {first['msg'][:1].lower()}{first['msg'][1:]}"
        ) from None

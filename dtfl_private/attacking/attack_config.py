"""How a run is attacked: one frozen value."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dtfl_private.attacking.effort import EFFORT_HELP, Effort
from dtfl_private.errors import InputError
from dtfl_private.numerics import DeviceName
from dtfl_private.printable import shown_value
from dtfl_private.protocol.assumptions import AssumptionName
from dtfl_private.runtime.executor_choice import LOCAL, spelled_executor

EXECUTOR_HELP = (
    "who mounts attacks: local (this machine, see workers), or ray[:address=ADDRESS,gpus=SHARE,actors=N] (a Ray "
    "cluster whose nodes all see the run folder)"
)

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
ClientNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]


def described(default: Any, description: str) -> Any:
    """Return a field whose description is its option's help."""
    return Field(default=default, description=description)


class AttackConfig(BaseModel):
    """All that determines an attack on a run. The descriptions of the fields are the help of ``dtfl-private attack``.

    Attributes:
        attacks: None for the strongest by what the training method shows; see `default_attacks`.
        tiers: numbers, or "all"; None for those in use in the run's last round.
        clients: None for all of the round.
        adversary: None for the weakest that can mount each attack.
        aux_dir: None for where the data set looks for itself.
        workers: attacks and parts of the run that were passed as objects stay in this process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacks: Annotated[tuple[str, ...], Field(min_length=1)] | None = described(
        None, "attack; repeat for several; see `list attacks`"
    )
    tiers: tuple[Count, ...] | Literal["all"] | None = described(None, "tier to attack; repeat for several")
    as_scheduled: bool = described(
        False,
        "attack only clients that really were in a tier; otherwise the same clients are placed in each, from the same "
        "weights",
    )
    replay: bool = described(
        False,
        "play the run's last round once more although it recorded rounds (--record-rounds), so that clients can be "
        "placed in any tier",
    )
    adversary: str | None = described(
        None, "who attacks; see `list adversaries`; an attack that this one cannot mount is refused"
    )
    assume: AssumptionName | None = described(
        None,
        "what is taken for granted in addition to what the run assumes: secure-aggregation (the server sees the sum of "
        "the round's weight updates only)",
    )
    aux: str = described(
        "same",
        "the adversary's auxiliary knowledge: images of the same kind (test images, which no client holds), the same "
        "with the classes in the shares of the attacked clients (mixture), those that client K holds, of another data "
        "set, only the network, or nothing",
    )
    aux_dir: Path | None = described(None, "folder of the files of --aux shifted:DATASET, if it does not find them")
    aux_images: Count = described(5000, "auxiliary images, or texts")
    victims: Count = described(
        64,
        "images or texts to attack, in whole batches: the clients' first batches in the last round, then further ones",
    )
    clients: Annotated[tuple[ClientNumber, ...], Field(min_length=1)] | None = described(
        None, "client to attack; repeat for several"
    )
    seeds: Count = described(3, "repetitions of each attack")
    effort: Effort = described("normal", EFFORT_HELP)
    against: Literal["ladder"] | None = described(
        None, "also attack by our own attacks with the same aim, where they can run, and say who is ahead at each tier"
    )
    lpips: bool = described(False, "judge images by LPIPS too; its weights must be there, nothing is downloaded")
    undefended: str | None = described(
        None, "also attack the same run without its defenses: train it, or take it from a run folder"
    )
    device: DeviceName = described("auto", "where attacks compute")
    threads: Count | None = described(None, "CPU threads")
    workers: Count = described(
        1, "processes that run attacks in parallel; two one-thread workers beat one process with two threads"
    )
    executor: Annotated[str, BeforeValidator(spelled_executor)] = described(LOCAL, EXECUTOR_HELP)
    where_applicable: bool = described(
        False, "leave out attacks where they cannot run, and say so, instead of refusing them"
    )


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

"""Which executor is asked for: ``local``, or ``ray[:address=ADDRESS,gpus=SHARE,actors=N]``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dtfl_private.errors import InputError, comparable, shortened, unknown_name
from dtfl_private.plugins.specification import Spec

LOCAL = "local"
RAY = "ray"

AUTO = "auto"
"""The address of the cluster that this machine belongs to."""

# Addresses that say nothing of another machine: a file may name these.
OF_THIS_MACHINE = frozenset({AUTO, LOCAL})

ADDRESS = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", re.ASCII)

# Ray counts resources in ten-thousandths.
LEAST_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class RayChoice:
    """A Ray cluster, and what of it is used.

    Attributes:
        address: ``auto`` (the running cluster that this machine belongs to), ``local`` (one of this machine alone, for
            as long as it is needed), or HOST:PORT.
        gpus: share of a GPU that each actor has, 0..1; without one, actors compute on CPUs.
        actors: at most so many; None for one per core, or per share of a GPU.
    """

    address: str = AUTO
    gpus: float = 0.0
    actors: int | None = None

    def __str__(self) -> str:
        address = [] if self.address == AUTO else [f"address={self.address}"]
        gpus = [f"gpus={self.gpus:g}"] if self.gpus else []
        actors = [] if self.actors is None else [f"actors={self.actors}"]
        settings = ",".join([*address, *gpus, *actors])
        return f"{RAY}:{settings}" if settings else RAY


def parse_executor(text: str) -> RayChoice | None:
    """Return what an executor's text asks for; None for this machine.

    Raises:
        InputError: there is no such executor or setting, or a value is refused.
    """
    spec = Spec.parse(text)
    if comparable(spec.name) not in (LOCAL, RAY):
        raise unknown_name("executor", spec.name, (LOCAL, RAY))
    if comparable(spec.name) == LOCAL:
        _require_known(LOCAL, spec.settings, ())
        return None
    _require_known(RAY, spec.settings, ("address", "gpus", "actors"))
    return RayChoice(
        address=_address(spec.settings.get("address", AUTO)),
        gpus=_share(spec.settings["gpus"]) if "gpus" in spec.settings else 0.0,
        actors=_count(spec.settings["actors"]) if "actors" in spec.settings else None,
    )


def spelled_executor(value: object) -> object:
    """Write an executor in its one spelling; what is no text is left to be refused."""
    return str(parse_executor(value) or LOCAL) if isinstance(value, str) else value


def without_address(text: str) -> str:
    """Return an executor's text without the address of its cluster: a run folder goes to others, who have their own."""
    choice = parse_executor(text)
    return LOCAL if choice is None else str(RayChoice(gpus=choice.gpus, actors=choice.actors))


def require_own_address(value: object, source: str) -> None:
    """Refuse an address that a file names: whoever is there gets code and data of the run, and answers with code.

    Args:
        value: of the key ``executor``; what is no text is left to be refused elsewhere.
        source: what errors call the file.

    Raises:
        InputError: it names another machine, or is no executor.
    """
    choice = parse_executor(value) if isinstance(value, str) else None
    if choice is not None and choice.address not in OF_THIS_MACHINE:
        raise InputError(
            f"{source}: executor '{shortened(value)}' names a cluster, and a file may not do that, as it gets code "
            f'and data of the run: write "{without_address(str(choice))}", and give --executor {choice} to the command'
        )


def require_names(executor: str, *, by_name: bool) -> None:
    """Refuse to do jobs on a cluster that are made of objects, which its nodes would not find by their names.

    Raises:
        InputError: they are.
    """
    if executor != LOCAL and not by_name:
        raise InputError(
            f"executor {executor}: attacks and parts of a run that are passed as objects stay in this process: name "
            f"them in the configuration (package.module:object), or use executor='{LOCAL}'"
        )


def _require_known(name: str, settings: Iterable[str], known: Iterable[str]) -> None:
    for key in settings:
        if key not in known:
            raise unknown_name(f"setting of executor '{name}'", key, known)


def _address(text: str) -> str:
    if text in OF_THIS_MACHINE or (ADDRESS.fullmatch(text) and int(text.rpartition(":")[2]) < 2**16):
        return text
    raise InputError(f"executor ray: address '{shortened(text)}' is refused: expected auto, local or HOST:PORT")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not (share == 0 or LEAST_SHARE <= share <= 1):
        raise InputError(
            f"executor ray: gpus '{shortened(text)}' is refused: expected the share of a GPU that each actor has, "
            f"{LEAST_SHARE:g}..1, or 0"
        )
    return share


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise InputError(f"executor ray: actors '{shortened(text)}' is refused: expected a number from 1 on")
    return int(text)

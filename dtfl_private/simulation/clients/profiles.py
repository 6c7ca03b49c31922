"""Resource profiles as data with units: the paper's five, and the user's own from a TOML file."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer, model_validator

from dtfl_private.errors import InputError, unknown_name
from dtfl_private.files import reading
from dtfl_private.printable import short_name, shown_value
from dtfl_private.simulation.clients.data_sheets import DATA_SHEETS
from dtfl_private.simulation.clients.engines import Engine, EngineName, EnginePrecision, OperatorClass

LinkUnit = Literal["mbit", "mbyte"]

Positive = Annotated[float, Field(ge=1e-6, le=1e9)]
NonNegative = Annotated[float, Field(ge=0, le=1e9)]

BYTES_PER_S = {"mbit": 1e6 / 8, "mbyte": 1e6}
"""What one unit of a profile's link speed is in bytes per second, by the reading of "Mbps"."""


class ResourceProfile(BaseModel):
    """The resources of one kind of device.

    Attributes:
        name: for tables and messages.
        cpus: CPU share; 1 is one core of the reference CPU.
        up_mbit_s: link speed from client to server in Mbit/s.
        down_mbit_s: link speed from server to client in Mbit/s.
        latency_ms: delay of one transfer in milliseconds, each way.
        share: weight with which a client draws this profile.
        engines: the engines that it computes on, ``cpus``, ``gpu`` and ``npu``, where more than one figure is known of
            them. Without any it computes all MACs at the speed of ``cpus``.
        source: where the figures are from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    cpus: Positive
    up_mbit_s: Positive
    down_mbit_s: Positive
    latency_ms: NonNegative = 0.0
    share: Positive = 1.0
    engines: dict[EngineName, Engine] = Field(default_factory=dict)
    source: Annotated[str, Field(max_length=2000)] = ""

    @model_validator(mode="after")
    def _peaks_are_said(self) -> Self:
        """Refuse an accelerator without peaks: only of the cpus is there another figure, ``cpus``."""
        for name, engine in self.engines.items():
            if name != "cpus" and engine.macs_per_s is None:
                raise ValueError(
                    f"engines.{name}.macs_per_s is missing: give its peak in each precision, as {{ fp32 = 1e12 }}"
                )
        return self

    @model_serializer(mode="wrap")
    def _said(self, serialize: Any) -> dict[str, Any]:
        """Leave out engines and sources that are not there: TOML has no null, and earlier versions know none."""
        return {key: value for key, value in serialize(self).items() if value or key not in ("engines", "source")}


def _paper(cpus: float, mbps: float) -> ResourceProfile:
    return ResourceProfile(name=f"{cpus:g} CPU, {mbps:g} Mbps", cpus=cpus, up_mbit_s=mbps, down_mbit_s=mbps)


DEVICES = tuple(ResourceProfile.model_validate(sheet) for sheet in DATA_SHEETS)
"""A phone, a Raspberry Pi, a Jetson, a laptop, a data-centre GPU, by their data sheets."""

PROFILE_SETS: dict[str, tuple[ResourceProfile, ...]] = {
    # DTFL paper, section 4: five profiles, 20 % of the clients each; the paper names no latency.
    "paper": (_paper(4, 100), _paper(2, 30), _paper(1, 30), _paper(0.2, 30), _paper(0.1, 10)),
    "uniform": (_paper(1, 30),),
    "devices": DEVICES,
    "edge-devices": DEVICES[:3],  # phone, Raspberry Pi, Jetson
    "mixed-devices": (DEVICES[0].model_copy(update={"share": 3.0}), *DEVICES[1:4]),  # and a laptop; half are phones
}


class _ProfileFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    profile: Annotated[list[ResourceProfile], Field(min_length=1)]


def load_profiles(name: str | list[ResourceProfile]) -> tuple[ResourceProfile, ...]:
    """Return a built-in set of profiles, the set in a TOML file of ``[[profile]]`` tables, or the given ones.

    Raises:
        InputError: neither a built-in name nor a readable file of valid profiles.
    """
    if isinstance(name, list):
        if not name:
            raise InputError("profiles is empty: one resource profile is needed at least")
        return tuple(name)
    if name in PROFILE_SETS:
        return PROFILE_SETS[name]
    path = Path(name)
    try:
        if not path.exists():
            if path.suffix:
                raise InputError(f"profiles file '{name}' does not exist")
            raise unknown_name("set of profiles", name, PROFILE_SETS)
        tables = reading.read_toml(path, most_bytes=reading.LARGEST_TOML_BYTES)
        return tuple(_ProfileFile.model_validate(tables).profile)
    except ValidationError as error:
        raise _profile_error(name, error) from None
    except (OSError, ValueError) as error:
        raise InputError(f"profiles file '{name}' cannot be read: {reading.reason(error)}") from None


def _profile_error(file: str, error: ValidationError) -> InputError:
    # A misspelled key is also a missing one; only its own message helps.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    if first["type"] == "extra_forbidden":
        *table, key = first["loc"]
        return unknown_name(f"key in {file}:", str(key), keys_of_table(table) if table else _ProfileFile.model_fields)
    path, name = key_path(first)
    where = ".".join(short_name(part) for part in path)
    if first["type"] == "literal_error":
        return unknown_name(f"name in {file}: {where}:", name, choices_there(first))
    value = "" if first["type"] in ("missing", "value_error") else f" {shown_value(first['input'])}"
    return InputError(
        f"profiles file '{file}': {where}{value} is refused: {first['msg'].removeprefix('Value error, ')}"
    )


def keys_of_table(path: Sequence[int | str]) -> Collection[str]:
    """Return the keys of the table at a place of a set of profiles: of a profile, or of one of its engines."""
    return (Engine if "engines" in path else ResourceProfile).model_fields


def key_path(refused: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the place of what pydantic refused, and its last part, which is not in the place if it is a name."""
    path = [str(part) for part in refused["loc"] if part != "[key]"]
    return (path[:-1], path[-1]) if refused["type"] == "literal_error" else (path, path[-1])


def choices_there(refused: Mapping[str, Any]) -> Sequence[str]:
    """Return the names that would have been taken where a name was refused."""
    table = [part for part in refused["loc"] if part != "[key]"][-2]
    return get_args({"engines": EngineName, "macs_per_s": EnginePrecision}.get(table, OperatorClass))

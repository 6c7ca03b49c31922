"""Device traces in FedScale's published layout, as JSON: how fast real phones compute and send, and when they charge.

FedScale (Lai et al., ICML 2022, arXiv 2105.11367; ``benchmark/dataset/data/device_info`` of its repository) publishes
two dictionaries, each by device id:

    client_device_capacity  {"computation": ms of inference per sample, "communication": kbit/s}
    client_behave_trace     {"active": [begins], "inactive": [ends], "finish_time": .., "duration": .., "model": ..}

They are pickles there, which run code when they are read. Here they are one JSON file, with either or both of these
names as keys. Times are in seconds and start over after ``finish_time``; ``duration`` and ``model`` are not used.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from dtfl_private.errors import InputError, shortened
from dtfl_private.files import reading
from dtfl_private.printable import short_name, shown_value
from dtfl_private.randomness import stream
from dtfl_private.simulation.clients.availability import ActiveSpans, Availability
from dtfl_private.simulation.clients.profiles import ResourceProfile

CAPACITY, BEHAVIOUR = "client_device_capacity", "client_behave_trace"

INFERENCE_MACS = 300e6
"""MACs of the inference that ``computation`` is taken to be of: one image through MobileNetV2 at 224 x 224 (Sandler et
al., 2018, table 4). FedScale names MobileNet as an example, not the network of its file."""

LARGEST_TRACES_BYTES = 2**29

FORM = "FILE[:sha256=HEX]"
# The hash follows the last colon; what comes before is a path and may hold anything.
WITH_SHA256 = re.compile(r"\s*sha256\s*=(.*)", re.DOTALL)

CONVERT = (
    "convert it where you trust it: python -c \"import json, pickle; json.dump({name: pickle.load(open(name, 'rb')) "
    f"for name in ('{CAPACITY}', '{BEHAVIOUR}')}}, open('traces.json', 'w'))\""
)

# What values may be. Latencies from a microsecond to hours, links from a bit to a petabit a second, a time of 30 years.
MS, KBIT_S, SECONDS = (1e-3, 1e7), (1e-3, 1e12), (0.0, 1e9)


@dataclass(frozen=True, kw_only=True)
class TracesSource:
    """Where traces are.

    Attributes:
        path: of the JSON file.
        sha256: of its bytes, lower-case hexadecimal; None: whatever it holds.
    """

    path: Path
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str) -> "TracesSource":
        """Read ``FILE`` or ``FILE:sha256=HEX``.

        Raises:
            InputError: no path, or a hash of another length.
        """
        path, _, written = text.strip().rpartition(":")
        named = WITH_SHA256.fullmatch(written)
        if named is None or not path:
            path, sha256 = text.strip(), None
        else:
            path, sha256 = path.strip(), named[1].strip().lower()
        if not path or (sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256)):
            raise InputError(f"traces '{shortened(text)}' is refused: expected {FORM}, 64 hexadecimal digits")
        return cls(path=Path(path), sha256=sha256)

    def __str__(self) -> str:
        return f"{self.path}" if self.sha256 is None else f"{self.path}:sha256={self.sha256}"


@dataclass(frozen=True, kw_only=True)
class TracedDevice:
    """A device's speed: milliseconds of inference per sample, and kbit/s (1,000 bit) each way."""

    name: str
    inference_ms: float
    kbit_s: float


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What a file of traces holds; either list may be empty, not both.

    Attributes:
        source: where it was read, with its hash.
        devices: speeds.
        spans: when devices are there; these are other devices than those whose speed is known, as in FedScale.
    """

    source: TracesSource
    devices: Sequence[TracedDevice]
    spans: Sequence[ActiveSpans]


def load_traces(source: TracesSource) -> Traces:
    """Read traces, and check all of them.

    Raises:
        InputError: the file cannot be read, is no such JSON (a pickle, say), holds values that no device has, or has
            another hash than it should.
    """
    path = source.path.absolute()
    try:
        status = path.stat()
        traces = _read(path, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError) as error:
        raise InputError(f"traces file '{source.path}' cannot be read: {reading.reason(error)}") from None
    if source.sha256 not in (None, traces.source.sha256):
        raise InputError(
            f"traces file '{source.path}' has SHA-256 {traces.source.sha256}, not {source.sha256}: name the file that "
            "the run was begun with"
        )
    return traces


@lru_cache(maxsize=1)  # a plan is played under many schedulers; the published files take seconds to read
def _read(path: Path, _changed_ns: int, _size: int) -> Traces:
    data = reading.read_bytes(path, most_bytes=LARGEST_TRACES_BYTES)
    if data[:1] == b"\x80":
        raise ValueError(f"it is a pickle, which can run any code and is never read: {CONVERT}")
    tables = reading.parse_json(data, unique_keys=True)
    if not isinstance(tables, dict) or not tables or not tables.keys() <= {CAPACITY, BEHAVIOUR}:
        raise ValueError(f"expected an object with the keys {CAPACITY} and {BEHAVIOUR}, or one of them")
    return Traces(
        source=TracesSource(path=path, sha256=hashlib.sha256(data).hexdigest()),
        devices=[_device(name, entry) for name, entry in _entries(tables, CAPACITY)],
        spans=[_spans(name, entry) for name, entry in _entries(tables, BEHAVIOUR)],
    )


def _entries(tables: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the entries of a table by device id; none where the table is left out."""
    if key not in tables:
        return []
    table = tables[key]
    if not isinstance(table, dict) or not table:
        raise ValueError(f"{key} is {shown_value(table)}: expected an object with an entry for each device")
    for name, entry in table.items():
        if not isinstance(entry, dict):
            raise ValueError(f"{key}.{short_name(name)} is {shown_value(entry)}: expected an object")
    return list(table.items())


def _device(name: str, entry: Mapping[str, Any]) -> TracedDevice:
    where = f"{CAPACITY}.{short_name(name)}"
    return TracedDevice(
        name=f"device {short_name(name)}",
        inference_ms=_number(entry, "computation", MS, where),
        kbit_s=_number(entry, "communication", KBIT_S, where),
    )


def _spans(name: str, entry: Mapping[str, Any]) -> ActiveSpans:
    where = f"{BEHAVIOUR}.{short_name(name)}"
    begins_s, ends_s = _times(entry, "active", where), _times(entry, "inactive", where)
    if len(begins_s) != len(ends_s):
        raise ValueError(f"{where} has {len(begins_s)} times in active and {len(ends_s)} in inactive: expected as many")
    if (ends_s < begins_s).any():
        at = int((ends_s < begins_s).argmax())
        raise ValueError(f"{where}.inactive.{at} is {ends_s[at]:g}, before active.{at} {begins_s[at]:g}")
    return ActiveSpans(
        period_s=_number(entry, "finish_time", (1.0, SECONDS[1]), where), begins_s=begins_s, ends_s=ends_s
    )


def _times(entry: Mapping[str, Any], key: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = entry.get(key)
    if not isinstance(values, list):
        _refuse(values, f"{where}.{key}", "a list of seconds")
    wrong = next((place for place, value in enumerate(values) if not _is_within(value, SECONDS)), None)
    if wrong is not None:
        _refuse(values[wrong], f"{where}.{key}.{wrong}", f"seconds from 0 to {SECONDS[1]:g}")
    return np.array(values, dtype=np.float64)


def _number(entry: Mapping[str, Any], key: str, limits: tuple[float, float], where: str) -> float:
    value = entry.get(key)
    if not _is_within(value, limits):
        _refuse(value, f"{where}.{key}", f"a number from {limits[0]:g} to {limits[1]:g}")
    return float(value)  # type: ignore[arg-type]  # it is a number


def _is_within(value: object, limits: tuple[float, float]) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and limits[0] <= value <= limits[1]  # type: ignore[operator]  # it is a number


def _refuse(value: object, where: str, expected: str) -> NoReturn:
    said = "missing" if value is None else shown_value(value)
    raise ValueError(f"{where} is {said}: expected {expected}")


def traced_profiles(traces: Traces, clients: int, cpu_macs_per_s: float, seed: int) -> tuple[ResourceProfile, ...]:
    """Return the profiles of the devices that so many clients have: drawn once each, all of them if there are fewer.

    A device computes `INFERENCE_MACS` in the time that ``computation`` says; its ``cpus`` are that by the reference
    CPU's speed, so that seconds do not depend on the latter. Link speeds are in Mbit/s, the same both ways, without
    latency.

    Raises:
        InputError: the reference CPU is so fast or slow that a device cannot be written in terms of it.
    """
    drawn = stream(seed, "environment", "traces", "devices").permutation(len(traces.devices))[:clients]
    return tuple(_profile(traces.devices[place], cpu_macs_per_s) for place in drawn.tolist())


def _profile(device: TracedDevice, cpu_macs_per_s: float) -> ResourceProfile:
    cpus = INFERENCE_MACS / (device.inference_ms / 1e3) / cpu_macs_per_s
    if not 1e-6 <= cpus <= 1e9:
        raise InputError(
            f"cpu_gmacs {cpu_macs_per_s / 1e9:g} makes {device.name} of the traces {cpus:g} reference CPUs: expected "
            "1e-06 to 1e+09; choose another cpu_gmacs"
        )
    mbit_s = device.kbit_s / 1e3
    return ResourceProfile(name=device.name, cpus=cpus, up_mbit_s=mbit_s, down_mbit_s=mbit_s)


def traced_availability(traces: Traces, clients: int, seed: int) -> Availability | None:
    """Return when so many clients are there: spans are drawn once each, and again in the same order for more clients.

    None where the file has no spans.

    Raises:
        InputError: none of these clients is ever there.
    """
    if not traces.spans:
        return None
    drawn = stream(seed, "environment", "traces", "spans").permutation(len(traces.spans))
    availability = Availability.of([traces.spans[place] for place in np.resize(drawn, clients).tolist()])
    if not len(availability.client_I):
        raise InputError(
            f"none of the {clients} clients is ever there by the traces file '{traces.source.path}': choose more "
            "clients, another seed or other traces"
        )
    return availability


def with_hash(text: str) -> str:
    """Return where traces are with the file's whole path and its hash, as a run records it."""
    source = TracesSource.parse(text)
    sha256 = load_traces(source).source.sha256
    return str(replace(source, path=source.path.absolute(), sha256=sha256))

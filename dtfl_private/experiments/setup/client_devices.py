"""Which devices the clients of a run have, and when they are there: by profiles, or by traces."""

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.simulation.clients.availability import Availability
from dtfl_private.simulation.clients.profiles import ResourceProfile, load_profiles
from dtfl_private.simulation.clients.traces import (
    Traces,
    TracesSource,
    load_traces,
    traced_availability,
    traced_profiles,
)


def traces_of(config: TrainConfig) -> Traces | None:
    """Return the traces that a run names, checked; None if it names none.

    Raises:
        InputError: they cannot be read, or say of devices what profiles or their link unit say, too.
    """
    if config.traces is None:
        return None
    traces = load_traces(TracesSource.parse(config.traces))
    if traces.devices and config.profiles != "paper":
        raise InputError(
            f"profiles and the devices of the traces file '{traces.source.path}' exclude each other: leave one out"
        )
    if traces.devices and config.link_unit != "mbit":
        raise InputError(f"link_unit {config.link_unit} reads profiles; links of traces are in kbit/s: leave it out")
    return traces


def client_profiles(config: TrainConfig) -> tuple[ResourceProfile, ...]:
    """Return the kinds of devices that clients have: those of the traces, if these have any, or else the profiles."""
    traces = traces_of(config)
    if traces is None or not traces.devices:
        return load_profiles(config.profiles)
    return traced_profiles(traces, config.clients, config.cpu_gmacs * 1e9, config.seed)


def recorded_profiles(config: TrainConfig) -> str | list[ResourceProfile]:
    """Return the profiles as a run records them: written out, unless its devices are those of traces."""
    traces = traces_of(config)
    return config.profiles if traces is not None and traces.devices else list(load_profiles(config.profiles))


def client_availability(config: TrainConfig) -> Availability | None:
    """Return when the clients are there; None: always."""
    traces = traces_of(config)
    return None if traces is None else traced_availability(traces, config.clients, config.seed)


def traces_notes(config: TrainConfig) -> list[str]:
    """Return a line on what the traces say of this run's clients."""
    traces = traces_of(config)
    if traces is None:
        return []
    devices, spans = len(traces.devices), len(traces.spans)
    said = [
        f"{min(devices, config.clients):,} of its {devices:,} devices in place of profiles" if devices else "",
        f"clients are there by {min(spans, config.clients):,} of its {spans:,} traces of use" if spans else "",
    ]
    return [f"traces {traces.source.path}: {'; '.join(part for part in said if part)}"]

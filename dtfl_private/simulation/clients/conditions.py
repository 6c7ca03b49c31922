"""Which clients are there in a round, and with what resources: drift, noise, joining and leaving.

The state is a value: `advance` returns the next round's, and draws only from streams named by seed and round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.randomness import stream
from dtfl_private.simulation.clients.availability import Availability
from dtfl_private.simulation.clients.drift import DriftKind, between, ramp_weight, swing_weights, swinging
from dtfl_private.simulation.clients.profiles import BYTES_PER_S, LinkUnit, ResourceProfile


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """How the clients' resources behave over a run.

    Attributes:
        clients: number K of client ids, present or not.
        profiles: the kinds of devices.
        link_unit: how the profiles' link speeds are read; "mbyte" is the reading under which the DTFL paper's
            published seconds are consistent.
        drift: how resources move from one profile to another.
        drift_share: share of the clients that draw a new profile ...
        drift_every: ... every so many rounds; with days and nights, the clients that have them, and their period.
        noise: standard deviation of the logarithm of each round's factor on CPU and link speed (median 1).
        profile_error: standard deviation of the logarithm of each module's factor on each client's computing time
            (mean 1), the same in all rounds: the profiled ratios between tiers are wrong by it.
        dropout: probability that a participant drops out in mid-round.
        absent: share of the clients that are not there at the start.
        leave: probability per round that a present client leaves.
        join: probability per round that an absent client joins.
        seed: of all draws.
        availability: at which times present clients can begin a round; None: always.
    """

    clients: int
    profiles: tuple[ResourceProfile, ...]
    link_unit: LinkUnit = "mbit"
    drift: DriftKind = "jumps"
    drift_share: float = 0.0
    drift_every: int = 50
    noise: float = 0.0
    profile_error: float = 0.0
    dropout: float = 0.0
    absent: float = 0.0
    leave: float = 0.0
    join: float = 0.0
    seed: int = 0
    availability: Availability | None = None

    @property
    def shares(self) -> FloatArray:
        """Probability of each profile."""
        weights = np.array([profile.share for profile in self.profiles])
        shares: FloatArray = weights / weights.sum()
        return shares


@dataclass(frozen=True, kw_only=True)
class EnvironmentState:
    """Each client's present profile (index, (K,)) and whether it is there ((K,) bool).

    ``before_K``: with ramps, the profile that it comes from, which is the same if it does not change; else None.
    """

    profile_K: IntArray
    present_K: BoolArray
    before_K: IntArray | None = None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The true resources of all K clients in one round, noise included; none of it is told to the scheduler.

    ``profile_K``: each client's profile, a place among those of the environment.
    """

    profile_K: IntArray
    cpus_K: FloatArray
    up_bytes_s_K: FloatArray
    down_bytes_s_K: FloatArray
    latency_s_K: FloatArray


def initial_state(settings: EnvironmentSettings) -> EnvironmentState:
    """Return the state before the first round: profiles dealt out in exactly their shares, to random clients."""
    rng = stream(settings.seed, "environment", "start")
    ends = np.round(np.cumsum(settings.shares) * settings.clients).astype(np.int64)
    dealt = np.searchsorted(ends, np.arange(settings.clients), side="right")
    present = np.ones(settings.clients, dtype=np.bool_)
    absent = min(round(settings.absent * settings.clients), settings.clients - 1)
    present[rng.permutation(settings.clients)[:absent]] = False
    profile_K = rng.permutation(dealt)
    return EnvironmentState(
        profile_K=profile_K, present_K=present, before_K=profile_K if settings.drift == "ramps" else None
    )


def advance(state: EnvironmentState, settings: EnvironmentSettings, round_number: int) -> EnvironmentState:
    """Return the state of round ``round_number`` (from 1), given that of the round before."""
    ramps_begin = settings.drift == "ramps" and (round_number - 1) % settings.drift_every == 0
    return EnvironmentState(
        profile_K=_drift(state.profile_K, settings, round_number),
        present_K=_presence(state.present_K, settings, round_number),
        before_K=state.profile_K if ramps_begin else state.before_K,
    )


def _drift(profile_K: IntArray, settings: EnvironmentSettings, round_number: int) -> IntArray:
    due = round_number > 1 and (round_number - 1) % settings.drift_every == 0
    count = round(settings.drift_share * settings.clients)
    if not due or count == 0 or settings.drift == "day-night":
        return profile_K
    rng = stream(settings.seed, "environment", "drift", round_number)
    changed = rng.permutation(settings.clients)[:count]
    drifted = profile_K.copy()
    drifted[changed] = rng.choice(len(settings.profiles), size=count, p=settings.shares)
    return drifted


def _presence(present_K: BoolArray, settings: EnvironmentSettings, round_number: int) -> BoolArray:
    if round_number == 1 or (settings.leave == 0 and settings.join == 0):
        return present_K
    draws_K = stream(settings.seed, "environment", "presence", round_number).random(settings.clients)
    present = np.where(present_K, draws_K >= settings.leave, draws_K < settings.join)
    if not present.any():
        # A federation without clients has no round: the client that was least likely to leave stays.
        present[np.argmax(np.where(present_K, draws_K, -1.0))] = True
    return present


def conditions(state: EnvironmentState, settings: EnvironmentSettings, round_number: int) -> Conditions:
    """Return the resources of all clients in this round."""
    cpus = np.array([profile.cpus for profile in settings.profiles])
    up = np.array([profile.up_mbit_s for profile in settings.profiles]) * BYTES_PER_S[settings.link_unit]
    down = np.array([profile.down_mbit_s for profile in settings.profiles]) * BYTES_PER_S[settings.link_unit]
    latency_s = np.array([profile.latency_ms for profile in settings.profiles]) / 1e3
    cpu_factor: FloatArray | float = 1.0
    link_factor: FloatArray | float = 1.0
    if settings.noise > 0:
        rng = stream(settings.seed, "environment", "noise", round_number)
        cpu_factor, link_factor = np.exp(settings.noise * rng.standard_normal((2, settings.clients)))
    start_K, end_K, weight_K = _on_the_way(state, settings, round_number)
    return Conditions(
        profile_K=np.where(np.asarray(weight_K) < 0.5, start_K, end_K),
        cpus_K=between(cpus, start_K, end_K, weight_K) * cpu_factor,
        up_bytes_s_K=between(up, start_K, end_K, weight_K) * link_factor,
        down_bytes_s_K=between(down, start_K, end_K, weight_K) * link_factor,
        latency_s_K=latency_s[start_K] + weight_K * (latency_s[end_K] - latency_s[start_K]),
    )


def _on_the_way(
    state: EnvironmentState, settings: EnvironmentSettings, round_number: int
) -> tuple[IntArray, IntArray, FloatArray | float]:
    """Return between which two profiles each client is in this round, and how far it is from the first, 0 to 1."""
    if settings.drift == "day-night":
        chosen, nights, phases = swinging(settings.seed, settings.clients, settings.drift_share, settings.shares)
        night_K, weight_K = state.profile_K.copy(), np.zeros(settings.clients)
        night_K[chosen] = nights
        weight_K[chosen] = swing_weights(phases, round_number, settings.drift_every)
        return state.profile_K, night_K, weight_K
    if state.before_K is not None:
        return state.before_K, state.profile_K, ramp_weight(round_number, settings.drift_every)
    return state.profile_K, state.profile_K, 0.0


def slowness(settings: EnvironmentSettings, module_macs: Sequence[int], tiers_M: IntArray) -> FloatArray:
    """Return how many times longer each client really computes in each tier than profile and CPU share say, (K, M).

    Every module takes a factor of its own on every client's device, log-normal with mean 1. That of tier m is the mean
    over md1..md_m, weighted by MACs: a client that holds more modules is not the faster for it. Without a profile
    error all are 1.

    Args:
        settings: of the environment.
        module_macs: forward MACs of each of the network's modules; not needed without a profile error.
        tiers_M: the tiers m asked for.
    """
    if settings.profile_error == 0:
        return np.broadcast_to(1.0, (settings.clients, len(tiers_M)))
    if len(module_macs) < tiers_M.max():
        raise ValueError(f"MACs of {len(module_macs)} modules given, tier {tiers_M.max()} holds more")
    sigma, macs_L = settings.profile_error, np.maximum(np.array(module_macs, dtype=np.float64), 1.0)  # lookups: no MACs
    drawn_KL = stream(settings.seed, "environment", "modules").standard_normal((settings.clients, len(macs_L)))
    factor_KL = np.exp(sigma * drawn_KL - sigma**2 / 2)
    mean_KL = np.cumsum(factor_KL * macs_L, axis=1) / np.cumsum(macs_L)
    slowness_KM: FloatArray = mean_KL[:, tiers_M - 1]
    return slowness_KM

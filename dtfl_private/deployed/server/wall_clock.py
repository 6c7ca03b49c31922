"""The clock of a deployed run: who is there and how long things take is measured, and nothing simulated."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from dtfl_private.deployed.server.newcomers import LEAST_S, Newcomers
from dtfl_private.deployed.server.played_round import Played, transfer_seconds
from dtfl_private.deployed.server.registry import Link, Registry
from dtfl_private.deployed.server.remote_clients import RemoteClients
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.simulation.client_workloads import images_in
from dtfl_private.simulation.estimates import NEVER, Observation
from dtfl_private.simulation.round_clock import ClockKind
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_round import PlannedRound, Presence, close_round, plan_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState

# By what a measured speed of the server moves from round to round.
SERVER_EMA = 0.5
# Of the most that the server has of a network, at least so much must have been trained to say how fast it is: the steps
# of a few last layers last as long as their bookkeeping, and by them the server would be too slow to get more.
LEAST_SERVER_SHARE = 0.1


class WallClock:
    """Rounds of real clients: `RoundClock` by measurement.

    Args:
        registry: of the clients.
        clients: the executor that plays the rounds.
        newcomers: measures whoever is new.
        images: returns N_k of all clients, as far as they are known.
        waiting: called while nobody is there.
    """

    kind: ClassVar[ClockKind] = "wall"

    def __init__(
        self,
        registry: Registry,
        clients: RemoteClients,
        newcomers: Newcomers,
        *,
        images: Callable[[], IntArray],
        waiting: Callable[[str], None],
    ) -> None:
        self._registry, self._clients, self._newcomers = registry, clients, newcomers
        self._images, self._waiting = images, waiting
        self._server_s_per_mac: float | None = None
        self._began_s = 0.0
        self._images_K: IntArray = np.zeros(registry.clients, dtype=np.int64)

    def begin(
        self, state: ScheduleState, settings: ScheduleSettings, round_number: int, retired: Collection[int]
    ) -> PlannedRound:
        """Return the round as it is to be played, once clients are there and have been measured."""
        while True:
            self._wait()
            known_K = state.history.tier_K != NEVER
            probes = self._newcomers.measure(round_number, known_K, settings)
            # Whoever has come since then is not measured, and waits for the next round.
            present_K = self._registry.present_K
            if self._newcomers.probes(settings):
                known_K[probes.clients_P] = True
                present_K &= known_K
            willing_K = present_K.copy()
            willing_K[list(retired)] = False
            if willing_K.any():
                break
            # Those that are here have spent their budgets, or are not measured yet: wait for others.
            self._registry.wait(len(self._registry.connected()) + 1, timeout_s=1.0)
        self._began_s, self._images_K = time.monotonic(), self._images()
        presence = Presence(present_K=present_K, probes=probes)
        return plan_round(state, self._as_measured(settings), round_number, retired, presence)

    def close(self, planned: PlannedRound, settings: ScheduleSettings) -> tuple[ScheduleState, RoundPlan]:
        """Return the state after the round, and the round as it went."""
        settings = self._as_measured(settings)
        clients = planned.plan.clients_P.tolist()
        played = [self._clients.played[client] for client in clients]
        self._note_server(played, settings)
        went = self._went(planned.plan, played, settings)
        return close_round(planned, settings, went, self._observation(went, played, settings))

    def _wait(self) -> None:
        """Wait until somebody is there: without clients there is no round."""
        told = False
        while not self._registry.wait(1, timeout_s=1.0):
            if not told:
                self._waiting("no client is connected")
                told = True

    def _as_measured(self, settings: ScheduleSettings) -> ScheduleSettings:
        """Return the settings with what is known now: all clients' images, and, after a round, the server's speed."""
        settings = replace(settings, images_K=self._images_K)
        if self._server_s_per_mac is None:
            return settings
        cpus = 1 / (self._server_s_per_mac * settings.cpu_macs_per_s)
        return replace(settings, server=replace(settings.server, cpus=cpus))

    def _note_server(self, played: Sequence[Played], settings: ScheduleSettings) -> None:
        macs_M = dict(zip(settings.table.tiers_M.tolist(), settings.table.column("server_train_macs"), strict=True))
        least = LEAST_SERVER_SHARE * max(macs_M.values())
        telling = [one for one in played if macs_M[one.tier] >= least]
        macs = sum(one.images * macs_M[one.tier] for one in telling)
        seconds = sum(one.server_s for one in telling)
        if macs and seconds:
            new, old = seconds / macs, self._server_s_per_mac
            self._server_s_per_mac = new if old is None else SERVER_EMA * new + (1 - SERVER_EMA) * old

    def _went(self, plan: RoundPlan, played: Sequence[Played], settings: ScheduleSettings) -> RoundPlan:
        """Return the plan with what became of it."""
        records_P = settings.images_K[plan.clients_P]
        sent_P = np.array([one.batches for one in played])
        trained_P = np.minimum(sent_P * settings.send_every, plan.batches_P)
        completed_P = np.array([one.completed for one in played], dtype=np.bool_)
        stopped_P = np.array([one.stopped for one in played], dtype=np.bool_)
        whole_P = completed_P & ~stopped_P
        trained_P = np.where(whole_P, plan.batches_P, trained_P)
        transfer_s_P = np.array([self._transfer_s(one) for one in played])
        images_P: IntArray = np.array(
            [
                plan.images_P[place] if whole_P[place] else _images(trained_P[place], records_P[place], settings)
                for place in range(len(played))
            ],
            dtype=np.int64,
        )
        return replace(
            plan,
            batches_P=trained_P,
            sent_batches_P=sent_P,
            images_P=images_P,
            sent_P=np.array([one.images for one in played]),
            dropped_P=~completed_P,
            compute_s_P=np.array([one.compute_s for one in played]),
            transfer_s_P=transfer_s_P,
            client_time_s_P=np.array([one.round_s for one in played]),
            server_wait_s=float(sum(one.waited_s for one in played)),
            round_time_s=self._clients.ended_s - self._began_s,
            stopped_P=stopped_P,
            oracle_time_s=None,
        )

    def _transfer_s(self, played: Played) -> float:
        link = self._registry.link(played.client)
        return 0.0 if link is None else transfer_seconds(played, link)

    def _observation(self, went: RoundPlan, played: Sequence[Played], settings: ScheduleSettings) -> Observation:
        """Return what was measured of the clients that completed the round."""
        seen = [
            (place, one, link)
            for place, one in enumerate(played)
            if one.completed and went.images_P[place] > 0 and (link := self._registry.link(one.client)) is not None
        ]
        places = np.array([place for place, _, _ in seen], dtype=np.int64)
        return Observation(
            clients_P=went.clients_P[places],
            column_P=np.searchsorted(settings.table.tiers_M, went.tiers_P[places]),
            seconds_P=_array([max(one.compute_s, LEAST_S) / float(went.images_P[place]) for place, one, _ in seen]),
            **link_arrays([link for _, _, link in seen]),
        )


def link_arrays(links: Sequence[Link]) -> dict[str, FloatArray]:
    """Return what links are like, by the names that an `Observation` has."""
    return {
        "up_bytes_s_P": _array([link.up_bytes_s for link in links]),
        "down_bytes_s_P": _array([link.down_bytes_s for link in links]),
        "latency_s_P": _array([link.latency_s for link in links]),
    }


def _array(values: Sequence[float]) -> FloatArray:
    return np.array(values, dtype=np.float64)


def _images(batches: int, records: int, settings: ScheduleSettings) -> int:
    counted = images_in(np.array([batches]), np.array([records]), settings.batch_size)
    return int(counted[0])

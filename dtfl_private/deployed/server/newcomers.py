"""What the server measures of a client before its round: its link in each session, a standard batch once in a run."""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from dtfl_private.deployed.server.opening import REAL_CLIENT
from dtfl_private.deployed.server.registry import Link, Registry
from dtfl_private.deployed.sessions.session import F, Session, SessionLostError, expect
from dtfl_private.deployed.wire.checks import check_echo, check_probed
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import Echo, Measure, Probe, Probed, Scale, WireMessage
from dtfl_private.protocol.contracts import BoolArray
from dtfl_private.protocol.messages import ChannelScale, ModelDownload
from dtfl_private.simulation.estimates import Observation
from dtfl_private.simulation.schedule_state import ScheduleSettings

# A link is timed with so many bytes each way: twice a round trip's worth on a slow line, a millisecond on a fast one.
LINK_BYTES = 2**18
LEAST_MEASURING_S, MOST_MEASURING_S = 10.0, 60.0
"""Seconds that a client has for all of its answers: as many as for a round, within these bounds."""
LEAST_S = 1e-6
# A clock and two threads tell no faster link from this one: 21 Gbit/s.
LEAST_LINK_S = 1e-4
MBIT = 1e6 / 8


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A client's computing seconds per image in the shallowest tier, None if it was not probed, and its link."""

    client: int
    seconds: float | None
    link: Link


class Newcomers:
    """Measures clients that are new, all at once.

    Args:
        registry: of the clients.
        probe: returns the weights that a client is probed with, and the learning rate.
        batch_size: images of a standard batch.
        scale: by which clients normalise; None where they know that already.
        within_s: seconds that a client has for all of its answers: nobody may hold up a run for longer.
        gave_up: called with a client and why it could not be measured.
    """

    def __init__(
        self,
        registry: Registry,
        probe: Callable[[int, int], tuple[ModelDownload, float]],
        *,
        batch_size: int,
        scale: ChannelScale | None,
        within_s: float,
        gave_up: Callable[[int, str], None],
    ) -> None:
        self._registry, self._probe, self._batch_size = registry, probe, batch_size
        self._scale, self._within_s, self._gave_up = scale, within_s, gave_up

    def measure(self, round_number: int, known_K: BoolArray, settings: ScheduleSettings) -> Observation:
        """Measure whoever has no measurement in its session; return what probes of those not known before gave.

        Args:
            round_number: of the round to come.
            known_K: whether each client's computing time is known.
            settings: of the schedule.
        """
        new = [client for client in self._registry.connected() if self._registry.link(client) is None]
        probes = self.probes(settings)
        with ThreadPoolExecutor(max(1, len(new)), thread_name_prefix="measure") as threads:
            wanted = [threads.submit(self._one, client, round_number, probes and not known_K[client]) for client in new]
        found = [measured for one in wanted if (measured := one.result()) is not None]
        probed = [one for one in found if one.seconds is not None]
        return Observation(
            clients_P=np.array([one.client for one in probed], dtype=np.int64),
            column_P=np.zeros(len(probed), dtype=np.int64),
            seconds_P=np.array([one.seconds for one in probed], dtype=np.float64),
            up_bytes_s_P=np.array([one.link.up_bytes_s for one in probed]),
            down_bytes_s_P=np.array([one.link.down_bytes_s for one in probed]),
            latency_s_P=np.array([one.link.latency_s for one in probed]),
        )

    def probes(self, settings: ScheduleSettings) -> bool:
        """Return whether clients are to be probed."""
        return settings.first_tier == "probe" and settings.scheduler.uses_times

    def _one(self, client: int, round_number: int, is_probed: bool) -> Measured | None:
        session = self._registry.session(client)
        if session is None:
            return None
        asking = _Asking(session, self._within_s)
        try:
            if self._scale is not None:
                asking.tell(Scale(session=session.number, message=replace(self._scale, client=client)))
            link = self._link(asking) if session.fixed_latency_s is None else _usual(session.fixed_latency_s)
            seconds = self._batch_s(client, round_number, asking) if is_probed else None
        except (WireError, SessionLostError, TimeoutError) as error:
            why = str(error) or f"no answer within {self._within_s:g} s"
            self._gave_up(client, f"it could not be measured: {why}")
            session.lose(why)  # what it answers later would be taken for something else
            return None
        self._registry.measured(client, session, link)
        return Measured(client=client, seconds=seconds, link=link)

    def _link(self, asking: "_Asking") -> Link:
        """Return a session's link: latency by an empty message, then each direction by a full one."""
        trip_s = min(self._trip_s(asking, 0, 0), self._trip_s(asking, 0, 0))
        down_s = max(self._trip_s(asking, LINK_BYTES, 0) - trip_s, LEAST_LINK_S)
        up_s = max(self._trip_s(asking, 0, LINK_BYTES) - trip_s, LEAST_LINK_S)
        return Link(up_bytes_s=LINK_BYTES / up_s, down_bytes_s=LINK_BYTES / down_s, latency_s=trip_s / 2)

    def _trip_s(self, asking: "_Asking", down: int, up: int) -> float:
        number = secrets.randbelow(2**31)
        # Bytes that no compression on the way makes fewer.
        payload = secrets.token_bytes(down)
        measure = Measure(session=asking.session, number=number, payload=payload, reply_bytes=up)
        echo, seconds = asking.answer(measure, Echo)
        check_echo(echo, session=asking.session, number=number, reply_bytes=up)
        return seconds

    def _batch_s(self, client: int, round_number: int, asking: "_Asking") -> float:
        """Return a client's seconds per image for one standard batch, within what the server has seen."""
        download, lr = self._probe(client, round_number)
        probed, seen_s = asking.answer(Probe(session=asking.session, message=download, lr=lr), Probed)
        check_probed(probed, session=asking.session, batch_size=self._batch_size, elapsed_s=seen_s)
        return max(probed.batch_s, LEAST_S) / probed.images


def _usual(latency_s: float) -> Link:
    """Return a link of which only the latency is known."""
    up_bytes_s, down_bytes_s = REAL_CLIENT.up_mbit_s * MBIT, REAL_CLIENT.down_mbit_s * MBIT
    return Link(up_bytes_s=up_bytes_s, down_bytes_s=down_bytes_s, latency_s=latency_s)


class _Asking:
    """Questions to a client, which has so many seconds for all of its answers."""

    def __init__(self, session: Session, within_s: float) -> None:
        self._session, self._end_s = session, time.monotonic() + within_s
        self.session = session.number

    @property
    def _left_s(self) -> float:
        return max(0.0, self._end_s - time.monotonic())

    def tell(self, message: WireMessage) -> None:
        """Say something that needs no answer."""
        self._session.send(message, self._left_s)

    def answer(self, question: WireMessage, kind: type[F]) -> tuple[F, float]:
        """Return the answer and the seconds until it came."""
        began_s = time.monotonic()
        self.tell(question)
        answer = expect(self._session.receive(self._left_s), kind)
        return answer, max(time.monotonic() - began_s, LEAST_S)

"""What waits for what in a round: how a method's computing, transfers and server work add up to simulated seconds."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.workload import Workload

NO_ORDER = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class RoundWork:
    """What the P participants of a round have to do.

    Attributes:
        seconds: in seconds under their true resources, (P,) arrays.
        batches_P: batches the client trains on.
        sent_batches_P: batches it sends.
    """

    seconds: Workload
    batches_P: IntArray
    sent_batches_P: IntArray

    @property
    def own_s_P(self) -> FloatArray:
        """T_c + T_com: what a client does itself."""
        return self.seconds.computing_s + self.seconds.transfer_s


@dataclass(frozen=True, kw_only=True)
class RoundTimes:
    """How a round goes.

    Attributes:
        client_time_s_P: T_k, when the client's part is done on both sides.
        server_wait_s: total time by which clients are done later because their work waited for a free worker.
        order: positions of the participants in the order in which the one server network takes their data, one entry
            per piece of it; empty where every client has a server half of its own.
        replica_P: number of the server network that takes each participant's data, where clients share several.
    """

    client_time_s_P: FloatArray
    server_wait_s: float
    order: IntArray
    replica_P: IntArray = field(default_factory=lambda: NO_ORDER)


class Timing(Protocol):
    """A method's time model.

    Attributes:
        trains_first: whether a client's training is over before its first batch is at the server.
    """

    @property
    def trains_first(self) -> bool: ...  # noqa: D102 - documented under Attributes of the class

    def batches(self, share_P: FloatArray, per_epoch_P: IntArray, epochs: int) -> tuple[IntArray, IntArray]:
        """Return the batches that clients train on, and those that they send, when they do this share of their round.

        Args:
            share_P: 1 for a client that completes the round, less for one that drops out.
            per_epoch_P: batches in one pass over a client's records.
            epochs: passes of the training.
        """
        ...

    def round_trips(self, batches_P: IntArray) -> IntArray:
        """Return how often each client waits for an answer of the server."""
        ...

    def queues(self, server: ServerCapacity) -> int:
        """Return how many clients' data the server takes at once."""
        ...

    def simulate(self, work: RoundWork, server: ServerCapacity) -> RoundTimes:
        """Return how the round goes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Overlapping:
    """Client and server compute at the same time: T_k = max(T_c + T_com, T_s + T_com) (dtfl section 3).

    Where workers are few, batches are queued as they arrive. Without work for the server this is T_c + T_com. With
    ``trains_first`` the client trains, and the server works while the client releases what it sends:
    T_k = T_train + T_com + max(T_release, T_s). ``trips`` is 0 where nothing is transferred.
    """

    trips: int = 1
    trains_first: bool = False

    def batches(self, share_P: FloatArray, per_epoch_P: IntArray, epochs: int) -> tuple[IntArray, IntArray]:
        """Return equal numbers: every batch is sent as it is trained on.

        If the client trains first, its passes over batches are those of the training and then one for each batch that
        it sends: a client that drops out early has sent nothing.
        """
        if not self.trains_first:
            trained_P = np.floor(share_P * per_epoch_P * epochs).astype(np.int64)
            return trained_P, trained_P
        training_P = per_epoch_P * epochs
        passes_P = np.floor(share_P * (training_P + per_epoch_P)).astype(np.int64)
        return np.minimum(passes_P, training_P), np.maximum(passes_P - training_P, 0)

    def round_trips(self, batches_P: IntArray) -> IntArray:
        """Return one for each: weights down and up, while batches are streamed."""
        return np.full(len(batches_P), self.trips)

    def queues(self, server: ServerCapacity) -> int:
        """Return the number of workers."""
        return server.workers

    def simulate(self, work: RoundWork, server: ServerCapacity) -> RoundTimes:
        """Return how the round goes."""
        done_s_P = work.seconds.done_s(server.workers)
        wait_s = float((done_s_P - work.seconds.times_s).sum())
        return RoundTimes(client_time_s_P=done_s_P, server_wait_s=wait_s, order=NO_ORDER)


@dataclass(frozen=True, kw_only=True)
class SharedServer(Overlapping):
    """As `Overlapping`, but ``replicas`` server networks take the batches of all clients one after the other.

    Nobody waits for an answer. Each client's batches go to one of the networks, which takes them in the order of
    arrival, on a worker of its own; where workers are fewer than networks, several of these share one. Clients are
    dealt out so that the networks have about equal work. A client's batches come in evenly while it computes (while it
    releases, with ``trains_first``): T_k = max(T_c + T_com, when its last batch is trained on), which for a client that
    has a network to itself is DTFL's max(T_c, T_s) + T_com.

    A network takes ``merge`` batches at once, when the last of them is there, on as many workers, or as many as there
    are for each network; what is left in the end is taken when it is there.
    """

    replicas: int = 1
    merge: int = 1

    def queues(self, server: ServerCapacity) -> int:
        """Return how many batches have a worker at once."""
        return min(self.replicas * self.merge, server.workers)

    def simulate(self, work: RoundWork, server: ServerCapacity) -> RoundTimes:
        """Return how the round goes."""
        seconds = work.seconds
        sent_P = np.where(seconds.service_s > 0, work.sent_batches_P, 0)
        replica_P = _dealt_out(seconds.service_s, self.replicas)
        service_s_P = seconds.service_s / np.maximum(sent_P, 1)
        done_s_P = work.own_s_P
        at_once = min(self.replicas, server.workers)
        workers = max(1, min(self.merge, server.workers // self.replicas))
        free_s = [0.0] * at_once
        arrivals = _arrivals(seconds, sent_P)
        for arrival_s, replica, places in _merged(arrivals, replica_P, self.merge):
            # The batches of a step are dealt out to the network's workers in turn.
            longest_s = max(float(service_s_P[places[worker::workers]].sum()) for worker in range(workers))
            end_s = max(arrival_s, free_s[replica % at_once]) + longest_s
            free_s[replica % at_once] = end_s
            done_s_P[places] = np.maximum(done_s_P[places], end_s)
        order = [place for _, place in arrivals]
        wait_s = float(np.maximum(done_s_P - seconds.times_s, 0.0).sum())
        taken = np.array(order, dtype=np.int64)
        return RoundTimes(client_time_s_P=done_s_P, server_wait_s=wait_s, order=taken, replica_P=replica_P)


def _arrivals(seconds: Workload, sent_P: IntArray) -> list[tuple[float, int]]:
    """Return when each batch is at the server and whose it is, in order; a client's come in evenly."""
    first_s, over_s = seconds.arrival_s.tolist(), seconds.streaming_s.tolist()
    return sorted(
        (first_s[place] + over_s[place] * batch / sent, place)
        for place, sent in enumerate(sent_P.tolist())
        for batch in range(sent)
    )


def _merged(
    arrivals: Sequence[tuple[float, int]], replica_P: IntArray, merge: int
) -> list[tuple[float, int, list[int]]]:
    """Return the steps of all networks: when the last batch of each is there, the network, and whose batches it has."""
    by_network: dict[int, list[tuple[float, int]]] = {}
    for arrival_s, place in arrivals:
        by_network.setdefault(int(replica_P[place]), []).append((arrival_s, place))
    steps = [
        (of_step[-1][0], replica, [place for _, place in of_step])
        for replica, own in by_network.items()
        for of_step in (own[start : start + merge] for start in range(0, len(own), merge))
    ]
    return sorted(steps, key=lambda step: step[0])


def _dealt_out(service_s_P: FloatArray, replicas: int) -> IntArray:
    """Return a network for each client: the longest work first, each to the network that has the least so far."""
    replica_P, load_s = np.zeros(len(service_s_P), dtype=np.int64), np.zeros(min(replicas, len(service_s_P)))
    for place in np.argsort(-service_s_P, kind="stable"):
        replica_P[place] = load_s.argmin()
        load_s[replica_P[place]] += service_s_P[place]
    return replica_P


@dataclass(frozen=True, kw_only=True)
class BatchByBatch:
    """In every batch the client waits for the server, and the server for the client: T_k = T_c + T_com + waits + T_s.

    Each batch asks for a server worker when it arrives, first come first served. With ``one_server_half`` there is one
    worker only, for there is one network to train. Waits are computed batch by batch; a client's computing and
    transfers, those of its weights among them, are spread evenly over its batches.

    With several ``visits`` a batch comes to the server so many times, with a round trip and an equal part of the
    client's time before each; the server does that share of its work then, and serves others in between.
    """

    one_server_half: bool
    visits: tuple[float, ...] = (1.0,)
    trains_first: ClassVar[bool] = False

    def batches(self, share_P: FloatArray, per_epoch_P: IntArray, epochs: int) -> tuple[IntArray, IntArray]:
        """Return equal numbers: every batch is sent as it is trained on."""
        return Overlapping().batches(share_P, per_epoch_P, epochs)

    def round_trips(self, batches_P: IntArray) -> IntArray:
        """Return one for the weights and one for each visit of a batch, whose answer the client waits for."""
        return 1 + len(self.visits) * batches_P

    def queues(self, server: ServerCapacity) -> int:
        """Return the number of workers, or one for the one server half."""
        return 1 if self.one_server_half else server.workers

    def simulate(self, work: RoundWork, server: ServerCapacity) -> RoundTimes:
        """Return how the round goes."""
        if not self.one_server_half and server.workers >= len(work.batches_P):
            alone_s_P = work.own_s_P + work.seconds.service_s
            return RoundTimes(client_time_s_P=alone_s_P, server_wait_s=0.0, order=NO_ORDER)
        times = _in_turn(work, self.queues(server), self.visits)
        return times if self.one_server_half else replace(times, order=NO_ORDER)


def _in_turn(work: RoundWork, workers: int, visits: Sequence[float]) -> RoundTimes:
    """Play the visits of all clients' batches one by one on so many server workers."""
    done_s_P = work.own_s_P
    count_P = np.maximum(work.batches_P, 1)
    own_s, service_s = (done_s_P / (count_P * len(visits))).tolist(), (work.seconds.service_s / count_P).tolist()
    visits_P = work.batches_P * len(visits)
    arrivals = [(own_s[place], place, count) for place, count in enumerate(visits_P.tolist()) if count]
    heapq.heapify(arrivals)
    free_at = [0.0] * workers
    waited_s, order = 0.0, []
    while arrivals:
        arrival, place, left = heapq.heappop(arrivals)
        start = max(arrival, heapq.heappop(free_at))
        end = start + service_s[place] * visits[-left % len(visits)]
        heapq.heappush(free_at, end)
        waited_s += start - arrival
        order.append(place)
        done_s_P[place] = end
        if left > 1:
            heapq.heappush(arrivals, (end + own_s[place], place, left - 1))
    return RoundTimes(client_time_s_P=done_s_P, server_wait_s=waited_s, order=np.array(order, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class ServerLast:
    """All clients first, then the server: T_k = max_k (T_c + T_com) + sum_k T_s.

    One server worker trains the one network, a batch of each client in turn, when the data of all are there. A client
    sends each record once, when it has trained; one that drops out has sent nothing, and nobody waits for it.
    """

    trains_first: ClassVar[bool] = True

    def batches(self, share_P: FloatArray, per_epoch_P: IntArray, epochs: int) -> tuple[IntArray, IntArray]:
        """Return the batches of the training, and of each client's records once; a client that drops out sends none."""
        trained_P, _ = Overlapping().batches(share_P, per_epoch_P, epochs)
        return trained_P, np.where(share_P < 1, 0, per_epoch_P)

    def round_trips(self, batches_P: IntArray) -> IntArray:
        """Return one for each: data up, answers down."""
        return np.ones_like(batches_P)

    def queues(self, server: ServerCapacity) -> int:
        """Return one: there is one network."""
        return 1

    def simulate(self, work: RoundWork, server: ServerCapacity) -> RoundTimes:
        """Return how the round goes; the waits are those of each client's data."""
        own_s_P, service_s_P = work.own_s_P, work.seconds.service_s
        takes_part_P = service_s_P > 0
        end_s = own_s_P.max(initial=0.0, where=takes_part_P) + service_s_P.sum()
        client_time_s_P = np.where(takes_part_P, end_s, own_s_P)
        waits_s = float((client_time_s_P - own_s_P - service_s_P).sum())
        return RoundTimes(client_time_s_P=client_time_s_P, server_wait_s=waits_s, order=NO_ORDER)

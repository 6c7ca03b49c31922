"""What clients have to do in a round, in seconds, and in which order: how DTFL's times add up.

The times of transfers themselves are in `dtfl_private.simulation.transfer_time`.
"""

from dataclasses import dataclass, replace

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.simulation.server_queue import alone_s, done_s


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The parts of a round of P clients, in seconds: arrays (P, M), one column per tier, or (P,) in given tiers.

    As a rule a client sends each batch as it trains on it. If it trains first, nothing is sent before the training is
    over: then every record passes the frozen client half once more, and each batch is sent when it has.

    Attributes:
        training_s: T_train, the client's training.
        releasing_s: T_release, forward passes for what is sent apart from the training; 0 as a rule.
        transfer_s: T_com, all transfers.
        service_s: T_s, the server's work for the client.
        trains_first: whether all training comes before the first batch is sent.
    """

    training_s: FloatArray
    releasing_s: FloatArray
    transfer_s: FloatArray
    service_s: FloatArray
    trains_first: bool = False

    @property
    def computing_s(self) -> FloatArray:
        """T_c = T_train + T_release."""
        return self.training_s + self.releasing_s

    @property
    def arrival_s(self) -> FloatArray:
        """When the client's first data are at the server: T_com, or T_train + T_com if it trains first."""
        return self.training_s + self.transfer_s if self.trains_first else self.transfer_s

    @property
    def streaming_s(self) -> FloatArray:
        """What the client computes while its data come in: T_c, or T_release if it trains first."""
        return self.releasing_s if self.trains_first else self.computing_s

    @property
    def times_s(self) -> FloatArray:
        """T_k where a server worker is free: max(T_c, T_s) + T_com (dtfl section 3).

        If the client trains first that is T_train + T_com + max(T_release, T_s).
        """
        return alone_s(self.arrival_s, self.streaming_s, self.service_s)

    def done_s(self, workers: int) -> FloatArray:
        """Return T_k (P,) before a server of so many workers, of clients in given tiers."""
        return done_s(self.arrival_s, self.streaming_s, self.service_s, workers)

    def in_tiers(self, column_P: IntArray) -> "Workload":
        """Return the work (P,) of clients in one tier each, given by its column."""
        rows_P = np.arange(len(column_P))
        return replace(
            self,
            training_s=self.training_s[rows_P, column_P],
            releasing_s=self.releasing_s[rows_P, column_P],
            transfer_s=self.transfer_s[rows_P, column_P],
            service_s=self.service_s[rows_P, column_P],
        )

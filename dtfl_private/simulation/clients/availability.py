"""At which simulated times clients can take part: each one's active spans, which start over after its period."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray

SAME_TIME_S = 1e-6
"""Clients whose spans begin within so many seconds of one another are there together: moments are sums of floats."""


@dataclass(frozen=True, kw_only=True)
class ActiveSpans:
    """When one device is there: it is from each begin to the end beside it, both included; then all starts over.

    Attributes:
        period_s: after so many seconds the spans start over.
        begins_s: (I,) begins, from 0; a span that begins after the period is never reached.
        ends_s: (I,) ends; none before its begin.
    """

    period_s: float
    begins_s: FloatArray
    ends_s: FloatArray


@dataclass(frozen=True, kw_only=True)
class Availability:
    """The active spans of K clients: those of all in one array, with the client that each belongs to."""

    period_s_K: FloatArray
    client_I: IntArray
    begin_s_I: FloatArray
    end_s_I: FloatArray

    @classmethod
    def of(cls, spans: Sequence[ActiveSpans]) -> "Availability":
        """Return the availability of clients with these spans, in their order."""
        period_s_K = np.array([one.period_s for one in spans], dtype=np.float64)
        client_I = np.repeat(np.arange(len(spans)), [len(one.begins_s) for one in spans])
        begin_s_I = np.concatenate([one.begins_s for one in spans])
        reached_I = begin_s_I < period_s_K[client_I]
        return cls(
            period_s_K=period_s_K,
            client_I=client_I[reached_I],
            begin_s_I=begin_s_I[reached_I],
            end_s_I=np.concatenate([one.ends_s for one in spans])[reached_I],
        )

    def waits_s(self, now_s: float) -> FloatArray:
        """Return in how many seconds each client is there (K,): 0 now, infinity never."""
        time_s_I = (now_s % self.period_s_K)[self.client_I]
        inside_I = (self.begin_s_I <= time_s_I) & (time_s_I <= self.end_s_I)
        until_s_I = np.where(inside_I, 0.0, (self.begin_s_I - time_s_I) % self.period_s_K[self.client_I])
        wait_s_K: FloatArray = np.full(len(self.period_s_K), np.inf)
        np.minimum.at(wait_s_K, self.client_I, until_s_I)
        return wait_s_K


def first_there(availability: Availability | None, willing_K: BoolArray, now_s: float) -> tuple[BoolArray, float]:
    """Return which willing clients a round that is due now begins with, and how long it waits for the first of them.

    A client that is there when the round begins stays for all of it. Without availability all are there at once; if
    none ever is, nobody, at once.
    """
    if availability is None:
        return willing_K, 0.0
    wait_s_K = np.where(willing_K, availability.waits_s(now_s), np.inf)
    wait_s = float(wait_s_K.min(initial=np.inf))
    if not np.isfinite(wait_s):
        return np.zeros_like(willing_K), 0.0
    there_K: BoolArray = wait_s_K <= wait_s + SAME_TIME_S
    return there_K, wait_s

"""One round as planned: its participants and its simulated times, bytes and operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.protocol.messages import Wire
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.timing import NO_ORDER

NO_BYTES = np.empty(0)
NOBODY = np.empty(0, dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """One round's participants, ascending by id, and its simulated times in seconds.

    Attributes:
        round: number, from 1.
        clients_P: ids of the participants.
        tiers_P: their tiers m.
        batches_P: batches each one trains on; fewer than all for one that drops out.
        sent_batches_P: batches each one sends; fewer than it trains on for one that trains first and then drops out.
        images_P: images in the batches that it trains on.
        sent_P: images whose activations are sent.
        dropped_P: whether the client drops out in mid-round: its update is lost, what it had sent is not.
        measured_P: images by which it measures batch norm's statistics of the new weights; 0 if it does not.
        compute_s_P: T_c, the client's computing time.
        transfer_s_P: T_com, its transfers.
        client_time_s_P: T_k, when the client's part of the round is done on both sides; if it then measures, and that
            time, without the wait for the slowest in between.
        server_wait_s: total time by which clients are done later because their work waited for a free server worker.
        round_time_s: the longest T_k, and the longest time that a client measures; before it, with traces, the wait
            until a client is there.
        order: positions of the participants in the order in which one server network takes their data, if it does.
        replica_P: number of the server network that takes a participant's data, where clients share several.
        wires: the formats in which the participants are to send smashed data; empty where the server names none.
        image_bytes_P: bytes of an image's smashed data in these formats; empty likewise.
        stopped_P: whether the deadline came before the client had trained on all its batches; empty where none is set.
        profile_P: their resource profiles, as places in ``profiles``; empty where nobody says.
        profiles: names of the resource profiles.
        oracle_time_s: how long this round would have lasted with the tiers of the oracle; None with one tier.
        oracle_tiers_P: these tiers; empty likewise.
        rested: ids of clients that were there and took no part, their exposure budgets being spent; None without any.
        exposure_P: what the participants have exposed since the start, this round included; empty without a budget.
    """

    round: int
    clients_P: IntArray
    tiers_P: IntArray
    batches_P: IntArray
    sent_batches_P: IntArray
    images_P: IntArray
    sent_P: IntArray
    dropped_P: BoolArray
    measured_P: IntArray
    compute_s_P: FloatArray
    transfer_s_P: FloatArray
    client_time_s_P: FloatArray
    server_wait_s: float
    round_time_s: float
    order: IntArray = field(default_factory=lambda: NO_ORDER)
    replica_P: IntArray = field(default_factory=lambda: NO_ORDER)
    wires: Sequence[Wire] = ()
    image_bytes_P: FloatArray = field(default_factory=lambda: NO_BYTES)
    stopped_P: BoolArray = field(default_factory=lambda: NOBODY)
    profile_P: IntArray = field(default_factory=lambda: NO_ORDER)
    profiles: Sequence[str] = ()
    oracle_time_s: float | None = None
    oracle_tiers_P: IntArray = field(default_factory=lambda: NO_ORDER)
    rested: IntArray | None = None
    exposure_P: FloatArray = field(default_factory=lambda: NO_BYTES)

    @property
    def oracle_matches(self) -> int | None:
        """How many participants have the tier that the oracle would have given them; None if there is no choice."""
        return int((self.tiers_P == self.oracle_tiers_P).sum()) if len(self.oracle_tiers_P) else None

    @property
    def profile_names_P(self) -> Sequence[str]:
        """The participants' resource profiles by name; "" where nobody says."""
        if not len(self.profile_P):
            return [""] * len(self.clients_P)
        return [self.profiles[place] for place in self.profile_P.tolist()]


def planned_bytes(plan: RoundPlan, table: TierTable, registration: Mapping[str, int] = NO_TRAFFIC) -> Mapping[str, int]:
    """Return the bytes of a round by kind, summed over clients, by the cost table.

    ``down_gradients``, ``up_logits``, ``down_logits``, ``down_outputs`` and ``up_gradients`` are there only if the
    method sends them. ``registration``: what was sent before round 1, which counts as its bytes.
    """
    column_P = np.searchsorted(table.tiers_M, plan.tiers_P)
    weights_P = table.column("weight_bytes")[column_P]
    measures_P = plan.measured_P > 0
    statistics_P = table.column("statistics_bytes")[column_P]
    sent_P = plan.sent_P.astype(np.float64)
    per_image = {"up_smashed": "smashed_bytes", "up_labels": "label_bytes"}
    if table.column("gradient_bytes").any():
        per_image |= {"down_gradients": "gradient_bytes"}
    if table.column("logit_bytes").any():
        per_image |= {"up_logits": "logit_bytes", "down_logits": "logit_bytes"}
    if table.column("tail_bytes").any():
        per_image |= {"down_outputs": "tail_bytes", "up_gradients": "tail_bytes"}
    by_kind = {kind: int((sent_P * table.column(field)[column_P]).sum()) for kind, field in per_image.items()}
    if plan.wires:
        by_kind["up_smashed"] = int((sent_P * plan.image_bytes_P).sum())
    return {
        "down_weights": int(weights_P.sum() + weights_P[measures_P].sum()),
        "up_weights": int(weights_P[~plan.dropped_P].sum() + statistics_P[measures_P].sum()),
        **by_kind,
        **(registration if plan.round == 1 else NO_TRAFFIC),
    }


def planned_macs(plan: RoundPlan, table: TierTable) -> Mapping[str, int]:
    """Return the multiply-accumulates of a round on clients and server, by the cost table."""
    column_P = np.searchsorted(table.tiers_M, plan.tiers_P)
    images_P, sent_P = plan.images_P.astype(np.float64), plan.sent_P.astype(np.float64)
    training_P = images_P * table.column("client_train_macs")[column_P]
    apart_P = sent_P * table.column("release_macs")[column_P]
    measuring_P = plan.measured_P.astype(np.float64) * table.column("statistics_macs")[column_P]
    return {
        "client": int((training_P + apart_P + measuring_P).sum()),
        "server": int((sent_P * table.column("server_train_macs")[column_P]).sum()),
    }

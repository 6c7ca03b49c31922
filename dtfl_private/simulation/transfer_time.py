"""The time of a client's transfers: uploads and downloads of a round, in seconds."""

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.simulation.costs.table import TierTable


def transfer_s(
    table: TierTable,
    images: FloatArray,
    up_bytes_s: FloatArray,
    down_bytes_s: FloatArray,
    latency_s: FloatArray,
    completes: BoolArray | bool = True,
    round_trips: IntArray | int = 1,
) -> FloatArray:
    """Return T_com per client and tier, (P, M) seconds: weights down, smashed data, labels and weights up.

    Where a method has more to send, gradients come down, and logits, or activations and gradients before the client's
    last modules, go both ways.

    Args:
        table: cost per tier.
        images: (P,) images whose activations are sent in the round, over all its epochs.
        up_bytes_s: (P,) speed to the server.
        down_bytes_s: (P,) speed to the client.
        latency_s: (P,) delay of one transfer.
        completes: (P,) whether the client gets to sending its weight update.
        round_trips: (P,) how often the client waits for an answer; once if batches are streamed.
    """
    both_ways_M = table.column("logit_bytes") + table.column("tail_bytes")
    per_image_M = table.column("smashed_bytes") + table.column("label_bytes") + both_ways_M
    returned_M = table.column("gradient_bytes") + both_ways_M
    weights_M = table.column("weight_bytes")
    sends_update_P = np.broadcast_to(np.asarray(completes, dtype=np.float64), images.shape)
    up_PM = (images[:, None] * per_image_M + sends_update_P[:, None] * weights_M) / up_bytes_s[:, None]
    down_PM = (images[:, None] * returned_M + weights_M) / down_bytes_s[:, None]
    return 2 * (latency_s * round_trips)[:, None] + up_PM + down_PM


def statistics_transfer_s(
    table: TierTable, up_bytes_s: FloatArray, down_bytes_s: FloatArray, latency_s: FloatArray
) -> FloatArray:
    """Return how long it takes to get new weights and to send batch norm's statistics of them, (P, M) seconds.

    Args:
        table: cost per tier.
        up_bytes_s: (P,) speed to the server.
        down_bytes_s: (P,) speed to the client.
        latency_s: (P,) delay of one transfer.
    """
    down_s_PM = table.column("weight_bytes") / down_bytes_s[:, None]
    up_s_PM = table.column("statistics_bytes") / up_bytes_s[:, None]
    return 2 * latency_s[:, None] + down_s_PM + up_s_PM

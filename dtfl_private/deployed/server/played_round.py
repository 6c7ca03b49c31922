"""What the server has seen of one client's round, in seconds, bytes and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dtfl_private.deployed.server.registry import Link


@dataclass(frozen=True, kw_only=True)
class Played:
    """A client's round, as far as the server saw it.

    Attributes:
        client: its number.
        tier: client modules m.
        batches: messages with smashed data that were taken.
        images: in them; of a client that keeps the whole network, those that it says it trained on.
        completed: whether its update was taken.
        stopped: whether the deadline came before it was done.
        round_s: from the round's opening to the update, or to the end.
        claimed_s: that the client says it computed.
        compute_s: that the client says it computed, within what the server has seen.
        server_s: that the server computed for it.
        waited_s: that its messages waited for a free server worker.
        bytes_in: of all its frames, bytes_out: of those sent to it.
        traffic: bytes of the messages in them, by kind, as a simulation counts them.
        refused: why frames of it were refused, or why it gave up; empty if all went well.
    """

    client: int
    tier: int
    batches: int = 0
    images: int = 0
    completed: bool = False
    stopped: bool = False
    round_s: float = 0.0
    claimed_s: float = 0.0
    compute_s: float = 0.0
    server_s: float = 0.0
    waited_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    traffic: Mapping[str, int] = field(default_factory=dict)
    refused: Sequence[str] = ()


def transfer_seconds(played: Played, link: Link) -> float:
    """Return how long the bytes of a round took, by a measured link."""
    return 2 * link.latency_s + played.bytes_in / link.up_bytes_s + played.bytes_out / link.down_bytes_s


def believable_compute_s(claimed_s: float, played: Played, transfer_s: float) -> float:
    """Return a client's claimed computing time within what the server has seen.

    At most the time that its round took; at least what is left of that without transfers and without the time that its
    messages waited here. A client that wants to be taken for faster or slower than it is gets no further.

    Args:
        claimed_s: what the client says.
        played: its round.
        transfer_s: that its bytes took, by the measured link.
    """
    least = max(0.0, played.round_s - transfer_s - played.waited_s - played.server_s)
    return min(max(claimed_s, least), played.round_s)


def beyond_computing_s(round_s: float, played: Sequence[Played], workers: int) -> float:
    """Return what a round lasts beyond computing: less the most that one client, or the server for one, computed in it.

    Both go on at the same time; the server has so many workers for all of its clients.
    """
    alone_s = max((max(one.claimed_s, one.server_s) for one in played), default=0.0)
    together_s = sum(one.server_s for one in played) / workers
    return max(0.0, round_s - max(alone_s, together_s))

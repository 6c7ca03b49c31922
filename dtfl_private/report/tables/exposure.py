"""Exposure of clients: who is exposed most, and what each kind of device sent; as rows, bars and a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.report.tables.plain import as_printed, plain_table
from dtfl_private.report.words.results import NONE, figure
from dtfl_private.verdicts.findings import ClientExposure, Findings
from dtfl_private.verdicts.selected_results import exposes_more

# With more clients, kinds of devices are shown, and the most exposed clients.
MOST_CLIENTS = 100
MOST_EXPOSED = 20

# Shades of tiers in a bar, the shallowest first.
SHADES = 5


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a bar: how often each record was sent in a tier; ``shade`` 0 for the shallowest tiers."""

    tier: int
    releases: int
    shade: int


@dataclass(frozen=True, kw_only=True)
class ProfileRow:
    """What the clients with one kind of device sent.

    Attributes:
        profile: the device.
        clients: how many.
        shallowest: the shallowest tier in which any of them sent activations; None if none ever did.
        releases: of each record, the median over the clients.
        most_releases: likewise, the most.
        metric: of the values; None where none was judged.
        middle: the median value of those that were judged.
        worst: the most exposing value.
    """

    profile: str
    clients: int
    shallowest: int | None
    releases: float
    most_releases: int
    metric: str | None
    middle: str
    worst: str


def by_exposure(clients: Iterable[ClientExposure]) -> list[ClientExposure]:
    """Return the clients from the most exposed on: by value, then by releases; those without a value last."""
    return sorted(clients, key=lambda client: (*_exposure(client), -client.releases, client.client))


def _exposure(client: ClientExposure) -> tuple[bool, float]:
    """Return a key that puts the most exposed first."""
    if client.value is None or client.metric is None:
        return True, 0.0
    return False, -exposes_more(client.metric)(client.value)


def shown_clients(clients: Sequence[ClientExposure]) -> list[ClientExposure]:
    """Return the clients to show one by one, the most exposed first: all, or the worst of too many."""
    ranked = by_exposure(clients)
    return ranked if len(ranked) <= MOST_CLIENTS else ranked[:MOST_EXPOSED]


def profile_rows(clients: Sequence[ClientExposure]) -> list[ProfileRow]:
    """Return a row for each kind of device, the most exposed first."""
    groups: dict[str, list[ClientExposure]] = {}
    for client in by_exposure(clients):
        groups.setdefault(client.profile, []).append(client)
    return [_profile(name, group) for name, group in groups.items()]


def _profile(name: str, group: Sequence[ClientExposure]) -> ProfileRow:
    """Return the row of one kind of device; its clients come the most exposed first."""
    tiers = [client.shallowest for client in group if client.shallowest is not None]
    metric = group[0].metric
    values = [client.value for client in group if client.value is not None and client.metric == metric]
    judged = metric if values else None
    return ProfileRow(
        profile=name,
        clients=len(group),
        shallowest=min(tiers, default=None),
        releases=median(client.releases for client in group),
        most_releases=max(client.releases for client in group),
        metric=judged,
        middle=figure(median(values) if values else None, judged or ""),
        worst=figure(group[0].value, judged or ""),
    )


def segments(client: ClientExposure, tiers: Sequence[int]) -> list[Segment]:
    """Return the parts of a client's bar, the shallowest tier first.

    Args:
        client: whose releases.
        tiers: all tiers of the run, by which the shades are spread.
    """
    sent = {_number(tier): releases for tier, releases in client.by_tier.items() if releases}
    ranks = {tier: rank for rank, tier in enumerate(sorted({*tiers, *sent}))}
    last = max(1, len(ranks) - 1)
    return [
        Segment(tier=tier, releases=releases, shade=round(ranks[tier] / last * (SHADES - 1)))
        for tier, releases in sorted(sent.items())
    ]


def _number(tier: str) -> int:
    """Return a tier's number; 0 of what is none, which only a file from elsewhere can hold."""
    return int(tier) if tier.isascii() and tier.isdigit() else 0


def exposure_table(findings: Findings) -> Table:
    """Return a row for each kind of device, the most exposed first."""
    table = plain_table("exposure of clients", "device", "clients", "shallowest tier", "releases", "metric", "median")
    table.add_column("most exposing", justify="right")
    for row in profile_rows(findings.clients):
        table.add_row(
            as_printed(row.profile),
            f"{row.clients:,}",
            NONE if row.shallowest is None else str(row.shallowest),
            f"{row.releases:g}",
            as_printed(find_metric(row.metric).label) if row.metric else NONE,
            row.middle,
            row.worst,
        )
    table.caption = (
        "releases of each record over the run, median over the clients; most exposing: strongest attack there"
    )
    table.caption_justify = "left"
    return table

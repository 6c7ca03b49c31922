"""How much each client exposed over a run: in which tiers it was, and how often each of its records was sent."""

from collections import Counter
from collections.abc import Mapping, Sequence

from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.training.round_record import Record
from dtfl_private.verdicts.findings import ClientExposure


def exposures(opened: OpenedRun, best: Sequence[Result], metric: str) -> list[ClientExposure]:
    """Return what every client sent over the run, and the leakage measured at the most exposing of its tiers.

    Args:
        opened: the run.
        best: the strongest results, by tier and metric.
        metric: by which tiers are compared.
    """
    worker = opened.prepared.worker
    profiles = opened.prepared.settings.schedule.environment.profiles
    kinds = opened.after.schedule.environment.profile_K.tolist()
    per_round = 1 if opened.sends_once else worker.local_epochs
    rounds = rounds_by_tier(opened.records)
    by_tier = {result.tier: result.value for result in best if result.metric == metric}
    return [
        _exposure(
            client,
            profiles[kind].name,
            len(worker.parts[client]),
            {
                tier: count * per_round
                for tier, count in sorted(rounds.get(client, Counter()).items())
                if tier in opened.cut_tiers  # a client with the whole network sends no activations
            },
            rounds.get(client, Counter()).total(),
            metric,
            by_tier,
        )
        for client, kind in enumerate(kinds)
    ]


def _exposure(
    client: int,
    profile: str,
    records: int,
    releases: Mapping[int, int],
    rounds: int,
    metric: str,
    by_tier: Mapping[int, float],
) -> ClientExposure:
    measured = [by_tier[tier] for tier in releases if tier in by_tier]
    worst = max if find_metric(metric).exposing == "high" else min
    return ClientExposure(
        client=client,
        profile=profile,
        records=records,
        releases=sum(releases.values()),
        by_tier={str(tier): count for tier, count in releases.items()},
        rounds=rounds,
        shallowest=min(releases, default=None),
        metric=metric if measured else None,
        value=worst(measured) if measured else None,
    )


def rounds_by_tier(records: Sequence[Record]) -> dict[int, Counter[int]]:
    """Return for each client in how many rounds it was in which tier.

    A client that dropped out in mid-round counts, for what it had sent. One whose guard refused does not.
    """
    found: dict[int, Counter[int]] = {}
    for record in records:
        refused = {remark["client"] for remark in record["guard"] if remark["refused"]}
        for client, tier in record["tiers"].items():
            if int(client) not in refused:
                found.setdefault(int(client), Counter())[tier] += 1
    return found

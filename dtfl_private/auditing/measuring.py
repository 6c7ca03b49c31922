"""What measures without attacks say of a run, tier by tier: the clients' program on records of theirs."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from dtfl_private import leakage, privacy
from dtfl_private.attacking.adversary_data import Knowledge, split_auxiliary
from dtfl_private.attacking.crashes import crashes_named
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.replay import OpenedRun
from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.setup import AttackSetup
from dtfl_private.attacking.shadow_runs import ShadowRuns
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.exposure import rounds_by_tier
from dtfl_private.data.preprocess import unit
from dtfl_private.errors import InputError
from dtfl_private.experiments.norm import resolved_norm
from dtfl_private.files.reading import read_bytes
from dtfl_private.leakage.findings import NotTested
from dtfl_private.leakage.measures.base import Figure, Measure, Release
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.leakage.result import Result
from dtfl_private.privacy.disclosure import ONE_ROUND
from dtfl_private.protection.chain import DefenseChain
from dtfl_private.protection.defended_costs import cut_of
from dtfl_private.protocol.guarantees import GaussianRelease
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import isolated, stream
from dtfl_private.runtime.device import choose_numerics, one_thread
from dtfl_private.runtime.progress import Progress
from dtfl_private.simulation.costs.table import TierTable, analyse

# At which epsilon is stated where no defense says otherwise.
USUAL_DELTA = 1e-5


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What measures say of a run: their figures as results, and which of them could not be given, and why."""

    results: Sequence[Result]
    not_given: Sequence[NotTested]


def measures_label(tier: int, measure: str) -> str:
    """Return what a progress display calls a measure at a tier."""
    return f"{measure}, tier {tier}"


def measure_run(
    opened: OpenedRun,
    config: AuditConfig,
    tiers: Sequence[int],
    cache: ResultCache,
    listener: Progress,
) -> Measured:
    """Return the figures of all measures at these tiers.

    The client half is the one that the last round began with. Records are those of its clients, whole batches, as many
    as the configuration allows.

    Args:
        opened: the run.
        config: device, number of records, auxiliary knowledge; settled.
        tiers: client modules m of each.
        cache: keeps figures.
        listener: hears of one job for each measure and tier.
    """
    stand = _Stand(opened, config)
    results: list[Result] = []
    not_given: dict[tuple[str, str], NotTested] = {}
    for tier in tiers:
        release = stand.release(tier)
        for name, measure in MEASURES.items():
            label = measures_label(tier, name)
            listener.job_started(label)
            try:
                with crashes_named(label):
                    kept, there = _figures(measure, release, tier, cache)
            except InputError as error:
                not_given[name, str(error)] = NotTested(what=name, why=str(error))
                kept, there = {}, False
            listener.job_finished(label, cached=there)
            for remark in measure.remarks(release):
                not_given.setdefault((name, remark), NotTested(what=name, why=remark))
            results += [
                _result(tier, opened.cut_shapes[tier], name, metric, figure) for metric, figure in sorted(kept.items())
            ]
        if release.noise.std is None:
            why = f"bounds that need Gaussian noise of a known deviation: {release.noise.reason}"
            not_given.setdefault(("noise", why), NotTested(what="fisher-information, mutual-information", why=why))
    return Measured(results=results, not_given=list(not_given.values()))


def _figures(measure: Measure, release: Release, tier: int, cache: ResultCache) -> tuple[Mapping[str, Tensor], bool]:
    """Return a measure's figures, packed, and whether they were there from before."""
    what = {"measure": repr(measure), "code": _code(), "tier": tier, "of": _digest(release)}
    # One thread: the sums are small, and threads that wait for each other on a busy machine take minutes for seconds.
    with isolated(0, "measure", repr(measure), tier), one_thread():
        return cache.get_or_make(what, lambda: _packed(measure.figures(release)))


class _Stand:
    """Where the clients' program runs on their own records."""

    def __init__(self, opened: OpenedRun, config: AuditConfig) -> None:
        worker, knowledge = opened.prepared.worker, Knowledge.parse(config.aux)
        assert config.aux_images is not None
        split = split_auxiliary(opened, knowledge, config.aux_images, config.aux_dir)
        # A Jacobian in half precision would be mostly rounding.
        numerics = choose_numerics(
            config.device, "fp32", worker.numerics.memory_format, resolved_norm(opened.prepared.config)
        )
        shadows = ShadowRuns(opened.prepared.config, worker.classes, opened.folder.path, dict(opened.objects))
        self._setup = AttackSetup(opened=opened, split=split, numerics=numerics, shadows=shadows)
        self._opened, self._measured = opened, config.measured
        self._auxiliary = split.judging.images
        shape = tuple(worker.train_images.shape[1:])
        self._table: TierTable = analyse(worker.model, shape, worker.classes, worker.numerics)

    def release(self, tier: int) -> Release:
        """Return what clients of a tier release of their records."""
        opened = self._opened
        worker, device = opened.prepared.worker, self._setup.numerics.device
        seen = Seen(download=self._setup.honest(tier), batches=(), update=None)
        encoder = self._setup.program(seen, True, 0)
        records, size = self._records()
        images, labels = unit(worker.train_images[records]).to(device), worker.train_labels[records].to(device)

        def release(own: Tensor, own_labels: Tensor, draw: int) -> Tensor:
            seed = int(stream(worker.seed, "measured release", tier, draw).integers(2**62))
            with isolated(seed, "dropout"):
                return self._setup.program(seen, True, seed).release(own, own_labels)

        parts = zip(torch.split(images, size), torch.split(labels, size), strict=True)
        smashed = [release(own, own_labels, -1 - number) for number, (own, own_labels) in enumerate(parts)]
        row = next(row for row in self._table.rows if row.tier == tier)
        return Release(
            images=images,
            labels=labels,
            smashed=torch.cat(smashed),
            batch_size=size,
            encoder=_undefended(encoder),
            release=release,
            noise=worker.defense.known_noise(cut_of(row, tuple(worker.train_images.shape[1:]), worker.batch_size)),
            releases=self._releases(tier),
            delta=_delta(worker.defense),
            auxiliary=self._auxiliary.to(device),
            seed=worker.seed,
        )

    def _records(self) -> tuple[Tensor, int]:
        """Return records of the last round's clients, in whole batches of one size, and that size."""
        worker = self._opened.prepared.worker
        parts = [torch.as_tensor(worker.parts[task.client]) for task in self._opened.tasks]
        size = min(worker.batch_size, max(len(part) for part in parts))
        batches = [batch for part in parts for batch in torch.split(part, size) if len(batch) == size]
        return torch.cat(batches[: max(1, -(-self._measured // size))]), size

    def _releases(self, tier: int) -> int:
        """Return how often a record was sent in the whole run, of the clients that were in this tier; 1 if none was.

        The most of them, and in whatever tier: as if all had been sent in this one.
        """
        worker = self._opened.prepared.worker
        there = [counts for counts in rounds_by_tier(self._opened.records).values() if counts[tier]]
        rounds = max((sum(counts[sending] for sending in self._opened.tiers) for counts in there), default=0)
        return max(1, rounds * (1 if worker.defense.releases_apart else worker.local_epochs))


def _delta(defense: DefenseChain) -> float:
    """Return the delta at which the defenses state an epsilon of smashed data, or the usual one."""
    stated = [guarantee for guarantee in defense.guarantees(ONE_ROUND) if isinstance(guarantee, GaussianRelease)]
    return stated[0].target.delta if stated else USUAL_DELTA


def _undefended(program: ClientProgram) -> Callable[[Tensor], Tensor]:
    def encode(images: Tensor) -> Tensor:
        with isolated(0, "dropout"):  # the same in every call, for derivatives
            return program.activations(images, defended=False)

    return encode


def _packed(figures: Sequence[Figure]) -> dict[str, Tensor]:
    """Return figures as tensors (value, low, high, n, p-value or not a number), by metric."""
    return {figure.metric: torch.tensor(_row(figure), dtype=torch.float64) for figure in figures}


def _row(figure: Figure) -> list[float]:
    return [figure.value, figure.low, figure.high, figure.n, math.nan if figure.p_value is None else figure.p_value]


def _result(tier: int, cut: tuple[int, ...], source: str, metric: str, figure: Tensor) -> Result:
    value, low, high, n, p_value = figure.tolist()
    return Result(
        tier=tier,
        cut=cut,
        source=source,
        metric=metric,
        value=value,
        ci_low=low,
        ci_high=high,
        p_value=None if math.isnan(p_value) else p_value,
        n=int(n),
        seeds=1,
        adaptive=True,
    )


@cache
def _code() -> str:
    """Return a digest of the code that measures are made of, with what they compute by."""
    digest = hashlib.blake2b(digest_size=16)
    for package in (leakage, privacy):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(read_bytes(path, most_bytes=2**20))
    return digest.hexdigest()


def _digest(release: Release) -> str:
    """Return a short text that is the same for the same release, and for no other."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in (release.images, release.smashed, release.labels, release.auxiliary):
        assert tensor is not None
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    with torch.no_grad():
        undefended = release.encoder(release.images[: release.batch_size])
    digest.update(undefended.cpu().contiguous().numpy().tobytes())
    settings = (release.noise, release.releases, release.batch_size, release.delta, release.seed)
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def beside_undefended(results: Sequence[Result], undefended: Sequence[Result]) -> list[Result]:
    """Return measures with the undefended run's figure beside them."""
    known: Mapping[tuple[int, str, str], float] = {(r.tier, r.source, r.metric): r.value for r in undefended}
    return [
        result.model_copy(update={"undefended": known.get((result.tier, result.source, result.metric))})
        for result in results
    ]

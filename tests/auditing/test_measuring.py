from dataclasses import dataclass

import pytest
from audit_progress import HeardJobs

from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.auditing import measuring
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.measuring import measure_run, with_undefended
from dtfl_private.errors import InputError, RunError
from dtfl_private.leakage.measures.base import Figure
from dtfl_private.plugins.registry import create

CONFIG = AuditConfig(aux_images=60, measured=100, device="cpu", workers=1).settled()


@dataclass(frozen=True)
class Sizes:
    """How many values a record has at the cut; with an interval, and a p-value at one tier only."""

    def figures(self, release):
        values = float(release.smashed[0].numel())
        p_value = 0.25 if values < 200 else None
        return [Figure(metric="effective-rank", value=values, low=1.0, high=values, n=release.records, p_value=p_value)]

    def remarks(self, release):
        return []


@dataclass(frozen=True)
class Refusing:
    def figures(self, release):
        raise InputError("too few records")

    def remarks(self, release):
        return []


@dataclass(frozen=True)
class Breaking(Refusing):
    def figures(self, release):
        raise ZeroDivisionError("of its own making")


@pytest.fixture
def measure(opened, tmp_path, monkeypatch):
    """Measure a tiny run: ``measure({name: measure}, listener=..., defenses=...)`` at tiers 1 and 2."""

    def run(measures, *, listener=None, **given):
        monkeypatch.setattr(measuring, "MEASURES", measures)
        return measure_run(opened(**given), CONFIG, [1, 2], ResultCache(tmp_path, {}), listener or HeardJobs())

    return run


def test_figures_are_results_of_their_tiers_and_are_kept(measure):
    first, again = HeardJobs(), HeardJobs()
    found = measure({"sizes": Sizes()}, listener=first).results
    assert [(one.tier, one.cut, one.source, one.value, one.ci_low, one.p_value) for one in found] == [
        (1, (4, 8, 8), "sizes", 256.0, 1.0, None),
        (2, (8, 4, 4), "sizes", 128.0, 1.0, 0.25),
    ]
    assert measure({"sizes": Sizes()}, listener=again).results == found
    assert first.kept == {"sizes, tier 1": [False], "sizes, tier 2": [False]}
    assert again.kept == {"sizes, tier 1": [True], "sizes, tier 2": [True]}


def test_what_a_measure_refuses_is_named_once_with_its_reason(measure):
    found = measure({"refusing": Refusing(), "sizes": Sizes()})
    assert [one.why for one in found.not_given if one.what == "refusing"] == ["too few records"]
    assert {one.source for one in found.results} == {"sizes"}


def test_bounds_are_missed_only_without_noise_of_a_known_deviation(measure):
    bounds = "fisher-information, mutual-information"
    assert [one.what for one in measure({}).not_given] == [bounds]
    assert measure({}, defenses=[create("defense", "gaussian-noise:sd=5.0")]).not_given == []


def test_a_measure_that_crashes_is_named(measure):
    with pytest.raises(RunError, match="breaking, tier 1 crashed: ZeroDivisionError: of its own making"):
        measure({"breaking": Breaking()})


def test_a_measure_is_compared_with_the_same_without_defenses(figure):
    same, other = figure(1, 0.5), figure(1, 0.9, source="hybrid")
    compared = with_undefended([same, figure(2, 0.4), figure(1, 0.3, metric="mse")], [other, figure(1, 0.7)])
    assert [result.undefended for result in compared] == [0.7, None, None]

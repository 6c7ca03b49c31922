"""What every measure must keep."""

import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from dtfl_private.cli.group import cli
from dtfl_private.leakage.measures.base import Figure, Measure, Release
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.leakage.metrics import METRICS, OF_MEASURES
from dtfl_private.leakage.results.result import Result
from dtfl_private.protection.cost import KnownNoise
from dtfl_private.randomness import torch_stream

ROOT = Path(__file__).parent.parent.parent
STD = 0.5


def a_release(std: float = 0.0, releases: int = 3, values: int = 5) -> Release:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(120, 3, 4, 4, generator=generator)
    matrix = torch.randn(48, values, generator=generator)

    def encoder(batch: torch.Tensor) -> torch.Tensor:
        centred = batch.flatten(1) - batch.flatten(1).mean(dim=0)
        return torch.tanh(centred @ matrix).reshape(-1, values, 1, 1)

    def release(batch: torch.Tensor, labels: torch.Tensor, draw: int) -> torch.Tensor:
        assert len(batch) == len(labels) == 20
        clear = encoder(batch).detach()
        return clear + std * torch.randn(clear.shape, generator=torch_stream(1, draw))

    labels = torch.arange(120) % 4
    batches = zip(torch.split(images, 20), torch.split(labels, 20), strict=True)
    return Release(
        images=images,
        labels=labels,
        smashed=torch.cat([release(*batch, -number) for number, batch in enumerate(batches, start=1)]),
        batch_size=20,
        encoder=encoder,
        release=release,
        noise=KnownNoise(std=std) if std else KnownNoise(reason="none is there"),
        releases=releases,
    )


@pytest.fixture(params=sorted(MEASURES))
def measure(request) -> Measure:
    return MEASURES[request.param]


@pytest.fixture(params=[0.0, STD], ids=["clear", "noisy"])
def release(request) -> Release:
    return a_release(request.param)


def test_it_is_a_frozen_value_that_says_what_it_is(measure):
    assert is_dataclass(measure)
    assert measure.facts.says
    assert measure.facts.does_not_say
    assert measure.facts.source
    assert type(measure).__doc__
    for field in fields(measure):
        with pytest.raises(AttributeError):
            setattr(measure, field.name, 1)


def test_its_figures_are_of_known_metrics_each_once_and_can_be_written_down(measure, release):
    figures = measure.figures(release)
    assert figures
    names = [figure.metric for figure in figures]
    assert len(set(names)) == len(names)
    for figure in figures:
        assert figure.metric in {metric.name for metric in OF_MEASURES} <= METRICS.keys()
        assert figure.low <= figure.value <= figure.high
        Result(
            tier=1,
            cut=(5, 1, 1),
            source="measure",
            metric=figure.metric,
            value=figure.value,
            ci_low=figure.low,
            ci_high=figure.high,
            n=figure.n,
            seeds=1,
            adaptive=True,
        )


def test_the_same_seed_gives_the_same_figures(measure, release):
    torch.manual_seed(1)
    first = measure.figures(release)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    assert measure.figures(release) == first
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_changes_nothing_that_it_is_given(measure, release):
    tensors = (release.images, release.labels, release.smashed)
    before = [tensor.clone() for tensor in tensors]
    measure.figures(release)
    assert all(torch.equal(tensor, kept) for tensor, kept in zip(tensors, before, strict=True))
    assert not any(tensor.requires_grad for tensor in tensors)


def test_what_is_missing_is_said(measure):
    clear, noisy = (measure.figures(a_release(std)) for std in (0.0, STD))
    missing = {figure.metric for figure in noisy} - {figure.metric for figure in clear}
    assert bool(missing) == bool(measure.remarks(a_release()))
    assert all("none is there" in remark for remark in measure.remarks(a_release()))


def test_one_release_has_no_cumulated_figures(measure):
    names = [figure.metric for figure in measure.figures(a_release(STD, releases=1))]
    assert not any(name.endswith("-cumulated") for name in names)


def test_a_constant_release_has_finite_figures(measure):
    def constant(batch: torch.Tensor, *_others: object) -> torch.Tensor:
        return 0 * batch.flatten(1) + 1.0

    for noise in (KnownNoise(reason="none is there"), KnownNoise(std=STD)):
        release = replace(a_release(), smashed=torch.ones(120, 48), encoder=constant, release=constant, noise=noise)
        assert all(math.isfinite(figure.value) for figure in measure.figures(release))


def test_all_metrics_of_measures_are_some_measures():
    found = {figure.metric for std in (0.0, STD) for one in MEASURES.values() for figure in one.figures(a_release(std))}
    assert found == {metric.name for metric in OF_MEASURES}


def test_the_documentation_lists_all_measures_and_metrics():
    text = (ROOT / "docs" / "reference" / "measures.md").read_text("utf-8")
    wanted = [*MEASURES, *(metric.name.removesuffix("-cumulated") for metric in OF_MEASURES)]
    assert [name for name in wanted if f"`{name}`" not in text] == []


def test_list_measures_shows_all():
    out = CliRunner().invoke(cli, ["list", "measures"], env={"COLUMNS": "300"}, catch_exceptions=False).output
    for name, measure in MEASURES.items():
        assert name in out
        for text in (measure.facts.says, measure.facts.does_not_say, measure.facts.source):
            assert " ".join(text.split()) in " ".join(out.split())


@pytest.mark.parametrize(("low", "value", "high"), [(1, 0, 2), (0, 3, 2), (0, math.nan, 1), (0, 1, math.inf)])
def test_a_figure_outside_its_interval_is_refused(low, value, high):
    with pytest.raises(ValueError, match="must hold"):
        Figure(metric="dfil", value=value, low=low, high=high, n=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 50}, "no whole batches of 50"),
        ({"labels": torch.zeros(7)}, "7 or 120 images"),
        ({"images": torch.zeros(120, 4, dtype=torch.int64)}, "floating point"),
        ({"releases": 0}, "releases=0"),
        ({"delta": 1.0}, "delta=1.0"),
    ],
)
def test_a_release_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(a_release(), **change)

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.report.html import page as pages
from dtfl_private.verdicts.client_comparison import ClientComparison
from dtfl_private.verdicts.findings import Findings

PICTURES_OF_PAGES = ("by_tier_picture", "accuracy_leakage_picture", "auxiliary_curve_picture", "by_client_picture")


@pytest.fixture(scope="session")
def drawn() -> dict[tuple[object, ...], bytes]:
    """Pictures of pages, by what they are of."""
    return {}


@pytest.fixture(scope="module")
def pictures_drawn_once(drawn) -> Iterator[dict[tuple[object, ...], bytes]]:
    """Let pages of equal results share their pictures, which take longest; they have tests of their own."""

    def once(draw: Callable[..., bytes]) -> Callable[..., bytes]:
        def kept(findings: Findings, *metric: str, **look: Any) -> bytes:
            shown = (findings.results, findings.strongest, findings.auxiliary_curve, findings.training)
            key = (draw.__name__, *metric, repr((shown, findings.compared, look)))
            if key not in drawn:
                drawn[key] = draw(findings, *metric, **look)
            return drawn[key]

        return kept

    def by_client_once(one: ClientComparison, **look: Any) -> bytes:
        key = ("by_client", repr((one, look)))
        if key not in drawn:
            drawn[key] = draw_by_client(one, **look)
        return drawn[key]

    draw_by_client = pages.by_client_picture
    with pytest.MonkeyPatch.context() as patch:
        for name in PICTURES_OF_PAGES[:-1]:
            patch.setattr(pages, name, once(getattr(pages, name)))
        patch.setattr(pages, PICTURES_OF_PAGES[-1], by_client_once)
        yield drawn


@pytest.fixture
def words_alone(monkeypatch) -> None:
    """Draw nothing in pages of which only what they say is looked at."""
    for name in PICTURES_OF_PAGES:
        monkeypatch.setattr(pages, name, lambda *_, **__: b"<svg/>")


@pytest.fixture
def comparison(write_run, tmp_path):
    """Three runs of DTFL, all of which reach 0.7; of two of FedAvg only one does."""
    paths = [write_run(tmp_path / f"dtfl-{seed}", [0.5, 0.7], seed=seed) for seed in (0, 1, 2)]
    paths += [
        write_run(tmp_path / f"avg-{seed}", [0.5, 0.6 + seed / 10], seed=seed, method="fedavg", round_s=80.0)
        for seed in (0, 1)
    ]
    return compare(paths, target=0.7)

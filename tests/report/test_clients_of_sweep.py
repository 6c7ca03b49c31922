"""Leakage of clients against what they are like: within runs, in numbers, tables and pictures."""

import numpy as np
import pytest

from dtfl_private.report.client_sweep import ClientPoint, ClientSweep
from dtfl_private.report.pictures.client_sweep import correlations_picture, leakage_picture
from dtfl_private.report.tables.client_sweep import client_sweep_markdown, client_sweep_tables


def points(slope: float = 1.0):
    """Of two groups with two seeds, eight clients each: leakage rises with the records, and runs differ by far more."""
    rng = np.random.default_rng(0)
    for group, shift in (("iid", 0.0), ("shards_2", 0.4)):
        for seed in (0, 1):
            for client in range(8):
                for tier, aux in ((1, "same"), (2, "same"), (1, "mixture")):
                    leaks = shift + slope * 0.02 * client * (tier == 1) + 0.001 * rng.normal()
                    yield ClientPoint(
                        group=group,
                        seed=seed,
                        client=client,
                        attack="decoder",
                        tier=tier,
                        aux=aux,
                        metric="ssim",
                        n=16,
                        value=leaks,
                        guess=0.0,
                        recovered=leaks,
                        records=100 - 10 * client if shift else 10 + client,
                        label_entropy=float(rng.normal()),
                        oddness=0.2,
                    )


@pytest.fixture(scope="module")
def sweep():
    return ClientSweep(title="clients", points=list(points()), left_out=["iid-seed0: lira: too dear"])


def test_correlations_are_within_runs(sweep):
    one = sweep.correlation("records", "decoder", 1, "same", "iid")
    assert (one.found.value, one.clients, one.runs) == (pytest.approx(1, abs=0.02), 16, 2)
    assert sweep.correlation("records", "decoder", 1, "same", "shards_2").found.value == pytest.approx(-1, abs=0.02)
    both = sweep.correlation("records", "decoder", 1, "same")
    assert abs(both.found.value) < 0.01
    assert both.runs == 4
    assert sweep.correlation("oddness", "decoder", 1, "same") is None  # equal of all clients


def test_means_are_over_the_clients_of_all_seeds(sweep):
    own = [point.recovered for point in sweep.of("decoder", 1, "mixture", "shards_2")]
    assert len(own) == 16
    mean = sweep.mean("decoder", 1, "mixture", "shards_2")
    assert mean.mean == pytest.approx(np.mean(own))
    assert mean.ci_low < mean.mean < mean.ci_high
    assert sweep.mean("decoder", 2, "mixture", "shards_2") is None


def test_tables_count_what_is_apart_from_0_and_name_what_was_left_out(sweep):
    text = client_sweep_markdown(sweep)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "+2 -0 of 3" in rows["iid"]
    assert "+0 -2 of 3" in rows[r"shards\_2"]
    assert "- iid-seed0: lira: too dear" in text
    assert len(client_sweep_tables(sweep)) == 3
    assert "0.47 ± " in text


def test_pictures_name_traits_attacks_and_how_many_there_are(sweep):
    correlations, leakage = (draw(sweep, form="svg").decode() for draw in (correlations_picture, leakage_picture))
    for word in ("decoder", "variety of labels (entropy)", "images (N_k)", "odd images", "n = 4 runs", "mixture"):
        assert word in correlations
    for word in ("shards_2", "tier 2", "n = 16 clients each", "auxiliary data: same"):
        assert word in leakage

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.experiments.profile import automatic_cuts
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.cutting.tracing import staged
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.cut_costs import CutChoice, choose
from dtfl_private.simulation.costs.table import TierTable


@pytest.fixture(scope="module")
def papers_network() -> StagedModel:
    return build_model("resnet-56", input_shape=(3, 32, 32), classes=10, norm="batch", seed=0)


@pytest.fixture(scope="module")
def choice(papers_network) -> CutChoice:
    return automatic_cuts(papers_network, input_shape=(3, 32, 32), classes=10, count=7)


def test_every_block_of_resnet_56_is_a_place_and_the_paper_s_cuts_are_among_them(choice):
    assert len(choice.names_C) == 19  # the stem and 18 blocks
    assert [choice.names_C[place] for place in choice.own] == ["md1", "md2", "md3", "md4", "md5", "md6", "md7"]


def test_the_automatic_cuts_are_the_best_of_all_and_better_than_the_paper_s_by_the_objective(choice):
    best = min(choice.cost(places) for places in combinations(range(19), 7))
    assert choice.cost(choice.chosen) == pytest.approx(best)
    assert choice.cost(choice.chosen) < choice.cost(choice.own)
    shares = choice.tiers(choice.chosen).column("client_forward_macs") / choice.table.forward_macs
    assert [round(float(share), 2) for share in shares] == [0.11, 0.26, 0.4, 0.5, 0.61, 0.74, 0.9]


def test_the_costs_of_places_are_those_of_the_network_cut_there(choice, papers_network):
    names = [choice.names_C[place] for place in choice.chosen]
    cut = staged(papers_network, names)
    assert analyse(cut, (3, 32, 32), 10, Numerics()) == choice.tiers(choice.chosen)
    own = analyse(papers_network, (3, 32, 32), 10, Numerics())
    assert own == choice.tiers(choice.own)


def timed(table: TierTable, client_s: list[float], server_s: list[float]) -> TierTable:
    rows = [
        replace(row, client_step_s=client, server_step_s=server)
        for row, client, server in zip(table.rows, client_s, server_s, strict=True)
    ]
    return replace(table, rows=tuple(rows))


def test_measured_seconds_can_decide_instead_of_macs(four_tiers):
    narrow = replace(four_tiers, rows=tuple(replace(row, smashed_bytes=64) for row in four_tiers.rows))
    table = timed(narrow, [5.0, 9.0, 8.9, 9.8], [5.0, 1.0, 1.1, 0.2])
    assert choose(table, "abcd", (), 1, "seconds").chosen == (0,)
    assert choose(table, "abcd", (), 1, "macs").chosen == (1,)


def test_seconds_are_measured_on_this_host():
    torch.manual_seed(0)
    model = StagedModel(
        [("a", nn.Conv2d(1, 4, 3)), ("b", nn.Conv2d(4, 4, 3)), ("c", nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))]
    )
    measured = automatic_cuts(
        model, input_shape=(1, 8, 8), classes=2, count=1, measure="seconds", batch_size=4, repeats=1
    )
    assert len(measured.chosen) == 1
    assert all(row.client_step_s > 0 for row in measured.table.rows)


def test_seconds_that_nobody_measured_are_refused(papers_network):
    with pytest.raises(InputError, match="cuts even in seconds need measured ones: ask for at least 1 repeat"):
        automatic_cuts(papers_network, input_shape=(3, 32, 32), classes=10, count=7, measure="seconds")


def test_more_cuts_than_places_are_refused(papers_network):
    with pytest.raises(InputError, match="20 cuts are not possible: this network has 19 places"):
        automatic_cuts(papers_network, input_shape=(3, 32, 32), classes=10, count=20)

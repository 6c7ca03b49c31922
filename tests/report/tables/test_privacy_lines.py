import pytest
from torch import nn

from dtfl_private.models.norms import norms_of
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.report.tables.privacy import norm_line

CONV = nn.Conv2d(1, 8, 3)
BATCH, GROUP = nn.Sequential(CONV, nn.BatchNorm2d(8)), nn.Sequential(CONV, nn.Sequential(nn.GroupNorm(2, 8)))


@pytest.mark.parametrize(
    ("network", "asked", "line"),
    [
        (BATCH, "batch", "norm: batch norm (no defense needs group norm)"),
        (GROUP, "group", "norm: group norm (no defense needs group norm)"),
        (nn.Sequential(BATCH, GROUP), "group", "norm: batch norm and group norm (no defense needs group norm)"),
        (
            BATCH,
            "group",
            "norm: batch norm, as the network is built: --norm changes nothing in it (no defense needs group norm)",
        ),
        (
            nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2)),
            "group",
            "norm: the network has neither batch norm nor group norm: --norm changes nothing in it (no defense needs "
            "group norm)",
        ),
    ],
)
def test_the_line_says_what_the_network_has_and_not_what_was_asked_for(network, asked, line):
    assert norm_line(asked, norms_of(network), DefenseChain()) == line


def test_a_defense_that_needs_group_norm_is_named():
    chain = DefenseChain([create("defense", "dp-weights:noise_multiplier=1")])
    assert norm_line("group", norms_of(GROUP), chain) == "norm: group norm (group norm is needed by dp-weights)"

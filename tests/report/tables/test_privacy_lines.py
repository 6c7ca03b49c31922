import pytest
from torch import nn

from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.norms import norms_of
from dtfl_private.plugins.registry import create
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.report.tables.privacy import norm_line, opening_lines

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


def test_what_differs_by_tier_and_profile_is_said_of_those_clients_and_what_does_not_once(prepare_tiny):
    profiles = [{"name": name, "cpus": 1.0, "up_mbit_s": 9.0, "down_mbit_s": 9.0} for name in ("phone", "laptop")]
    parts = [(f"part{place}", nn.Conv2d(max(1, 2 * place), 2 * place + 2, 3, padding=1)) for place in range(3)]
    network = StagedModel([*parts, ("top", nn.Sequential(nn.Flatten(), nn.Linear(6 * 64, 3)))])
    rules = ["dp-activations:noise_multiplier=6@tier<=2&profile=phone", "update-noise:sd=1@tier=3", "identity"]
    prepared = prepare_tiny(defense=rules, profiles=profiles, model=network)
    lines = opening_lines(prepared.settings.privacy, 5)
    assert "defense update-noise@tier=3: guarantee: none" in lines
    assert any(line.endswith("for smashed data only, where it acts") for line in lines)
    (released,) = [line for line in lines if "-DP per record replaced" in line]
    assert released.startswith("privacy of clients in tiers 1..2 of profile phone: smashed data: (")
    bare = "no guarantee (no (epsilon, delta)) over the whole run: a client sent them in 5 rounds without the defense"
    (lost,) = [line for line in lines if bare in line]
    assert lost.startswith("privacy of clients in tiers 1..2 of profile laptop; in tier 3: smashed data: ")
    assert "privacy of clients in tiers 1..2: weight updates are sent in clear" in lines
    assert "privacy of clients in tier 3: weight updates pass update-noise: no formal guarantee" in lines
    assert len(lines) == len({*lines})
    assert sum("adds up what it releases in each" in line for line in lines) == 1


def test_what_is_the_same_at_all_clients_is_said_once(prepare_tiny):
    lines = opening_lines(prepare_tiny(defense=["gaussian-noise@tier<=2"]).settings.privacy, 5)
    assert lines.count("privacy: weight updates are sent in clear") == 1
    assert "privacy of clients in tiers 1..2: smashed data pass gaussian-noise: no formal guarantee" in lines
    assert "privacy of clients in tier 3: smashed data and labels are sent in clear" in lines

"""What the operators of both sides decide: in the SuperNode's configuration, and in the app's."""

from pathlib import Path

import pytest

from dtfl_private.deployed.flower.node_settings import own_side
from dtfl_private.deployed.flower.run_settings import read_settings
from dtfl_private.errors import InputError


def test_a_client_does_what_its_own_node_says():
    own = own_side(
        {
            "partition-id": 3,
            "dtfl-store": "here",
            "dtfl-defense": "noise:std=1; dropout-input ",
            "dtfl-chance": "seeded",
            "dtfl-accept-config": True,
            "dtfl-checkpoint": "bert",
        }
    )
    assert (own.store, own.checkpoint) == (Path("here"), Path("bert"))
    assert own.defenses == ["noise:std=1", "dropout-input"]
    assert (own.chance, own.accept_config, own.device, own.keep_truth) == ("seeded", True, "auto", None)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "has no dtfl-store"),
        ({"dtfl-store": ""}, "dtfl-store='' is refused"),
        ({"dtfl-store": "s", "dtfl-defence": "noise:std=1"}, "dtfl-defence='noise:std=1' is refused: Extra"),
        ({"dtfl-store": "s", "dtfl-chance": "mine"}, "dtfl-chance='mine' is refused"),
        ({"dtfl-store": "s", "dtfl-accept-config": "yes"}, "dtfl-accept-config='yes' is refused"),
        ({"dtfl-store": 1}, "dtfl-store=1 is refused"),
    ],
)
def test_a_mistake_in_a_nodes_configuration_is_never_passed_over(values, why):
    with pytest.raises(InputError, match=why):
        own_side(values)


def test_the_app_says_how_a_run_is_served():
    settings = read_settings({"out": "runs/run", "round-deadline": 30, "transport": "reply", "min-clients": 2})
    assert (settings.folder, settings.round_deadline, settings.min_clients) == (Path("runs/run"), 30.0, 2)
    assert settings.resume


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "out="),
        ({"out": "o", "transport": "pigeon"}, "transport='pigeon' is refused"),
        ({"out": "o", "round-deadline": 0.0}, "round-deadline=0.0 is refused"),
        ({"out": "o", "round-deadline": float("nan")}, "round-deadline=nan is refused"),
        ({"out": "o", "min-clients": -1}, "min-clients=-1 is refused"),
        ({"out": "o", "rounds": 3}, "rounds=3 is refused: Extra"),
        ({"out": "o", "resume": "no"}, "resume='no' is refused"),
    ],
)
def test_a_mistake_in_the_app_is_never_passed_over(values, why):
    with pytest.raises(InputError, match=why):
        read_settings(values)

import re

import pytest

from dtfl_private import errors
from dtfl_private.errors import DtflError, GateCrossedError, InputError, RunError, comparable, unknown_name

CLASSES = [thing for thing in vars(errors).values() if isinstance(thing, type)]
ERRORS = {thing.__name__: thing for thing in CLASSES if thing.__module__ == errors.__name__}


def test_the_docstring_draws_the_tree_of_all_errors():
    drawn = {}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"([│├└─ ]*)(\w+Error)\b", line):
            drawn[match[2]] = len(match[1]) // 4
    assert drawn == {name: len(error.__mro__) - len(DtflError.__mro__) for name, error in ERRORS.items()}
    assert all(issubclass(error, DtflError) for error in ERRORS.values())


def test_wrong_input_exits_with_2_a_crossed_gate_with_3_and_a_failed_run_with_1():
    for error in ERRORS.values():
        assert error.exit_status == {InputError: 2, GateCrossedError: 3}.get(error, 1)
    assert not issubclass(RunError, InputError)


@pytest.mark.parametrize("spelling", ["fashion-mnist", "Fashion_MNIST", "FASHIONMNIST", "fashion_mnist"])
def test_spellings_of_one_name_are_comparable(spelling):
    assert comparable(spelling) == comparable("fashion-mnist")


def test_different_names_stay_different():
    assert comparable("resnet-8") != comparable("resnet-80")


@pytest.mark.parametrize(
    ("typed", "meant"), [("resnet9", "resnet-8"), ("Resnet_10", "resnet-110"), ("resnet-65", "resnet-56")]
)
def test_an_unknown_name_comes_with_the_nearest_known_one(typed, meant):
    error = unknown_name("model", typed, ["resnet-8", "resnet-20", "resnet-56", "resnet-110"])
    assert isinstance(error, InputError)
    expected = f"unknown model '{typed}': did you mean '{meant}'? known: resnet-110, resnet-20, resnet-56, resnet-8"
    assert str(error) == expected


def test_no_suggestion_is_made_when_nothing_is_near():
    assert str(unknown_name("model", "transformer", ["cnn"])) == "unknown model 'transformer': known: cnn"


def test_an_empty_list_of_names_is_said():
    assert str(unknown_name("attack", "fsha", [])) == "unknown attack 'fsha': known: none"


def test_names_with_commas_are_listed_apart():
    assert str(unknown_name("profile", "x9", ["2 CPU, 30 Mbps", "1 CPU"])).endswith("known: 1 CPU; 2 CPU, 30 Mbps")
    assert str(unknown_name("profile", "x9", ["b", "a"])).endswith("known: a, b")

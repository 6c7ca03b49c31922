"""Plug-ins of other packages are listed next to the recorded ones, from their code."""

from typing import ClassVar

import pytest

from dtfl_private.attacks.decoder import Decoder
from dtfl_private.cli.listed import plugins
from dtfl_private.cli.listed.built_in import built_in
from dtfl_private.cli.listed.models import models_from_code
from dtfl_private.cli.listed.plugins import listed_plugins
from dtfl_private.plugins.installed import installed
from dtfl_private.protection.base import Defense, DefenseFacts


class Theirs(Defense):
    """Do what they do."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="theirs", acts_on=(), excludes={"dropout": "it forgets"})


class TheirAttack(Decoder):
    """Attack as they do."""


def their_network(*, input_shape, classes, norm, depth):
    """Compute as they do."""


PLAIN = {"method": {"settings": "depth", "what it is": "Compute as they do."}}
PLAIN["model"] = {"takes": "-", "tiers": "-", "params": "-", **PLAIN["method"], "source": "-"}


@pytest.mark.parametrize("kind", ["attack", "defense", "method", "model", "scheduler"])
def test_what_is_built_in_is_listed_as_recorded(kind):
    recorded = built_in(kind)
    listed = listed_plugins(kind)
    assert list(listed) == list(installed(kind))
    assert all(facts == recorded[installed(kind)[name].value] for name, facts in listed.items() if recorded)


def test_a_network_of_another_package_is_listed_without_what_it_does_not_say(offer):
    offer("model", "theirs", their_network)
    assert listed_plugins("model")["theirs"] == PLAIN["model"]


def test_a_method_of_another_package_is_listed(offer):
    def their_method(*, depth):
        """Compute as they do."""

    offer("method", "theirs", their_method)
    assert listed_plugins("method")["theirs"] == PLAIN["method"]


def test_an_attack_of_another_package_is_listed_with_its_facts(offer):
    offer("attack", "theirs", TheirAttack)
    listed = listed_plugins("attack")
    assert listed["theirs"] == {**listed["decoder"], "what it does": "Attack as they do."}


def test_a_defense_of_another_package_and_a_built_in_one_exclude_each_other(offer):
    assert listed_plugins("defense")["dropout"]["excludes"] == "fisher-noise"
    offer("defense", "theirs", Theirs)
    listed = listed_plugins("defense")
    assert listed["theirs"]["what it is"] == "Do what they do."
    assert (listed["theirs"]["excludes"], listed["dropout"]["excludes"]) == ("dropout", "fisher-noise, theirs")


def test_a_defense_under_a_built_in_name_is_not_taken_for_the_built_in_one(offer):
    offer("defense", "dropout", Theirs)
    assert listed_plugins("defense")["dropout"]["protects"] == "theirs"


@pytest.mark.parametrize("kind", ["attack", "model", "method"])
def test_next_to_one_of_another_package_no_built_in_one_is_imported(kind, offer, monkeypatch):
    asked = []

    def facts_from_code(_kind, points):
        asked.extend(points)
        return {name: {} for name in points}

    offer(kind, "theirs", their_network)
    monkeypatch.setattr(plugins, "facts_from_code", facts_from_code)
    listed_plugins(kind)
    assert asked == ["theirs"]


def test_tiers_and_parameters_of_a_network_are_counted():
    found = models_from_code({"resnet-8": installed("model")["resnet-8"]})["resnet-8"]
    assert (found["takes"], found["tiers"], found["params"]) == ("images from 8x8", "4", "78,042")
    assert "arXiv 1512.03385" in found["source"]

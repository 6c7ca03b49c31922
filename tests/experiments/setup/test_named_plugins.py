import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.named_plugins import make_chain, make_method, require_defensible
from dtfl_private.plugins.registry import create


def test_given_defenses_replace_the_named_ones_even_if_there_are_none(tiny_config):
    config = tiny_config(defense=["identity", "gaussian-noise:sd=2.0"])
    assert [type(defense).__name__ for defense in make_chain(config)] == ["Identity", "GaussianNoise"]
    given = create("defense", "laplace-noise:sd=1.0")
    assert list(make_chain(config, [given])) == [given]
    assert list(make_chain(config, [])) == []


class NoMethod:
    """Something else than a method of training."""


def test_a_method_that_is_none_is_refused(offer):
    offer("method", "no-method", NoMethod)
    with pytest.raises(InputError, match="method 'no-method' is a NoMethod, expected an object of a subclass"):
        make_method("no-method")


def test_a_defense_without_its_message_in_the_method_is_refused(tiny_config):
    config = tiny_config(method="fedavg", defense=["gaussian-noise:sd=2.0"])
    with pytest.raises(InputError, match="fedavg"):
        require_defensible(config, make_method("fedavg"), make_chain(config), "batch")
    require_defensible(config, make_method("dtfl"), make_chain(config), "batch")

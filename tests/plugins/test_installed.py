from importlib.metadata import EntryPoint

import pytest
from made_up_plugins import Noise

from dtfl_private.errors import InputError
from dtfl_private.plugins import installed as installed_plugins
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create


@pytest.fixture
def entry_points(monkeypatch):
    """Replace what is installed by the (name, value) pairs given; `installed` remembers what it found, so forget it."""

    def only(*points: tuple[str, str]) -> None:
        found = [EntryPoint(name=name, value=value, group="dtfl_private.defenses") for name, value in points]
        monkeypatch.setattr(installed_plugins, "_points", lambda: found)
        installed.cache_clear()

    yield only
    installed.cache_clear()


def test_plugins_are_found_by_entry_points_and_sorted(entry_points):
    entry_points(("noise", f"{Noise.__module__}:Noise"), ("blur", "nowhere:Blur"))
    assert list(installed("defense")) == ["blur", "noise"]
    assert create("defense", "noise:1") == Noise(1.0)
    assert installed("model") == {}


def test_an_entry_point_found_twice_is_one_plugin(entry_points):
    entry_points(("noise", f"{Noise.__module__}:Noise"), ("noise", f"{Noise.__module__}:Noise"))
    assert list(installed("defense")) == ["noise"]


def test_two_packages_that_offer_the_same_name_are_refused(entry_points):
    entry_points(("noise", "one:Noise"), ("noise", "two:Noise"))
    with pytest.raises(InputError, match="two installed packages offer defense 'noise': one:Noise and two:Noise"):
        installed("defense")

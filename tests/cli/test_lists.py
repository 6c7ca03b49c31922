"""The list command: every kind, and where data are."""

from pathlib import Path

import pytest

from dtfl_private.cli.lists import LISTINGS
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.plugins.installed import GROUPS, installed
from dtfl_private.protocol.adversaries import ADVERSARIES
from dtfl_private.simulation.clients.profiles import PROFILE_SETS


@pytest.mark.parametrize("kind", LISTINGS)
def test_everything_that_can_be_chosen_is_listed(dtfl, kind):
    answer = dtfl("list", kind)
    assert (answer.status, answer.err) == (0, "")
    if kind == "profiles":
        assert "profiles 'paper'" in answer.out
        assert answer.out.count("Mbit/s") == 2 * sum(map(len, PROFILE_SETS.values()))
    elif kind == "adversaries":
        assert all(f" {name} " in answer.out for name in ADVERSARIES)
    elif kind.rstrip("s") in GROUPS and installed(kind.rstrip("s")):
        rows = answer.out.splitlines()
        assert all(any(row.startswith(f" {name} ") for row in rows) for name in installed(kind.rstrip("s")))
    else:
        assert kind == "measures"
        assert all(f" {name} " in answer.out for name in MEASURES)


def test_the_list_shows_settings_with_their_defaults(dtfl):
    assert "alpha=0.5, floor=2" in dtfl("list", "partitions").out


def test_data_sets_are_listed_with_where_they_are(in_tree):
    status, out, err = in_tree("list", "datasets", "--data-dir", "tree")
    assert (status, err) == (0, "")
    flat = " ".join(out.split())
    assert "yes, tree: 2 folders" in flat
    assert "yes, in scikit-learn" in flat
    for name in ("cifar-10", "cifar-100", "cinic-10", "ham10000", "fashion-mnist", "mnist", "emnist", "svhn"):
        assert f" {name} " in flat


def test_a_plugin_of_another_package_is_listed_next_to_the_built_in_ones(dtfl, offer):
    def noise(*, scale: float, kind: str = "normal") -> None:
        """Add noise."""

    offer("defense", "theirs", noise)
    status, out, err = dtfl("list", "defenses")
    assert (status, err) == (0, "")
    flat = " ".join(out.split())
    assert "theirs what it is Add noise. settings scale, kind=normal " in flat
    assert " dropout what it is " in flat


def test_a_data_set_of_another_package_is_listed_without_facts(in_tree, offer):
    def load(*, data_dir: Path | None, download: bool, shade: int = 3) -> None:
        """Somebody's images."""

    offer("dataset", "theirs", load)
    status, out, _ = in_tree("list", "datasets")
    assert status == 0
    assert "theirs what it is Somebody's images. settings shade=3" in " ".join(out.split())

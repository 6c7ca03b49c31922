"""What every registered plug-in of every kind must do."""

import inspect

import numpy as np
import pytest

from dtfl_private.data.partition import deal_out
from dtfl_private.plugins.descriptions import described
from dtfl_private.plugins.factories import CORE_PARAMETERS
from dtfl_private.plugins.installed import GROUPS, find, installed
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import canonical
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Partition, Scheduler, TierChoice

# Plug-ins that cannot do without a setting, and one more way to write those that can.
EXAMPLES = {"static": ["static:2", "static:m=1"], "dirichlet": ["dirichlet", "dirichlet:0.3", "dirichlet:floor=1"]}

PLUGINS = [(kind, name) for kind in GROUPS for name in installed(kind)]


def examples(*kinds: str) -> list[tuple[str, str]]:
    return [(kind, text) for kind, name in PLUGINS if kind in kinds for text in EXAMPLES.get(name, [name])]


def test_every_kind_but_attacks_has_a_plugin():
    assert {kind for kind, _ in PLUGINS} | {"attack"} == set(GROUPS)


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_it_loads_and_says_what_it_is_in_one_line(kind, name):
    factory = installed(kind)[name].load()
    assert callable(factory)
    line, _, rest = inspect.getdoc(factory).partition("\n")
    assert line.endswith(".")
    assert not rest or rest.startswith("\n")
    assert (name, line) in [(listed, summary) for listed, _, summary in described(kind)]


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_its_name_is_lower_case_with_hyphens_and_found_however_spelled(kind, name):
    assert name == name.lower().replace("_", "-").strip()
    for spelling in (name, name.upper(), name.replace("-", "_"), name.replace("-", "")):
        assert find(kind, spelling).name == name
        assert canonical(kind, spelling) == name


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_every_setting_has_an_annotation_to_convert_it_by(kind, name):
    for parameter in inspect.signature(installed(kind)[name].load()).parameters.values():
        assert parameter.name in CORE_PARAMETERS.get(kind, ()) or parameter.annotation is not inspect.Parameter.empty
        assert parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)


@pytest.mark.parametrize(("kind", "text"), examples(*GROUPS))
def test_its_explicit_spelling_is_explicit_already(kind, text):
    assert explicit(kind, explicit(kind, text)) == explicit(kind, text)


@pytest.mark.parametrize(("kind", "text"), examples("partition", "scheduler", "defense", "method"))
def test_its_explicit_spelling_makes_the_same(kind, text):
    first, again = create(kind, text), create(kind, explicit(kind, text))
    assert type(first) is type(again)
    assert vars(first) == vars(again)


@pytest.mark.parametrize(("kind", "text"), examples("partition", "scheduler", "defense"))
def test_it_offers_what_its_protocol_asks_for(kind, text):
    protocol = {"partition": Partition, "scheduler": Scheduler, "defense": Defense}[kind]
    assert isinstance(create(kind, text), protocol)


@pytest.mark.parametrize(("kind", "text"), examples("partition"))
@pytest.mark.parametrize("clients", [1, 3, 60])
def test_a_partition_deals_every_image_out_once_in_sorted_parts(kind, text, clients):
    labels, owners = np.arange(120, dtype=np.int64) % 4, np.arange(120, dtype=np.int64) // 2
    before = labels.copy()
    parts, again = (deal_out(text, labels, clients, np.random.default_rng(1), owners) for _ in range(2))
    assert sorted(np.concatenate(parts).tolist()) == list(range(120))
    assert all(part.dtype == np.int64 and np.all(np.diff(part) > 0) for part in parts)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(parts, again, strict=True))
    np.testing.assert_array_equal(labels, before)
    assert create(kind, text) is not None


@pytest.mark.parametrize(("kind", "text"), examples("scheduler"))
def test_a_scheduler_names_an_allowed_tier_for_every_participant(kind, text):
    times = np.random.default_rng(0).uniform(1, 2, (50, 4))
    before = times.copy()
    choice = TierChoice(times_s_KM=times, tiers_M=np.arange(1, 5, dtype=np.int64))
    tiers, again = (create(kind, text).assign(choice, np.random.default_rng(1)) for _ in range(2))
    assert tiers.shape == (50,)
    assert tiers.dtype == np.int64
    assert np.isin(tiers, choice.tiers_M).all()
    np.testing.assert_array_equal(tiers, again)
    np.testing.assert_array_equal(times, before)

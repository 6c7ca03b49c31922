"""Defenses as tables of a CONFIG.toml."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import set_values
from dtfl_private.experiments.config.defense_tables import as_texts
from dtfl_private.experiments.config.toml_files import read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config

TABLES = """
[[defense]]
name = "gaussian_noise"
sd = {1 = 8.0, 2-3 = 4, ">=5" = 2.5}
profile = "phone"

[[defense]]
name = "label-rr"
epsilon = 2.0
correct = false
tier = "<=2"

[[defense]]
name = "identity"
tier = 3

[[defense]]
name = "dropout"
"""
TEXTS = [
    "gaussian-noise:sd=8.0@tier=1&profile=phone",
    "gaussian-noise:sd=4@tier=2-3&profile=phone",
    "gaussian-noise:sd=2.5@tier>=5&profile=phone",
    "label-rr:epsilon=2.0,correct=False@tier<=2",
    "identity@tier=3",
    "dropout",
]


def test_tables_say_what_specifications_say(tmp_path):
    (tmp_path / "run.toml").write_text(TABLES)
    config = make_config(read_toml(tmp_path / "run.toml"))
    assert config.defense == TEXTS
    assert config == TrainConfig(defense=TEXTS)
    (tmp_path / "again.toml").write_text(to_toml(config))
    assert make_config(read_toml(tmp_path / "again.toml")) == config


def test_tables_and_specifications_may_be_mixed_also_behind_set():
    values = set_values(['defense=["identity", {name="gaussian-noise", sd={1=8, 2=4}}]'])
    assert make_config(values).defense == ["identity", "gaussian-noise:sd=8@tier=1", "gaussian-noise:sd=4@tier=2"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sd": 1}, "has no name"),
        ({"name": 3}, "has no name"),
        ({"name": "gaussian-noise", "sd": [1]}, r"sd = \[1\] is refused"),
        ({"name": "gaussian-noise", "sd": "1@tier=2"}, "sd = .* is refused"),
        ({"name": "gaussian-noise", "sd": {}}, "values for the same tiers"),
        ({"name": "gaussian-noise", "sd": {"1": 2}, "tier": 3}, "leave tier out"),
        ({"name": "dp-activations", "noise_multiplier": {"1": 2}, "clip": {"2": 2}}, "values for the same tiers"),
        ({"name": "gaussian-noise", "tier": True}, "not understood"),
        ({"name": "gaussian-noise", "tier": "two"}, "not understood"),
        ({"name": "gaussian-noise", "sd": {"phone": 2}}, "not understood"),
        ({"name": "gaussian-noise", "profile": ""}, "profile = '' is refused"),
        ({"name": "gausian-noise", "tier": 1}, "did you mean 'gaussian-noise'"),
        ({"name": "gaussian-noise", "tire": 1, "sd": {"1": {"2": 3}}}, "is refused"),
    ],
)
def test_a_table_that_says_nothing_is_one_line(table, message):
    with pytest.raises(InputError, match=message) as error:
        make_config({"defense": [table]})
    assert "\n" not in str(error.value)


@given(
    st.dictionaries(st.integers(1, 9), st.floats(0.1, 9), min_size=1, max_size=5),
    st.none() | st.sampled_from(["phone", "4 CPU, 100 Mbps"]),
)
def test_a_schedule_is_a_defense_for_each_of_its_tiers(schedule, profile):
    table = {"name": "gaussian-noise", "sd": schedule, **({} if profile is None else {"profile": profile})}
    expected = [
        f"gaussian-noise:sd={sd}@tier={m}{f'&profile={profile}' if profile else ''}" for m, sd in schedule.items()
    ]
    assert as_texts([table]) == expected
    assert make_config({"defense": table}).defense == expected


def test_what_a_table_names_by_its_module_is_allowed_where_it_was_typed():
    typed = TrainConfig(defense=[{"name": "some.module:Noise", "tier": 2}])
    assert typed.defense == ["some.module:Noise@tier=2"]
    assert typed.allowed == {"some.module:Noise"}
    assert make_config({"defense": [{"name": "some.module:Noise", "tier": 2}]}).allowed == frozenset()

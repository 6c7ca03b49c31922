import tomllib
from pathlib import Path

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.preset import SIZE_KEYS, TARGETS, load_preset
from dtfl_private.plugins.specification import canonical

PRESETS = sorted((Path(__file__).parent.parent.parent / "benchmarks" / "presets").glob("*.toml"))

TWO_BY_TWO = """
title = "two methods, two partitions"
seeds = [3, 4]
baseline = "fedavg"

[config]
clients = 4
lr = 0.01

[[grid]]
method = ["dtfl", "FedAvg"]
partition = ["iid", "dirichlet:0.5"]

[[grid]]
method = "dtfl"
partition = "iid"

[sizes.small]
dataset = "digits"
max-train-images = 40
rounds = 2
targets = { IID = 0.8, "dirichlet:0.5" = 0.7 }

[sizes.large]
rounds = 9
tiers = [1, 2]
"""


@pytest.fixture
def preset(tmp_path):
    def load(text: str, size: str = "small", **overrides: object):
        path = tmp_path / "my.toml"
        path.write_text(text)
        return load_preset(path, size, **overrides)

    return load


def test_a_grid_is_all_combinations_once_each_with_every_seed(preset):
    loaded = preset(TWO_BY_TWO)
    assert (loaded.name, loaded.title, loaded.baseline) == ("my-small", "two methods, two partitions", "fedavg")
    assert [run.name for run in loaded.runs] == [
        *("iid-dtfl-seed3", "iid-dtfl-seed4", "dirichlet_0.5-dtfl-seed3", "dirichlet_0.5-dtfl-seed4"),
        *("iid-fedavg-seed3", "iid-fedavg-seed4", "dirichlet_0.5-fedavg-seed3", "dirichlet_0.5-fedavg-seed4"),
    ]
    for run in loaded.runs:
        config = run.config
        assert (config.clients, config.lr, config.max_train_images, config.rounds) == (4, 0.01, 40, 2)
        assert config.target_accuracy == (0.8 if config.partition == "iid" else 0.7)
        assert config.workers == 1


CHURNING = """together = [{ leave = 0.0, join = 0.0 }, { leave = 0.1, join = [0.4, 0.5] }]
method = ["dtfl", "FedAvg"]"""
ONE_GRID = TWO_BY_TWO.replace('[[grid]]\nmethod = "dtfl"\npartition = "iid"\n', "")


def test_keys_that_vary_together_are_combined_with_the_others_and_not_with_one_another(preset):
    runs = preset(ONE_GRID.replace('method = ["dtfl", "FedAvg"]', CHURNING)).runs
    churn = [(run.config.leave, run.config.join) for run in runs if run.config.seed == 3]
    assert churn == [(0.0, 0.0)] * 4 + [(0.1, 0.4), (0.1, 0.5)] * 4
    assert len({run.name for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "[{ leave = 0.0",
            "[{ leve = 0.0",
            r"unknown key in together in \[\[grid\]\] of .*: 'leve': did you mean 'leave'",
        ),
        ("[{ leave = 0.0", "[{ method = 'dtfl'", r"gives 'method' both in together and beside it: leave one out"),
        ("[{ leave = 0.0", "[{ seed = 1", r"gives 'seed': a sweep sets it itself"),
        ("together = [", "together = [3, ", r"together in \[\[grid\]\] of .* is refused: expected a list of tables"),
        ("together =", "togethr =", r"'togethr': did you mean 'together'\?"),
        ("join = [0.4, 0.5]", "join = []", r"together in \[\[grid\]\] of .* has an empty list"),
    ],
)
def test_keys_that_cannot_vary_together_are_refused_in_one_line(preset, old, new, said):
    text = ONE_GRID.replace('method = ["dtfl", "FedAvg"]', CHURNING.replace(old, new))
    with pytest.raises(InputError, match=said) as refused:
        preset(text)
    assert "\n" not in str(refused.value)


def test_a_size_may_add_an_axis_and_a_grid_wins_over_it(preset):
    text = TWO_BY_TWO.replace('method = "dtfl"\npartition = "iid"', 'method = "tifl"\ntiers = "none"')
    runs = preset(text, "large").runs
    assert {run.config.tiers for run in runs if run.config.method == "dtfl"} == {1, 2}
    assert {run.config.tiers for run in runs if run.config.method == "tifl"} == {None}
    assert len(runs) == 2 * (2 * 2 * 2 + 1)
    assert len({run.name for run in runs}) == len(runs)
    assert all(run.config.target_accuracy is None for run in runs)


def test_a_preset_of_no_run_or_of_far_too_many_is_refused_before_they_are_laid_out(tmp_path):
    many = ", ".join(map(str, range(1, 1000)))
    axes = "".join(f"{key} = [{many}]\n" for key in ("rounds", "clients", "batch_size", "seed_of_nothing"))
    text = 'title = "t"\nseeds = [0]\n[[grid]]\n{}[sizes.small]\n'
    path = tmp_path / "p.toml"
    path.write_text(text.format(axes.replace("seed_of_nothing", "drift_every")))
    with pytest.raises(InputError, match="describes 996,005,996,001 runs, more than 2,000: shorten its lists"):
        load_preset(path, "small")
    path.write_text(text.format("method = []\n"))
    with pytest.raises(InputError, match="describes no run: a list in it is empty"):
        load_preset(path, "small")


def test_the_table_of_all_runs_may_extend_a_configuration_beside_the_preset(preset, tmp_path):
    (tmp_path / "lower.toml").write_text("clients = 9\nbatch-size = 7")
    (tmp_path / "base.toml").write_text("extends = 'lower.toml'\nbatch-size = 5\nrounds = 50")
    for run in preset(TWO_BY_TWO.replace("[config]", "[config]\nextends = 'base.toml'")).runs:
        assert (run.config.clients, run.config.batch_size, run.config.rounds) == (4, 5, 2)


def test_a_preset_extends_nothing_elsewhere_and_no_circle(preset, tmp_path):
    extending = TWO_BY_TWO.replace("[config]", "[config]\nextends = 'base.toml'")
    (tmp_path / "base.toml").write_text("extends = 'my.toml'")
    with pytest.raises(InputError, match=r"in a circle: .*my.toml -> .*base.toml -> .*my.toml"):
        preset(extending)
    with pytest.raises(InputError, match="not in or below the folder"):
        preset(extending.replace("base.toml", "../base.toml"))
    with pytest.raises(InputError, match=r"extends \['base.toml', 3\]|extends 3"):
        preset(extending.replace("'base.toml'", "['base.toml', 3]"))


def test_overrides_win_over_everything(preset, tmp_path):
    assert {run.config.data_dir for run in preset(TWO_BY_TWO, data_dir=str(tmp_path)).runs} == {tmp_path}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = [3, 4]", "seds = [3, 4]", r"unknown key in .*my.toml: 'seds': did you mean 'seeds'\?"),
        ("seeds = [3, 4]", "seeds = []", r"preset '.*my.toml': seeds is refused: list should have at least 1"),
        ("seeds = [3, 4]", "seeds = [3, 3]", r"seeds \[3, 3\] name one seed twice"),
        ("seeds = [3, 4]", "seeds = [-1]", r"seeds.0 is refused: input should be greater than or equal to 0"),
        ("clients = 4", "clints = 4", r"unknown key in \[config\] of .*: 'clints': did you mean 'clients'\?"),
        ("clients = 4", "clients = 0", r"preset '.*': clients 0 is refused"),
        ("clients = 4", "seed = 4", r"gives 'seed': a sweep sets it itself"),
        ("clients = 4", 'executor = "ray"', r"gives 'executor': say to the sweep who computes, by --executor"),
        ('"dtfl", "FedAvg"', '"dtfl", "fedvag"', r"unknown method 'fedvag': did you mean 'fedavg'\?"),
        ("partition = [", "partitoin = [", r"unknown key in \[\[grid\]\] of .*: 'partitoin': did you mean 'partition'"),
        ("rounds = 2", "lr = 2", r"unknown key in \[sizes.small\] of .*: 'lr'"),
        ("rounds = 9", "roundz = 9", r"unknown key in \[sizes.large\] of .*: 'roundz': did you mean 'rounds'\?"),
        ("IID = 0.8", "idd = 0.8", r"unknown partition 'idd': did you mean 'iid'\?"),
        ("IID = 0.8", "IID = 1.8", r"target_accuracy 1.8 is refused"),
        ("IID = 0.8", 'IID = "much"', r"targets in \[sizes.small\] of .* is refused: expected one accuracy"),
        ('baseline = "fedavg"', 'baseline = "fedprox"', r"unknown baseline in .*: 'fedprox'"),
        ("[config]", "[config", r"preset '.*my.toml' cannot be read"),
    ],
)
def test_a_wrong_preset_is_refused_in_one_line_with_the_nearest_key(preset, old, new, said):
    assert old in TWO_BY_TWO
    with pytest.raises(InputError, match=said) as refused:
        preset(TWO_BY_TWO.replace(old, new))
    assert "\n" not in str(refused.value)


def test_a_size_that_is_not_there_and_a_file_that_is_not_there_are_refused(preset, tmp_path):
    with pytest.raises(InputError, match="unknown size 'smal': did you mean 'small'"):
        preset(TWO_BY_TWO, "smal")
    with pytest.raises(InputError, match=r"preset '.*' does not exist"):
        load_preset(tmp_path / "none.toml", "small")


# The presets of this repository.


def test_the_presets_are_there():
    assert {path.stem for path in PRESETS} == {
        *("headline", "headline-mbit", "tiers", "changing-clients", "clients", "dirichlet"),
        *("schedulers", "server-capacity", "fastest", "fastest-mbit", "fastest-tuned"),
        *("fastest-changing", "fastest-scarce", "fastest-sizes", "fastest-longer", "accelerators"),
        *("ema-factor", "ema-factor-trained", "churn", "churn-trained"),
        *("non-iid-leakage", "non-iid-labels", "architectures", "tiers-heads", "transformers"),
    }


# `ema-factor`, `churn` and `transformers` are planned and not trained; the presets `non-iid-...` compare clients.
TRAINED = [path for path in PRESETS if "plan" not in tomllib.loads(path.read_text()) and "non-iid" not in path.stem]
ATTACKED_PRESETS = [path for path in PRESETS if "non-iid" in path.stem]
SIZES = [(path, size) for path in TRAINED for size in tomllib.loads(path.read_text())["sizes"]]


@pytest.mark.parametrize(("path", "size"), SIZES, ids=[f"{path.stem}-{size}" for path, size in SIZES])
def test_each_preset_is_valid_in_every_size_and_its_runs_can_be_compared(path, size, write_run, tmp_path):
    loaded = load_preset(path, size)
    seeds = 5 if path.stem.startswith("fastest") or path.stem == "headline" else 3
    assert {run.config.seed for run in loaded.runs} == set(range(seeds))
    assert len({run.config.model_dump_json() for run in loaded.runs}) == len(loaded.runs)
    folders = []
    for run in (run for run in loaded.runs if run.config.seed in (0, 1)):  # others would be more of the same
        settings = {**run.config.model_dump(), "max_train_images": 40}
        folders.append(write_run(tmp_path / run.name, [0.2, 0.9], **settings))
    comparison = compare(folders, baseline=loaded.baseline, apart=True)
    # Networks are on different footings: `architectures` holds them side by side, DTFL alone.
    alone = path.stem == "architectures"
    for setting in comparison.settings:
        assert setting.target is not None
        assert (setting.baseline is None) == alone
        assert len(setting.groups) > 1 or alone
        assert not alone or {group.settings["method"] for group in setting.groups} == {"dtfl"}
        assert all(len(group.runs) == 2 for group in setting.groups)


@pytest.mark.parametrize("path", ATTACKED_PRESETS, ids=[path.stem for path in ATTACKED_PRESETS])
def test_attacked_presets_are_of_all_partitions_and_sources_in_both_sizes(path):
    devices = []
    for size in ("small", "full"):
        loaded = load_preset(path, size)
        kinds = {run.config.partition.partition(":")[0] for run in loaded.runs}
        assert kinds == {"dirichlet", "iid", "shards", "quantity"}
        assert loaded.attack[0].aux == ["same", "mixture", "client:0"]
        devices += {run.config.device for run in loaded.runs}
    assert devices == ["cpu", "cuda"]


@pytest.mark.parametrize("name", ["architectures", "tiers-heads"])
def test_what_leaks_at_each_tier_is_attacked_and_harder_in_all_tiers_in_the_paper_s_size(name):
    small, full = (load_preset(PRESETS[0].parent / f"{name}.toml", size) for size in ("small", "full"))
    for loaded in (small, full):
        assert [one.aux for one in loaded.attack] == [["same"]]
        assert loaded.attack[0].tiers == ([1, 3, 5, 7] if loaded is small and name == "architectures" else "all")
    assert full.attack[0].aux_images > small.attack[0].aux_images
    assert full.attack[0].each > small.attack[0].each


# `fastest-sizes` is about sizes itself: more images, a deeper network; `fastest-longer` about more rounds.
SMALL_AND_FULL = [path for path in TRAINED if path.stem not in ("fastest-sizes", "fastest-longer")]


@pytest.mark.parametrize("path", SMALL_AND_FULL, ids=[path.stem for path in SMALL_AND_FULL])
def test_the_sizes_of_a_preset_are_of_the_same_keys_on_cpu_and_gpu(path):
    sizes = tomllib.loads(path.read_text())["sizes"]
    full = sizes.pop("full")
    full.pop("attack", None)
    assert "small" in sizes
    assert full["device"] == "cuda"
    for values in sizes.values():
        assert set(values) - set(full) <= {"max_train_images"}
        assert set(full) <= set(values) <= {*SIZE_KEYS, TARGETS}
        assert values["device"] == "cpu"


@pytest.mark.parametrize("size", ["small", "full"])
def test_the_planned_preset_holds_every_factor_against_all_kinds_of_drift(size):
    loaded = load_preset(PRESETS[0].parent / "ema-factor.toml", size)
    assert loaded.plan is not None
    default = TrainConfig().ema
    assert loaded.plan.reference == default
    configs = [run.config for run in loaded.runs]
    assert {config.drift for config in configs} == {"jumps", "ramps", "day-night"}
    factors = {config.ema for config in configs}
    assert {0.1, default, 1.0} <= factors
    kinds = {(config.drift, config.noise, config.drift_share, config.drift_every) for config in configs}
    assert len(configs) == len(kinds) * len(factors) * 10
    assert len({config.model_dump_json() for config in configs}) == len(configs)


@pytest.mark.parametrize("size", ["small", "full"])
def test_transformers_are_held_against_fedavg_at_all_lengths_tiers_and_links(size):
    loaded = load_preset(PRESETS[0].parent / "transformers.toml", size)
    assert loaded.plan is not None
    assert loaded.plan.against == "fedavg"
    assert {(one.input_shape, one.cuts) for one in loaded.plan.told} == {
        (length, cuts) for length in ("32", "128", "512") for cuts in (2, 4, 7, 12, 24)
    }
    configs = [run.config for run in loaded.runs]
    assert {config.clients for config in configs} == {100}
    assert {config.link_unit for config in configs} == {"mbit", "mbyte"}
    assert {config.model for config in configs} == {"bert-large", "gpt2-xl", "llama-7b"}


def test_the_headline_has_all_methods_and_both_readings_of_the_link_speeds():
    runs = load_preset(PRESETS[0].parent / "headline.toml", "small").runs
    assert len({run.config.method for run in runs}) == 13
    assert {run.config.partition for run in runs} == {"iid", canonical("partition", "dirichlet:0.5")}
    literal = load_preset(PRESETS[0].parent / "headline-mbit.toml", "small").runs
    assert {run.config.link_unit for run in runs} == {"mbyte"}
    assert {run.config.link_unit for run in literal} == {"mbit"}
    as_mbyte = [run.config.model_copy(update={"link_unit": "mbyte"}) for run in literal]
    assert all(config in [run.config for run in runs] for config in as_mbyte)


def test_the_untuned_runs_of_the_tuned_preset_are_those_of_fastest_where_both_have_them():
    fastest = {run.name: run.config for run in load_preset(PRESETS[0].parent / "fastest.toml", "small").runs}
    tuned = load_preset(PRESETS[0].parent / "fastest-tuned.toml", "small")
    assert len(tuned.runs) == 2 * 7 * 5
    shared = [run for run in tuned.runs if run.name in fastest]
    assert len(shared) == 2 * 2 * 5
    assert all(fastest[run.name] == run.config for run in shared)
    assert {len(combination.trials) for combination in tuned.tuning.combinations} == {4}


ATTACKED = (
    TWO_BY_TWO.replace(
        "[sizes.small]",
        """
[[attack]]
attacks = ["decoder"]

[sizes.small]""",
    )
    + """
[[sizes.large.attack]]
attacks = ["hybrid", "lira"]
aux = ["mixture", "client:1"]
"""
)


def test_runs_are_attacked_as_the_size_says_or_else_the_preset(preset):
    assert preset(TWO_BY_TWO).attack == ()
    (small,) = preset(ATTACKED).attack
    assert (small.attacks, small.aux, small.tiers, small.each) == (["decoder"], ["same"], "all", 16)
    (large,) = preset(ATTACKED, "large").attack
    assert (large.attacks, large.aux) == (["hybrid", "lira"], ["mixture", "client:1"])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            'attacks = ["decoder"]',
            'attacks = ["lira"]\nauxx = ["same"]',
            "unknown key in .*: 'auxx': did you mean 'aux'",
        ),
        ('attacks = ["decoder"]', "attacks = []", "attacks in .*attack.* is refused: list should have at least 1"),
        ('attacks = ["decoder"]', 'attacks = ["os:system"]', "attack 'os:system' .* no file names an attack by its"),
        ('attacks = ["decoder"]', 'attacks = ["decoder"]\neach = 0', "each in .* is refused"),
        ("[[attack]]", "[tuning]\nseeds = [9]\ntrials = [{ lr = 0.1 }]\n[[attack]]", "has .*attack.* and .tuning"),
    ],
)
def test_attacks_that_a_preset_may_not_have_are_refused_in_one_line(preset, old, new, why):
    with pytest.raises(InputError, match=why) as refused:
        preset(ATTACKED.replace(old, new, 1))
    assert "\n" not in str(refused.value)

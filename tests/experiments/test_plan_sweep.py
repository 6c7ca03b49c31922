"""Sweeps without training: the figures are those of `plan`, what is there is not planned again."""

import statistics
from pathlib import Path

import pytest
from planned_sweep_sample import TEXT

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments import plan_sweep
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.plan import plan
from dtfl_private.experiments.plan_sweep import sweep_plans
from dtfl_private.experiments.preset import Preset, load_preset
from dtfl_private.report.pictures.plan_sweep import plan_sweep_picture
from dtfl_private.report.plan_sweep import PlanPoint, PlanSweep
from dtfl_private.report.tables.plan_sweep import panel_rows, plan_sweep_markdown, table_rows


@pytest.fixture
def loaded(tmp_path):
    def load(text: str = TEXT) -> Preset:
        (tmp_path / "my.toml").write_text(text)
        return load_preset(tmp_path / "my.toml", "small")

    return load


def swept(preset: Preset, folder: Path) -> PlanSweep:
    assert preset.plan is not None
    return sweep_plans(preset.title, preset.runs, preset.plan, folder, parallel=1)


def test_each_point_is_the_plan_of_its_configuration(loaded, tmp_path):
    preset = loaded()
    done = swept(preset, tmp_path / "out")
    assert len(done.points) == len(preset.runs) == 16
    by_key = {
        (*(str(point.values[key]) for key in ("ema", "drift", "noise")), point.seed): point for point in done.points
    }
    for run in preset.runs:
        config = run.config
        alone = plan(config, input_shape=(1, 8, 8), images_per_client=40)
        point = by_key[str(config.ema), config.drift, str(config.noise), config.seed]
        assert point.time_s == alone.virtual_time_s
        assert point.regret == alone.regret(alone.virtual_time_s)
        assert point.tier_accuracy == alone.tier_accuracy
    assert len({point.time_s for point in done.points}) > 4


def test_what_is_there_is_not_planned_again_and_another_preset_is_refused(loaded, tmp_path, monkeypatch):
    first = swept(loaded(), tmp_path / "out")
    (tmp_path / "out" / "driftjumps-noise0.0.json").unlink()
    planned = []
    true = plan_sweep.plan
    monkeypatch.setattr(plan_sweep, "plan", lambda config, **more: (planned.append(config), true(config, **more))[1])
    assert swept(loaded(), tmp_path / "out").points == first.points
    assert [(config.drift, config.noise) for config in planned] == [("jumps", 0.0)] * 4
    for old, new in (("clients = 4", "clients = 5"), ("images_per_client = 40", "images_per_client = 50")):
        with pytest.raises(InputError, match=r"has a line 'drift.*' of another preset: choose another --out"):
            swept(loaded(TEXT.replace(old, new)), tmp_path / "out")


def test_a_key_that_goes_with_an_axis_sets_no_lines_apart_and_panels_may_lack_lines(loaded, tmp_path):
    """Clients come back the more often the more often they leave; only with noise there is a second scheduler."""
    pairs = "together = [{ leave = 0.0, join = 0.0 }, { leave = 0.2, join = 0.8 }]\ndrift = ['jumps', 'ramps']\n"
    text = TEXT.replace('x = "ema"\nreference = 0.5', 'x = "leave"\nreference = 0.0')
    grids = f"[[grid]]\n{pairs}noise = [0.0, 0.4]\n[[grid]]\n{pairs}noise = 0.4\nscheduler = 'efficient'\n"
    text = text[: text.index("[[grid]]")] + grids + text[text.index("[sizes") :]
    done = swept(loaded(text), tmp_path / "out")
    assert done.apart == ["drift", "noise", "scheduler"]
    assert [curve.xs for curve in done.curves] == [[0.0, 0.2]] * 6
    assert len(list((tmp_path / "out").iterdir())) == 6
    picture = plan_sweep_picture(done, "regret", form="svg").decode()
    assert all(f"scheduler {name}" in picture for name in ("dynamic", "efficient"))


NETWORKS = """
title = "networks"
seeds = [0, 1]

[plan]
input_shape = ["8", "24"]
cuts = [2, 5]
images_per_client = 40
x = "cuts"
reference = 5
panels = ["input_shape", "link_unit"]
against = "fedavg"

[config]
clients = 4
rounds = 2
cpu_gmacs = 0.05
model = "transformer:width=8"

[[grid]]
link_unit = ["mbit", "mbyte"]

[sizes.small]
drift_every = 2
"""


def test_inputs_and_cuts_are_axes_and_speed_ups_are_over_the_named_method(loaded, tmp_path):
    done = swept(loaded(NETWORKS), tmp_path / "out")
    assert len(done.points) == 2 * 2 * 2 * 2
    assert (done.apart, [curve.xs for curve in done.curves]) == (["input_shape", "link_unit"], [[2, 5]] * 4)
    for point in (one for one in done.points if one.seed == 0):  # of each setting
        cuts, shape, unit = (point.values[key] for key in ("cuts", "input_shape", "link_unit"))
        config = {"clients": 4, "rounds": 2, "cpu_gmacs": 0.05, "link_unit": unit, "seed": point.seed}
        alone, other = (
            plan(
                TrainConfig(model=f"transformer:width=8,cuts={cuts}", method=method, drift_every=2, **config),
                input_shape=(int(shape),),
                images_per_client=40,
            ).virtual_time_s
            for method in ("dtfl", "fedavg")
        )
        assert (point.time_s, point.speedup) == (alone, other / alone)
    header, *rows = table_rows(done, "speedup")
    assert header == ["input_shape", "link_unit", "cuts 2", "cuts 5", "best cuts", "adds to 5"]
    for row, curve in zip(rows, done.curves, strict=True):
        means = [statistics.mean(curve.at(cuts, "speedup")) for cuts in (2, 5)]
        assert row[4] == str((2, 5)[means.index(max(means))])
        assert [cell.split(" ± ")[0] for cell in row[2:4]] == [f"{mean:.2f}" for mean in means]
        assert row[5].startswith(f"{max(means) - means[1]:.2f}")
    assert [row[0] for row in panel_rows(done)][-2:] == ["faster than 5", "slower than 5"]
    assert "times as fast as fedavg" in plan_sweep_markdown(done)
    assert "times as fast as fedavg" in plan_sweep_picture(done, "speedup", form="svg").decode()
    assert done.document()["against"] == "fedavg"
    assert {point["speedup"] for point in done.document()["points"]} == {point.speedup for point in done.points}


@pytest.mark.parametrize("data", [b"{}", b"[", b'{"asked": "", "points": [{"x": 1}]}', b"\xff"])
def test_a_damaged_line_is_refused_in_one_line(loaded, tmp_path, data):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "driftjumps-noise0.4.json").write_bytes(data)
    with pytest.raises(InputError, match=r"line '.*noise0.4.json' of a sweep cannot be read: .*: remove it"):
        swept(loaded(), tmp_path / "out")


def test_means_and_savings_are_over_equal_seeds(loaded, tmp_path):
    done = swept(loaded(), tmp_path / "out")
    header, *rows = table_rows(done, "regret")
    assert header == ["drift", "noise", "ema 0.2", "ema 0.5", "best ema", "saves against 0.5"]
    for row, curve in zip(rows, done.curves, strict=True):
        own = {
            (point.values["ema"], point.seed): point.regret
            for point in done.points
            if [point.values["drift"], point.values["noise"]] == [curve.values["drift"], curve.values["noise"]]
        }
        means = {ema: statistics.mean([own[ema, 0], own[ema, 1]]) for ema in (0.2, 0.5)}
        best = min(means, key=means.__getitem__)
        saved = [own[0.5, seed] - own[best, seed] for seed in (0, 1)]
        assert row[4] == f"{best:g}"
        # Student's t with one degree of freedom: 12.706.
        half = 12.706 * statistics.stdev(saved) / 2**0.5
        assert row[5] == f"{100 * statistics.mean(saved):.1f} ± {100 * half:.1f}"
    assert plan_sweep_markdown(done).count("\n|") == 2 * (2 + 4) + 2 + 4 + 2
    assert plan_sweep_picture(done, "regret", form="svg").startswith(b"<?xml")


def made_up(regrets: dict[tuple[float, int, int], float]) -> PlanSweep:
    """Return a sweep of one panel with these regrets, by ema, share of drift and seed."""
    points = [
        PlanPoint(
            values={"ema": ema, "drift": "jumps", "noise": 0.0, "drift_every": every},
            seed=seed,
            time_s=1.0,
            regret=regret,
            tier_accuracy=0.5,
        )
        for (ema, every, seed), regret in regrets.items()
    ]
    return PlanSweep(title="t", x="ema", reference=0.5, panels=("drift", "noise"), points=points)


def test_a_factor_is_better_where_the_interval_of_its_paired_differences_says_so():
    spread = {1: 0.0, 2: 10.0, 3: 20.0}  # between seeds, which pairs do not see
    regrets = {(0.5, every, seed): wide for every in (5, 20) for seed, wide in spread.items()}
    regrets |= {(0.1, 5, seed): wide - 1 + seed / 100 for seed, wide in spread.items()}
    regrets |= {(0.1, 20, seed): wide + (-1) ** seed for seed, wide in spread.items()}
    regrets |= {(1.0, every, seed): wide + 1 + seed / 100 for every in (5, 20) for seed, wide in spread.items()}
    done = made_up(regrets)
    assert [done.against_reference(x) for x in (0.1, 0.5, 1.0)] == [(1, 0), (0, 0), (0, 2)]
    header, panel, less, more = panel_rows(done)
    assert header == ["drift", "noise", "ema 0.1", "ema 0.5", "ema 1"]
    assert (less[2:], more[2:]) == (["1", "0", "0"], ["0", "0", "2"])
    of_seeds = [(regrets[0.1, 5, seed] + regrets[0.1, 20, seed]) / 2 for seed in spread]
    half = 4.30265 * statistics.stdev(of_seeds) / 3**0.5
    assert panel[2] == f"{100 * statistics.mean(of_seeds):.1f} ± {100 * half:.1f}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('x = "ema"', 'x = "clients"', r"unknown axis in \[plan\] of .*my.toml: 'clients'"),
        ('"noise"]', '"nois"]', r"unknown axis in \[plan\] of .*: 'nois': did you mean 'noise'\?"),
        ("reference = 0.5", "reference = 0.6", r"reference 0.6 in \[plan\] of .* is none of the values of ema: \[0.2"),
        ("images_per_client", "images", r"unknown key in .*my.toml: 'images': did you mean 'images_per_client'\?"),
        ("= 40", "= 0", r"preset '.*': plan.images_per_client is refused"),
        ('x = "ema"', 'x = "cuts"', r"unknown axis in \[plan\] of .*my.toml: 'cuts'"),
        ("reference", "against = 'fedav'\nreference", r"unknown method 'fedav': did you mean 'fedavg'\?"),
        ("reference", "cuts = []\nreference", r"preset '.*': plan.cuts is refused"),
        (
            "[config]",
            "[tuning]\nseeds = [9]\ntrials = [{}]\n[config]",
            r"has .plan. and .tuning., which needs training",
        ),
    ],
)
def test_a_wrong_table_is_refused(loaded, old, new, said):
    assert old in TEXT
    with pytest.raises(InputError, match=said) as refused:
        loaded(TEXT.replace(old, new))
    assert "\n" not in str(refused.value)


def test_without_a_choice_of_tiers_nothing_is_planned(loaded, tmp_path):
    with pytest.raises(RunError, match="method fedavg leaves no choice of tiers"):
        swept(loaded(TEXT.replace("clients = 4", 'clients = 4\nmethod = "fedavg"')), tmp_path / "out")

"""Plans on devices that are described by their engines: today's figures where nothing waits, memory, refusals."""

import dataclasses

import numpy as np
import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.plan import plan
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.simulation.clients.engines import Engine
from dtfl_private.simulation.clients.profiles import PROFILE_SETS, ResourceProfile, load_profiles

CHANCE = {"drift_share": 0.3, "drift_every": 2, "noise": 0.2, "dropout": 0.2, "absent": 0.2, "join": 0.2}
DIGITS = (1, 8, 8)


def small(**values: object) -> TrainConfig:
    return make_config({"rounds": 5, "clients": 12, "fraction": 0.7, "seed": 3, **CHANCE, **values})


def rounds(config: TrainConfig) -> list[dict[str, object]]:
    return [dataclasses.asdict(one) for one in plan(config, input_shape=DIGITS, images_per_client=150).rounds]


def with_engine(engine: Engine) -> list[ResourceProfile]:
    """Return the paper's profiles, each with one engine."""
    return [profile.model_copy(update={"engines": {"cpus": engine}}) for profile in PROFILE_SETS["paper"]]


METHODS = [
    {},
    {"head": "large"},
    {"method": "fedavg"},
    {"method": "splitfed-v1"},
    {"method": "u-shaped"},
    {"method": "fedgkt"},
    {"method": "fedyogi"},
    {"method": "tifl"},
    {"method": "dtfl-full", "scheduler": "efficient", "cpu_gmacs": 13.7, "batch_size": 7},
    {"precision": "bf16", "scheduler": "random", "profile_error": 0.3, "deadline": 1.5},
    {"optimizer": "sgd", "momentum": 0.9, "defense": ["dp-weights:noise_multiplier=1"]},
]


@pytest.mark.parametrize("values", METHODS, ids=str)
def test_one_engine_that_waits_for_nothing_gives_the_plan_of_the_profile_alone_to_the_bit(values):
    assert rounds(small(**values, profiles=with_engine(Engine()))) == rounds(small(**values))


def test_so_it_does_where_the_peak_is_said():
    """The paper's CPU shares are exact multiples of the default reference CPU."""
    peaks = [profile.cpus * 15e9 for profile in PROFILE_SETS["paper"]]
    profiles = [
        one.model_copy(update={"cpus": 1.0, "engines": {"cpus": Engine(macs_per_s={"fp32": peak})}})
        for one, peak in zip(PROFILE_SETS["paper"], peaks, strict=True)
    ]
    assert rounds(small(profiles=profiles)) == rounds(small())


def test_memory_and_launches_are_waited_for_as_the_roofline_says():
    """A client alone: what its rounds last longer is what its steps wait for, by the number of images."""
    alone = {"clients": 1, "rounds": 1, "method": "fedavg", "batch_size": 10, "profiles": "uniform"}
    (uniform,) = PROFILE_SETS["uniform"]

    def seconds(engine: Engine) -> float:
        profiles = [uniform.model_copy(update={"engines": {"cpus": engine}})]
        planned = plan(make_config({**alone, "profiles": profiles}), input_shape=DIGITS, images_per_client=150)
        return planned.virtual_time_s

    ideal = seconds(Engine())
    launches = (seconds(Engine(launch_s=1e-3)) - ideal) / (15 * 1e-3)
    assert launches == pytest.approx(round(launches), abs=1e-6)  # fifteen steps of so many operators
    assert launches > 50
    assert seconds(Engine(launch_s=3e-3)) == pytest.approx(ideal + 45e-3 * launches, rel=1e-9)
    slow, slower = seconds(Engine(bytes_per_s=1e6)), seconds(Engine(bytes_per_s=1e5))
    # So slow a memory is all that is waited for, but for transfers: a tenth of the speed is ten times the time.
    transfers = ideal - 150 * plan(make_config(alone), input_shape=DIGITS).table.rows[0].client_train_macs / 15e9
    assert slower - transfers == pytest.approx(10 * (slow - transfers), rel=1e-3)


def test_operators_of_a_larger_head_are_waited_for():
    """A layer, its activation and their gradients in each step; nothing of it is told by the MACs of the cost table."""
    (uniform,) = PROFILE_SETS["uniform"]

    def launches(head: str) -> float:
        def seconds(engine: Engine) -> float:
            profiles = [uniform.model_copy(update={"engines": {"cpus": engine}})]
            alone = {"clients": 1, "rounds": 1, "scheduler": "static:2", "batch_size": 10, "profiles": profiles}
            alone |= {"head": head, "server_cpus": 1e6}
            return plan(make_config(alone), input_shape=DIGITS, images_per_client=150).virtual_time_s

        return (seconds(Engine(launch_s=1e-3)) - seconds(Engine())) / (15 * 1e-3)

    assert launches("large") >= launches("paper") + 5


def memory(megabytes: float) -> list[ResourceProfile]:
    """Return the paper's profiles, the second of which has so little memory."""
    first, second, *others = PROFILE_SETS["paper"]
    return [first, second.model_copy(update={"engines": {"cpus": Engine(memory_bytes=megabytes * 1e6)}}), *others]


@pytest.mark.parametrize("scheduler", ["dynamic", "efficient", "random", "static:4", "oracle", "static-profile"])
def test_no_scheduler_gives_a_tier_that_the_memory_does_not_hold(scheduler):
    config = small(scheduler=scheduler, profiles=memory(1.0), drift_share=0.0, absent=0.0, fraction=1.0)
    planned = plan(config, input_shape=DIGITS, images_per_client=150)
    (note,) = [line for line in planned.notes if "never get" in line]
    assert note.startswith("clients of profile '2 CPU, 30 Mbps' never get tier 3..4: its memory, 1 MB, is less than")
    free = plan(config.model_copy(update={"profiles": "paper"}), input_shape=DIGITS, images_per_client=150)
    least = sum(count for tier, count in planned.rounds[-1].tier_counts.items() if tier <= 2)
    assert least >= 2  # two of the twelve have that profile
    if scheduler == "static:4":
        assert all(round_.tier_counts.keys() == {4} for round_ in free.rounds)
        assert all(round_.tier_counts == {2: 3, 4: 9} or round_.tier_counts[2] == 2 for round_ in planned.rounds)


def test_a_device_whose_memory_holds_no_tier_is_refused_with_its_figures():
    with pytest.raises(
        InputError, match=r"profile '2 CPU, 30 Mbps' \(client \d+ and \d more\) has too little"
    ) as refused:
        plan(small(profiles=memory(0.01), drift_share=0.0), input_shape=DIGITS)
    text = str(refused.value)
    assert "0.01 MB, and tier 1, the smallest, takes" in text
    assert "at batch_size 32: lower batch_size" in text
    assert "\n" not in text


def test_the_whole_network_of_a_method_without_tiers_must_fit_too():
    with pytest.raises(InputError, match="has too little memory for any tier: 1 MB, and tier 5, the smallest, takes"):
        plan(small(method="fedavg", profiles=memory(1.0)), input_shape=DIGITS)


def test_a_profile_nobody_has_may_have_too_little_memory():
    profiles = [profile.model_copy(update={"share": 1e-6}) if profile.engines else profile for profile in memory(0.01)]
    plan(small(profiles=profiles, drift_share=0.0, rounds=1), input_shape=DIGITS)
    with pytest.raises(InputError, match="has too little memory"):
        plan(small(profiles=profiles, rounds=1), input_shape=DIGITS)  # clients may draw it later


def test_a_smaller_memory_of_a_faster_engine_leaves_a_tier_to_the_next_engine():
    """Where neither links nor the server take any time, so that the client's computing is all."""
    fast = Engine(macs_per_s={"fp32": 1e12}, memory_bytes=1e6)
    plain = PROFILE_SETS["uniform"][0].model_copy(update={"up_mbit_s": 1e9, "down_mbit_s": 1e9})
    two = plain.model_copy(update={"engines": {"gpu": fast, "cpus": Engine()}})

    def seconds(profile: ResourceProfile, tier: int) -> float:
        config = make_config(
            {"clients": 1, "rounds": 1, "profiles": [profile], "scheduler": f"static:{tier}", "server_cpus": 1e9}
        )
        return plan(config, input_shape=DIGITS, images_per_client=150).virtual_time_s

    assert seconds(two, 4) == pytest.approx(seconds(plain, 4), rel=1e-6)
    assert seconds(two, 2) == pytest.approx(seconds(plain, 2) * 15e9 / 1e12, rel=1e-2)


def test_the_built_in_devices_are_planned_with_their_accelerators():
    profiles = load_profiles("devices")
    assert all(profile.source.startswith("data sheet, not measured: ") for profile in profiles)
    planned = plan(small(profiles="devices", drift_share=0.0), input_shape=DIGITS)
    assert np.isfinite(planned.virtual_time_s)
    with pytest.raises(
        InputError, match=r"profile 'phone SoC' has no engine that computes in bf16 \(cpus: fp32; gpu: fp16\)"
    ):
        plan(small(profiles="devices", precision="bf16"), input_shape=DIGITS)


def test_a_run_folder_keeps_its_engines_and_writes_nothing_of_them_where_there_are_none(tmp_path):
    engine = Engine(macs_per_s={"fp32": 1e12}, bytes_per_s=3e9, efficiency={"conv": 0.5})
    (uniform,) = PROFILE_SETS["uniform"]
    profile = uniform.model_copy(update={"engines": {"cpus": engine, "gpu": engine}, "source": "me"})
    for profiles in ([profile], [uniform]):
        config = make_config({"profiles": profiles})
        (tmp_path / "config.toml").write_text(to_toml(config))
        assert read_run_config(RunFolder(path=tmp_path)) == config
    assert "engines" not in to_toml(make_config({"profiles": [uniform]}))
    assert make_config({"profiles": [profile]}) != make_config({"profiles": [uniform]})


@pytest.mark.parametrize(
    ("engines", "said"),
    [
        ({"tpu": {}}, r"unknown name in option: profiles.0.engines: 'tpu'.*known: cpus, gpu, npu"),
        ({"gpu": {"macs_per_s": {"fp8": 1e9}}}, "profiles.0.engines.gpu.macs_per_s: 'fp8': did you mean 'fp"),
        ({"gpu": {"efficiency": {"cnv": 1}, "macs_per_s": {"fp32": 1e9}}}, "'cnv': did you mean 'conv'"),
        ({"gpu": {}}, r"profiles.0 is refused: engines.gpu.macs_per_s is missing: give its peak in each precision"),
        ({"gpu": {"macs_per_s": {"fp32": -1}}}, "profiles.0.engines.gpu.macs_per_s.fp32 -1 is refused"),
        ({"cpus": {"bytes_per_s": float("nan")}}, "bytes_per_s nan is refused"),
        ({"cpus": {"launch_s": float("inf")}}, "launch_s inf is refused"),
        ({"cpus": {"launchs": 1}}, "unknown key in option 'launchs': did you mean 'launch_s'"),
        ({"x" * 10_000: {}}, "unknown name in option: profiles.0.engines: 'xxx"),
    ],
)
def test_wrong_engines_in_a_configuration_are_refused_in_one_line(engines, said):
    profile = {"name": "d", "cpus": 1, "up_mbit_s": 1, "down_mbit_s": 1, "engines": engines}
    with pytest.raises(InputError, match=said) as refused:
        make_config({"profiles": [profile]})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 2000

import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from dtfl_private.errors import InputError
from dtfl_private.simulation.clients.profiles import BYTES_PER_S, PROFILE_SETS, ResourceProfile, load_profiles

PHONE = '[[profile]]\nname = "phone"\ncpus = 0.5\nup_mbit_s = 5\ndown_mbit_s = 20\n'


def test_paper_profiles_are_the_five_of_the_paper_in_equal_shares():
    profiles = load_profiles("paper")
    assert [(profile.cpus, profile.up_mbit_s, profile.down_mbit_s) for profile in profiles] == [
        (4, 100, 100),
        (2, 30, 30),
        (1, 30, 30),
        (0.2, 30, 30),
        (0.1, 10, 10),
    ]
    assert {profile.share for profile in profiles} == {1.0}
    assert {profile.latency_ms for profile in profiles} == {0.0}


def test_mbyte_is_eight_times_mbit_and_a_megabit_is_125000_bytes():
    assert BYTES_PER_S["mbit"] == 125_000
    assert BYTES_PER_S["mbyte"] == 8 * BYTES_PER_S["mbit"]


def test_own_profiles_are_read_from_a_toml_file(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text(
        PHONE + 'latency_ms = 40\nshare = 3\n[[profile]]\nname = "ä"\ncpus = 8\nup_mbit_s=1\ndown_mbit_s=1\n'
    )
    phone, other = load_profiles(str(file))
    assert phone == ResourceProfile(name="phone", cpus=0.5, up_mbit_s=5, down_mbit_s=20, latency_ms=40, share=3)
    assert (other.name, other.latency_ms, other.share) == ("ä", 0.0, 1.0)


def test_profiles_given_from_python_are_taken_as_they_are():
    given = list(PROFILE_SETS["uniform"])
    assert load_profiles(given) == tuple(given)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PHONE.replace("cpus", "cpu"), r"unknown key .*own\.toml: 'cpu': did you mean 'cpus'\?"),
        (PHONE + "lattency_ms = 3\n", r"'lattency_ms': did you mean 'latency_ms'\?"),
        (PHONE.replace("profile", "profil"), r"'profil': did you mean 'profile'\?"),
        (PHONE.replace("0.5", "-0.5"), r"profile\.0\.cpus -0\.5 is refused: .*greater than or equal to"),
        (PHONE.replace("0.5", "0"), r"profile\.0\.cpus 0 is refused"),
        (PHONE.replace("= 20", "= inf"), r"profile\.0\.down_mbit_s inf is refused: .*less than or equal to"),
        (PHONE.replace("= 20", "= nan"), r"profile\.0\.down_mbit_s nan is refused"),
        (PHONE + "latency_ms = -1\n", r"profile\.0\.latency_ms -1 is refused"),
        (PHONE + "share = 0\n", r"profile\.0\.share 0 is refused"),
        (PHONE + PHONE.replace("0.5", '"fast"'), r"profile\.1\.cpus 'fast' is refused"),
        (PHONE.replace("cpus = 0.5\n", ""), r"profile\.0\.cpus is refused: Field required"),
        ("profile = []\n", "profile .* is refused"),
        ("", "profile is refused: Field required"),
        ("[[profile]\n", "cannot be read"),
    ],
)
def test_a_wrong_profiles_file_is_refused_in_one_line(tmp_path: Path, content: str, said: str):
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(InputError, match=said) as refused:
        load_profiles(str(file))
    assert "\n" not in str(refused.value)
    assert "own.toml" in str(refused.value)


GPU = PHONE + "[profile.engines.gpu]\nmacs_per_s = { fp32 = 1e12 }\n"


def test_engines_are_read_with_the_figures_that_are_said(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text(GPU + "bytes_per_s = inf\nlaunch_s = 1e-5\nmemory_bytes = 8e9\n[profile.engines.cpus]\n")
    (phone,) = load_profiles(str(file))
    gpu = phone.engines["gpu"]
    assert (gpu.macs_per_s, gpu.bytes_per_s, gpu.launch_s, gpu.memory_bytes) == ({"fp32": 1e12}, math.inf, 1e-5, 8e9)
    assert phone.engines["cpus"].macs_per_s is None
    assert phone.model_dump()["engines"]["cpus"] == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GPU.replace("fp32", "fp8"), r"own\.toml: profile\.0\.engines\.gpu\.macs_per_s: 'fp8': did you mean 'fp64'"),
        (GPU.replace("1e12", "nan"), r"profile\.0\.engines\.gpu\.macs_per_s\.fp32 nan is refused"),
        (GPU.replace("1e12", "inf"), r"macs_per_s\.fp32 inf is refused"),
        (GPU.replace("1e12", "-1"), r"macs_per_s\.fp32 -1 is refused"),
        (GPU.replace("1e12", '"' + "9" * 5000 + '"'), r"macs_per_s\.fp32 '9{100}.* is refused"),
        (GPU.replace("{ fp32 = 1e12 }", "{}"), r"macs_per_s \{\} is refused"),
        (GPU.replace("{ fp32 = 1e12 }", "1e12"), r"macs_per_s 1000000000000\.0 is refused"),
        (PHONE + "[profile.engines.gpu]\n", r"profile\.0 is refused: engines\.gpu\.macs_per_s is missing"),
        (GPU.replace("gpu", "tpu"), r"profile\.0\.engines: 'tpu'.* known: cpus, gpu, npu"),
        (GPU.replace("gpu", "x" * 5000), r"profile\.0\.engines: 'xxx"),
        (GPU + "bytes_per_s = -1\n", r"engines\.gpu\.bytes_per_s -1 is refused"),
        (GPU + "bytes_per_s = nan\n", r"engines\.gpu\.bytes_per_s nan is refused"),
        (GPU + "memory_bytes = 0\n", r"engines\.gpu\.memory_bytes 0 is refused"),
        (GPU + "launch_s = inf\n", r"engines\.gpu\.launch_s inf is refused"),
        (GPU + "bytes = 1\n", r"'bytes': did you mean 'bytes_per_s'"),
        (GPU + "efficiency = { convolution = 1 }\n", r"engines\.gpu\.efficiency: 'convolution'.*known: attention"),
        (GPU + "efficiency = { conv = 0 }\n", r"engines\.gpu\.efficiency\.conv 0 is refused"),
        (PHONE + "engines = 3\n", r"profile\.0\.engines 3 is refused"),
        (PHONE + 'source = "' + "a" * 5000 + '"\n', r"profile\.0\.source 'aaa.* is refused"),
    ],
)
def test_wrong_engines_are_refused_in_one_line(tmp_path: Path, content: str, said: str):
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(InputError, match=said) as refused:
        load_profiles(str(file))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 2000


def test_a_profiles_file_that_is_no_text_is_refused(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_profiles(str(file))


def test_a_missing_profiles_file_is_refused():
    with pytest.raises(InputError, match=r"'nowhere\.toml' does not exist"):
        load_profiles("nowhere.toml")


def test_an_unknown_set_of_profiles_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="'papr': did you mean 'paper'"):
        load_profiles("papr")


def test_no_profiles_at_all_are_refused():
    with pytest.raises(InputError, match="profiles is empty"):
        load_profiles([])


def test_a_profile_cannot_hold_nonsense_or_be_changed():
    with pytest.raises(ValidationError):
        ResourceProfile(name="x", cpus=-1, up_mbit_s=1, down_mbit_s=1)
    with pytest.raises(ValidationError):
        PROFILE_SETS["uniform"][0].cpus = 2

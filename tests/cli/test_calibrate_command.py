"""The command profile --calibrate: what it writes, shows and refuses."""

import pytest
from torch import nn

from dtfl_private.experiments.calibration import fitting
from dtfl_private.experiments.calibration.synthetic_layers import SyntheticLayer
from dtfl_private.simulation.clients.profiles import load_profiles


@pytest.fixture
def quick(monkeypatch):
    """Measure next to nothing: one small layer, once."""
    layer = SyntheticLayer(layer=nn.Linear(8, 8), shape=(4, 6, 8))
    monkeypatch.setattr(fitting, "synthetic_layers", lambda: {"linear": [layer]})
    monkeypatch.setattr(fitting, "SIDES", {"cpu": (16, 32)})
    monkeypatch.setattr(fitting, "COPIED_BYTES", {"cpu": 2**16})
    monkeypatch.setattr(fitting, "REPEATS", 1)


@pytest.mark.usefixtures("quick")
def test_the_command_writes_a_profile_that_can_be_used_and_shows_its_errors(dtfl, tmp_path):
    line = (
        "profile --calibrate --model resnet-8 --input-shape 1x8x8 --batch-size 2 --repeats 1 --device cpu --out h.toml"
    )
    status, out, _ = dtfl(*line.split())
    assert status == 0
    assert "median error over 5 steps" in out
    assert "none of these networks; cpus: CPU time of the one thread" in " ".join(out.split())
    (profile,) = load_profiles(str(tmp_path / "h.toml"))
    assert profile.engines.keys() == {"cpus"}
    assert profile.source.startswith("measured by dtfl-private profile --calibrate")
    assert profile.cpus == pytest.approx((profile.engines["cpus"].macs_per_s or {})["fp32"] / 15e9, rel=1e-3)
    planned = dtfl(*["plan", "--rounds", "1", "--no-compare", "--input-shape", "1x8x8", "--profiles", "h.toml"])
    assert planned.status == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("profile --calibrate --out nowhere/h.toml", "'nowhere/h.toml' cannot be written: there is no folder"),
        ("profile --calibrate --repeats 0", "--calibrate times training steps: let --repeats be 1 or more"),
        ("profile --calibrate --plot x.png", "--plot has no meaning with --calibrate: leave one out"),
        ("profile --out h.toml", "--out is where --calibrate writes its profile: add --calibrate, or leave it out"),
    ],
)
def test_wrong_uses_are_refused_in_one_line_and_write_nothing(dtfl, tmp_path, line, said):
    status, out, err = dtfl(*line.split())
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

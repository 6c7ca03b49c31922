from importlib.metadata import EntryPoint

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_plugins import Noise, loader

from dtfl_private.errors import InputError
from dtfl_private.plugins import factories, specification
from dtfl_private.plugins import installed as installed_plugins
from dtfl_private.plugins.descriptions import described
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit


@pytest.mark.usefixtures("noise")
def test_settings_are_converted_by_their_annotations():
    made = create("defense", "Gaussian_Noise:scale=0.5,kind=laplace,per-channel=true,min-batch=4")
    assert made == Noise(scale=0.5, kind="laplace", per_channel=True, min_batch=4)
    assert isinstance(made.min_batch, int)


@pytest.mark.usefixtures("noise")
def test_explicit_writes_out_every_setting():
    written = "gaussian-noise:scale=3,kind=normal,per_channel=False,min_batch=2"
    assert explicit("defense", "GaussianNoise:3") == written
    assert explicit("defense", "gaussian-noise:min-batch=2,scale=3") == written
    assert explicit("defense", written) == written
    assert explicit("partition", "iid") == "iid"
    assert explicit("scheduler", "static:2") == "static:m=2"


def test_explicit_leaves_out_what_the_core_supplies(offer):
    offer("dataset", "own", loader)
    assert explicit("dataset", "own") == "own:size=16"


@given(
    st.floats(1e-300, 1e300),
    st.sampled_from(["normal", "laplace"]),
    st.booleans(),
    st.integers(-(10**12), 10**12),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_settings_survive_being_written_and_read(scale, kind, per_channel, min_batch):
    wanted = Noise(scale=scale, kind=kind, per_channel=per_channel, min_batch=min_batch)
    text = f"gaussian-noise:{scale},kind={kind},per_channel={per_channel},min_batch={min_batch}"
    with pytest.MonkeyPatch.context() as patch:
        point = EntryPoint(name="gaussian-noise", value=f"{Noise.__module__}:Noise", group="")
        for module in (installed_plugins, specification, factories):
            patch.setattr(module, "installed", lambda _: {"gaussian-noise": point})
        assert create("defense", text) == wanted
        assert create("defense", explicit("defense", text)) == wanted


def test_a_setting_named_like_a_core_parameter_of_another_kind_is_written_out():
    assert explicit("defense", "update-clip:norm=5") == "update-clip:norm=5"
    assert explicit("defense", "update-clip") == "update-clip:norm=1.0"
    assert "norm=1.0" in {name: settings for name, settings, _ in described("defense")}["update-clip"]
    assert "norm" not in explicit("model", "resnet-8")


def test_a_refused_setting_says_why_in_plain_words():
    with pytest.raises(InputError, match=r"bits=7 is refused: (?!Value error)"):
        create("defense", "quantize:7")

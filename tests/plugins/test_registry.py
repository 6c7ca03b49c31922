import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.group import COMMANDS, load_command
from dtfl_private.data.partition import Dirichlet, Iid
from dtfl_private.errors import InputError
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.models.build import build_model
from dtfl_private.plugins import factories, specification
from dtfl_private.plugins import installed as installed_plugins
from dtfl_private.plugins.descriptions import described
from dtfl_private.plugins.documentation import summary
from dtfl_private.plugins.installed import find, installed
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import Spec, canonical
from dtfl_private.simulation.schedulers.others import Static


@dataclass(frozen=True)
class Noise:
    """Add noise.

    More of the text.
    """

    scale: Annotated[float, Field(gt=0)]
    kind: Literal["normal", "laplace"] = "normal"
    per_channel: bool = False
    min_batch: int = 2


def loader(*, data_dir: str | None = None, download: bool = False, size: int = 16) -> tuple[object, ...]:
    return data_dir, download, size


@pytest.fixture
def noise(offer):
    offer("defense", "gaussian-noise", Noise)


words = st.text("abcxyz-_09.", min_size=1, max_size=6)


@given(words, st.dictionaries(words, words, max_size=4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_specification_is_read_back_as_it_was_written(name, wanted):
    text = f"{name}:{','.join(f'{key}={value}' for key, value in wanted.items())}" if wanted else name
    # Hyphens and underscores are alike in keys; of two keys that then agree, the form is refused.
    spelled = {key.replace("-", "_"): value for key, value in wanted.items()}
    if len(spelled) == len(wanted):
        assert Spec.parse(text) == Spec(name=name, settings=spelled)
    else:
        with pytest.raises(InputError, match="is not of the form"):
            Spec.parse(text)


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("iid", "iid", {}),
        ("  iid  ", "iid", {}),
        ("static:3", "static", {"": "3"}),
        ("dirichlet:0.3,floor=5", "dirichlet", {"": "0.3", "floor": "5"}),
        ("a: b = 1 , c = 2", "a", {"b": "1", "c": "2"}),
        ("a:path=x=y", "a", {"path": "x=y"}),
        ("a:path=C:/data", "a", {"path": "C:/data"}),
    ],
)
def test_specifications(text, name, wanted):
    # Hyphens and underscores are alike in keys; of two keys that then agree, the form is refused.
    spelled = {key.replace("-", "_"): value for key, value in wanted.items()}
    if len(spelled) == len(wanted):
        assert Spec.parse(text) == Spec(name=name, settings=spelled)
    else:
        with pytest.raises(InputError, match="is not of the form"):
            Spec.parse(text)


@pytest.mark.parametrize("text", ["a:b=", "a:b=1,", "a:,b=1", "a:b=1,2", "a:1,2", "a:b=1,b=2", "", ":", ":b=1", "a:,"])
def test_malformed_specifications_are_refused_with_the_form_expected(text):
    with pytest.raises(InputError, match=re.escape("NAME[:key=value[,key=value...]]")):
        Spec.parse(text)


@pytest.mark.parametrize("spelling", ["resnet-56", "ResNet-56", "resnet_56", "RESNET56", "res-net-56"])
def test_hyphens_underscores_and_capitals_of_a_name_do_not_matter(spelling):
    assert find("model", spelling).name == "resnet-56"


def test_the_canonical_spelling_keeps_the_settings():
    assert canonical("partition", " Dirichlet:0.3,floor=5 ") == "dirichlet:0.3,floor=5"
    assert canonical("dataset", "FashionMNIST") == "fashion-mnist"


def test_an_unknown_name_is_refused_with_the_nearest():
    for ask in (find, canonical, create, explicit):
        with pytest.raises(InputError, match=r"unknown partition 'dirichlit': did you mean 'dirichlet'\? known: "):
            ask("partition", "dirichlit")


@pytest.mark.usefixtures("noise")
def test_settings_are_converted_by_their_annotations():
    made = create("defense", "Gaussian_Noise:scale=0.5,kind=laplace,per-channel=true,min-batch=4")
    assert made == Noise(scale=0.5, kind="laplace", per_channel=True, min_batch=4)
    assert isinstance(made.min_batch, int)


@pytest.mark.usefixtures("noise")
def test_a_value_without_a_key_goes_to_the_first_setting():
    assert create("defense", "gaussian-noise:2,min_batch=3") == Noise(scale=2.0, min_batch=3)
    assert create("scheduler", "static:3") == Static(3)
    assert create("partition", "dirichlet:0.25") == Dirichlet(alpha=0.25)


def test_defaults_hold_where_nothing_is_said():
    assert create("partition", "iid") == Iid()
    assert create("partition", "dirichlet") == Dirichlet(alpha=0.5, floor=2)


def test_what_the_core_supplies_is_no_setting_of_the_user(offer):
    offer("dataset", "own", loader)
    assert create("dataset", "own:size=8", data_dir="here", download=True) == ("here", True, 8)
    assert create("dataset", "own:9", data_dir=None, download=False) == (None, False, 9)
    with pytest.raises(InputError, match="unknown setting of dataset 'own' 'download'"):
        create("dataset", "own:download=true", data_dir=None, download=False)


@pytest.mark.usefixtures("noise")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gaussian-noise:scael=1", "setting of defense 'gaussian-noise' 'scael': did you mean 'scale'? known: "),
        ("gaussian-noise:scale=0", "defense 'gaussian-noise': scale=0 is refused: Input should be greater than 0"),
        ("gaussian-noise:much", "defense 'gaussian-noise': scale=much is refused: Input should be a valid number"),
        ("gaussian-noise:1,kind=cauchy", "kind=cauchy is refused: Input should be 'normal' or 'laplace'"),
        ("gaussian-noise:1,per_channel=perhaps", "per_channel=perhaps is refused: Input should be a valid boolean"),
        ("gaussian-noise:1,min_batch=2.5", "min_batch=2.5 is refused: Input should be a valid integer"),
        ("gaussian-noise", "needs a value for 'scale': write gaussian-noise:scale=VALUE"),
        ("gaussian-noise:kind=normal", "needs a value for 'scale': write gaussian-noise:scale=VALUE"),
        ("gaussian-noise:1,scale=2", "'gaussian-noise:1,scale=2' gives 'scale' twice"),
        ("gaussian-noise:1,min-batch=2,min_batch=3", "is not of the form NAME"),
        ("identity:1", "defense 'identity' takes no settings, but 'identity:1' gives '1'"),
        ("identity:x=1", "defense 'identity' takes no settings, but 'identity:x=1' gives 'x'"),
        ("object:Noise", "was an object passed from Python: pass it to dtfl_private.train again"),
    ],
)
def test_refusals_are_one_line_that_names_the_value(text, message):
    with pytest.raises(InputError, match=re.escape(message)) as refusal:
        create("defense", text)
    assert "\n" not in str(refusal.value)


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
        point = EntryPoint(name="gaussian-noise", value=f"{__name__}:Noise", group="")
        for module in (installed_plugins, specification, factories):
            patch.setattr(module, "installed", lambda _: {"gaussian-noise": point})
        assert create("defense", text) == wanted
        assert create("defense", explicit("defense", text)) == wanted


@pytest.mark.usefixtures("noise")
def test_described_gives_name_settings_and_first_line():
    row = next(row for row in described("defense") if row[0] == "gaussian-noise")
    assert row == ("gaussian-noise", "scale, kind=normal, per_channel=False, min_batch=2", "Add noise.")


@pytest.fixture
def entry_points(monkeypatch):
    """Replace what is installed by the (name, value) pairs given; `installed` remembers what it found, so forget it."""

    def only(*points: tuple[str, str]) -> None:
        found = [EntryPoint(name=name, value=value, group="dtfl_private.defenses") for name, value in points]
        monkeypatch.setattr(
            installed_plugins, "entry_points", lambda group: [point for point in found if point.group == group]
        )
        installed.cache_clear()

    yield only
    installed.cache_clear()


def test_plugins_are_found_by_entry_points_and_sorted(entry_points):
    entry_points(("noise", f"{__name__}:Noise"), ("blur", "nowhere:Blur"))
    assert list(installed("defense")) == ["blur", "noise"]
    assert create("defense", "noise:1") == Noise(1.0)
    assert installed("model") == {}


def test_an_entry_point_found_twice_is_one_plugin(entry_points):
    entry_points(("noise", f"{__name__}:Noise"), ("noise", f"{__name__}:Noise"))
    assert list(installed("defense")) == ["noise"]


def test_two_packages_that_offer_the_same_name_are_refused(entry_points):
    entry_points(("noise", "one:Noise"), ("noise", "two:Noise"))
    with pytest.raises(InputError, match="two installed packages offer defense 'noise': one:Noise and two:Noise"):
        installed("defense")


def test_a_setting_named_like_a_core_parameter_of_another_kind_is_written_out():
    assert explicit("defense", "update-clip:norm=5") == "update-clip:norm=5"
    assert explicit("defense", "update-clip") == "update-clip:norm=1.0"
    assert "norm=1.0" in {name: settings for name, settings, _ in described("defense")}["update-clip"]
    assert "norm" not in explicit("model", "resnet-8")


def test_a_refused_setting_says_why_in_plain_words():
    with pytest.raises(InputError, match=r"bits=7 is refused: (?!Value error)"):
        create("defense", "quantize:7")


def test_a_registered_network_that_takes_no_norm_is_built_whatever_norm_is_asked_for(offer, tiny_network):
    asked = []

    def plain(*, input_shape, classes):
        asked.append((input_shape, classes))
        return tiny_network()

    offer("model", "plain", plain)
    for norm in ("batch", "group"):
        assert build_model("plain", input_shape=(1, 8, 8), classes=3, norm=norm, seed=0).tiers == (1, 2, 3)
    assert asked == [((1, 8, 8), 3)] * 2
    with pytest.raises(InputError, match="model 'plain' takes no settings, but 'plain:norm=group' gives 'norm'"):
        build_model("plain:norm=group", input_shape=(1, 8, 8), classes=3, norm="group", seed=0)


@dataclass
class Plain:
    size: int = 3


class Described(Plain):
    """What it is.

    More.
    """


def test_a_summary_is_the_first_line_of_the_docstring_and_never_a_signature():
    assert summary(Described) == "What it is."
    assert Plain.__doc__ == "Plain(size: int = 3)"  # what dataclass makes up
    assert summary(Plain) == ""
    assert summary(lambda: None) == ""


def test_every_command_gives_its_help_to_itself():
    """click looks at docstrings alone, which -OO strips."""
    assert [name for name in COMMANDS if not isinstance(load_command(name), DocumentedCommand)] == []


def test_help_and_lists_lose_no_text_under_python_oo(tmp_path):
    """What -OO strips is read from the source; what was made without source says that it was stripped."""
    program = """if True:
        from dtfl_private.cli.group import cli
        from dtfl_private.plugins.documentation import documentation
        for line in ("--help", "train --help", "audit --help", "list defenses", "list measures"):
            cli.main(line.split(), prog_name="dtfl-private", standalone_mode=False)
        exec("def made(): 'Gone.'")
        assert False, "not run: -O strips it"
        print(documentation(made))
    """
    run = subprocess.run(
        [sys.executable, "-OO", "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    said = " ".join(run.stdout.split())
    for text in (
        "Start with `dtfl-private train`: it needs no data and no options.",
        "train Train a network federatedly; leave a run folder.",
        "dtfl-private train --resume --out runs/mine",
        "Audit a finished run: what leaks at each tier",
        *(summary(find("defense", name).load()) for name in installed("defense")),
        *(summary(type(measure)) for measure in MEASURES.values()),
    ):
        assert text in said
    assert "Identity(" not in said
    assert said.endswith("python -OO has stripped this description: run python without it")

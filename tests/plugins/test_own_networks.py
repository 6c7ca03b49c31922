"""Networks that a user names by their module: ``package.module:function``."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dtfl_private.cli.main import main
from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import canonical, named_object

SOURCE = """
from torch import nn
from dtfl_private import InputError, Partition, staged
from torch.nn import Linear

def plain(input_shape, classes, depth: int = 2) -> nn.Module:
    layers = [nn.Conv2d(input_shape[0], 4, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

def by_hand() -> nn.Module:
    return staged(plain((1, 8, 8), 10), ["1"])

class Net(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

class Deals:
    def deal(self, labels, clients, rng, client_ids=None):
        return None

def deals() -> Partition:
    return Deals()

class Mute:
    uses_times = True

class Fastest:
    uses_times = True
    def assign(self, choice, rng):
        return choice.tiers_M[choice.times_s_KM.argmin(axis=1)]

def unsaid(depth=2):
    return plain((1, 8, 8), 10, depth)

def unclear() -> "Net | Nowhere":
    return plain((1, 8, 8), 10)

def other() -> list[nn.Module]:
    return [plain((1, 8, 8), 10)]

def perhaps() -> nn.Module | None:
    return plain((1, 8, 8), 10)

def either() -> "nn.Sequential | Net":
    return plain((1, 8, 8), 10)

def leaves() -> nn.Module:
    raise SystemExit(0)

def fails() -> nn.Module:
    raise ValueError("no such\\nthing")

def refuses() -> nn.Module:
    raise InputError("not today")

def nothing() -> nn.Module:
    return None

def flat() -> nn.Module:
    return nn.Linear(3, 3)

def three() -> nn.Module:
    return 3

class Thing:
    pass

def strange(t: Thing = Thing) -> nn.Module:
    return plain((1, 8, 8), 10)

def misspelt(t: "Thin" = 3) -> nn.Module:
    return plain((1, 8, 8), 10)

def open_ended(*layers, depth=2, **more) -> nn.Module:
    assert not layers and not more
    return plain((1, 8, 8), 10, depth)

def many(
    depth=2, rate=0.5, wide=True, kind="a", sizes=(1, 2), act=nn.ReLU, note="a, b=c", none="", x: int = "s"
) -> nn.Module:
    assert (type(depth), type(rate), type(wide), type(kind), sizes) == (int, float, bool, str, (1, 2))
    return plain((1, 8, 8), 10, depth)

instance = nn.ReLU()
"""


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """Make a folder with ``own_nets.py`` the current one."""
    (tmp_path / "own_nets.py").write_text(SOURCE)
    (tmp_path / "broken_nets.py").write_text("import own_nets\nimport no_such_library\n")
    (tmp_path / "worse_nets.py").write_text("1 / 0\n")
    (tmp_path / "leaving_nets.py").write_text("import sys\nsys.exit('used as\\na script')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_nets", "broken_nets", "worse_nets", "leaving_nets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.fixture
def build(request) -> Callable[[str], nn.Module]:
    request.getfixturevalue("mine")

    def made(text: str) -> nn.Module:
        allowed = named_object("model", text)
        return build_model(text, input_shape=(1, 8, 8), classes=10, norm="batch", seed=0, allowed=allowed)

    return made


@pytest.mark.parametrize(
    ("text", "tiers"),
    [
        ("own_nets:plain", 2),
        ("own_nets:plain:depth=5", 5),
        (" own_nets:plain ", 2),
        ("own_nets:by_hand", 1),
        ("own_nets:Net", 1),
        ("own_nets:either", 2),
    ],
)
def test_a_function_or_class_of_the_current_folder_builds_the_network(build, text, tiers):
    model = build(text)
    assert len(model.tiers) == tiers
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.usefixtures("mine")
def test_the_seed_decides_its_weights():
    def weights(seed: int) -> torch.Tensor:
        settings = {"input_shape": (1, 8, 8), "classes": 10, "norm": "batch", "seed": seed}
        model = build_model("own_nets:plain", allowed=frozenset({"own_nets"}), **settings)
        return nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("own_nets:plan", "unknown function of module 'own_nets' 'plan': did you mean 'plain'"),
        ("own_netz:plain", "no module 'own_netz' in .* or installed; unknown model 'own_netz'"),
        ("own_nets.sub:plain", "model 'own_nets.sub:plain': "),
        ("resnet_9:plain", "unknown model 'resnet_9': did you mean 'resnet-8'"),
        ("broken_nets:plain", "module 'broken_nets' cannot be imported: No module named 'no_such_library'"),
        ("worse_nets:plain", "module 'worse_nets' cannot be imported: ZeroDivisionError: division by zero"),
        ("leaving_nets:plain", "module 'leaving_nets' cannot be imported: SystemExit: used as a script$"),
        ("own_nets:unsaid", r"does not say what it returns: write 'def unsaid\(...\) -> torch.nn.Module'$"),
        ("own_nets:unclear", "cannot be read .NameError: name 'Nowhere' is not defined.: write '-> torch.nn.Module'$"),
        ("own_nets:other", r"says that it returns list.*, expected '-> torch.nn.Module'$"),
        ("own_nets:perhaps", "says that it returns .*None, expected '-> torch.nn.Module'$"),
        (
            "own_nets:Thing",
            "'own_nets:Thing' is a class, but no subclass of torch.nn.Module, expected one, or a function",
        ),
        ("own_nets:leaves", "model 'own_nets:leaves' failed: SystemExit: 0$"),
        ("own_nets:fails", "model 'own_nets:fails' failed: ValueError: no such"),
        ("own_nets:refuses", "not today"),
        ("own_nets:nothing", "model 'own_nets:nothing' returned a NoneType, expected a torch.nn.Module"),
        ("own_nets:three", "model 'own_nets:three' returned a int, expected a torch.nn.Module"),
        ("own_nets:strange:t=3", "model 'own_nets:strange': t=3 cannot be converted .*PydanticSchemaGenerationError"),
        ("own_nets:misspelt:t=3", "model 'own_nets:misspelt': t=3 cannot be converted .*NameError: name 'Thin'"),
        ("own_nets:open_ended:wide=3", "unknown setting of model 'own_nets:open_ended' 'wide': .*known: depth$"),
        ("own_nets:open_ended:more=3", "unknown setting of model 'own_nets:open_ended' 'more'"),
        ("own_nets:many:depth=2.5", "model 'own_nets:many': depth=2.5 is refused"),
        ("own_nets:flat", "has no place to cut it at|cannot be run on inputs"),
        ("own_nets:instance", "model 'own_nets:instance' is a ReLU, expected a function or a class"),
        ("own_nets:plain:depth=many", "depth=many is refused"),
        ("own_nets:plain:wide=3", "unknown setting of model 'own_nets:plain' 'wide'"),
        ("own_nets:by_hand:a=3", "model 'own_nets:by_hand' takes no settings"),
    ],
)
def test_what_does_not_work_is_said_in_one_line(build, text, said):
    with pytest.raises(InputError, match=said) as refused:
        build(text)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("mine")
def test_the_command_line_answers_in_one_line_too(capsys):
    for text in ("own_nets:fails", "own_netz:plain", "own_nets:nothing"):
        with pytest.raises(SystemExit) as left:
            main(["profile", "--model", text, "--repeats", "0", "--input-shape", "1x8x8"])
        captured = capsys.readouterr()
        assert left.value.code == 2
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert captured.out == ""


@pytest.mark.usefixtures("mine")
def test_the_command_line_profiles_it(capsys):
    with pytest.raises(SystemExit) as left:
        main(["profile", "--model", "own_nets:plain:depth=3", "--repeats", "0", "--input-shape", "1x8x8"])
    assert left.value.code == 0
    assert "own_nets:plain:depth=3, inputs 1x8x8" in capsys.readouterr().out


@pytest.mark.usefixtures("mine")
def test_its_explicit_spelling_is_explicit_already():
    allowed = frozenset({"own_nets:plain"})
    assert explicit("model", "own_nets:plain", allowed=allowed) == "own_nets:plain:depth=2"
    assert explicit("model", "own_nets:plain:depth=2", allowed=allowed) == "own_nets:plain:depth=2"
    assert canonical("model", "own_nets:plain") == "own_nets:plain"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("own_nets:many", "own_nets:many:depth=2,rate=0.5,wide=True,kind=a"),
        ("own_nets:many:3,kind=7", "own_nets:many:depth=3,rate=0.5,wide=True,kind=7"),
        ("own_nets:open_ended", "own_nets:open_ended:depth=2"),
        ("own_nets:open_ended:4", "own_nets:open_ended:depth=4"),
        ("own_nets:strange", "own_nets:strange"),
        ("own_nets:misspelt", "own_nets:misspelt"),
    ],
)
def test_its_explicit_spelling_builds_it_again(build, text, written):
    assert explicit("model", text, allowed=frozenset({"own_nets"})) == written
    assert explicit("model", written, allowed=frozenset({"own_nets"})) == written
    assert len(build(written).tiers) == len(build(text).tiers)


@pytest.mark.usefixtures("mine")
def test_other_kinds_of_plugins_can_be_named_so_too():
    assert create("scheduler", "own_nets:Fastest", allowed=frozenset({"own_nets"})).uses_times
    assert create("partition", "own_nets:deals", allowed=frozenset({"own_nets"})).deal

"""What an object that is named by its module must be, and who may name it."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dtfl_private.cli.main import main
from dtfl_private.data.partition import deal_out
from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import GROUPS
from dtfl_private.plugins.own_objects import CONTRACTS, NOTHING_ALLOWED, allowance
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import named_object
from dtfl_private.simulation.schedulers.named import make_scheduler

# Of the standard library and torch: classes and functions of other kinds, in Python and in C, and what is neither.
STRANGERS = (
    *("json:JSONEncoder", "io:StringIO", "fractions:Fraction", "collections:OrderedDict", "datetime:date"),
    *("subprocess:Popen", "os:popen", "os:system", "builtins:eval", "builtins:exec", "builtins:dict", "torch:load"),
    *("typing:Any", "typing:Protocol", "enum:Enum", "pathlib:Path", "abc:ABC", "sys:path"),
)

SOURCE = """
from dataclasses import dataclass
from os import popen
from fractions import Fraction
from torch.nn import Linear
import numpy as np
from dtfl_private import Attack, Defense, Partition, Reconstruction, Scheduler, staged
from dtfl_private.training.method import Method

class Rounding(Defense):
    pass

class Silent(Defense):
    facts = 3

def rounding(step: float = 0.5) -> Defense:
    return Rounding()

def count() -> int:
    return 3

def liar() -> Defense:
    return 3

class Unnamed(Reconstruction):
    def reconstruct(self, view):
        return None

class Nowhere(Method):
    def work(self): ...
    def costs(self, network, classes, numerics): ...

class NoDeal:
    pass

class Untimed:
    def assign(self, choice, rng): ...

class Short:
    uses_times = False
    def assign(self): ...
    def deal(self): ...

def _hidden() -> Defense:
    return Rounding()
"""

CLOSED = """
class Meta(type):
    def __getattribute__(cls, name):
        raise RuntimeError("never")

class Closed(metaclass=Meta):
    pass
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch) -> Path:
    """Make a folder with ``own_things.py`` and ``closed_things.py`` the current one."""
    (tmp_path / "own_things.py").write_text(SOURCE)
    (tmp_path / "closed_things.py").write_text(CLOSED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_things", "closed_things", "own_package", "own_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.fixture
def refusal() -> Callable[..., str]:
    def said(kind: str, text: str, ask: Callable[..., object] = create) -> str:
        with pytest.raises(InputError) as refused:
            ask(kind, text, allowed=named_object(kind, text))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    return said


def test_every_kind_says_what_its_objects_must_be():
    assert CONTRACTS.keys() == GROUPS.keys()
    for contract in CONTRACTS.values():
        assert contract.type.__name__ == contract.place.rpartition(":")[2]


@pytest.mark.parametrize("settings", ["", ":3", ":cmd=touch marker", ":args=touch marker,shell=true"])
@pytest.mark.parametrize("kind", CONTRACTS)
def test_what_is_of_another_kind_is_refused_in_one_line_and_never_called(kind, settings, refusal, mine):
    for stranger in STRANGERS:
        for ask in (create, explicit):
            said = refusal(kind, stranger + settings, ask)
            assert said.startswith(f"{kind} '{stranger}' ")
            assert "expected" in said or "write 'def " in said
    assert sorted(path.name for path in mine.iterdir()) == ["closed_things.py", "own_things.py"]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("defense", "count", "says that it returns int, expected '-> dtfl_private.Defense'"),
        ("defense", "liar", "defense 'own_things:liar' returned a int, expected a dtfl_private.Defense"),
        ("defense", "Silent", "does not say its facts: expected facts = DefenseFacts(...)"),
        ("defense", "popen:cmd=touch marker", "does not say what it returns"),
        ("attack", "Unnamed", "does not say its facts: expected facts = AttackFacts(...)"),
        ("attack", "Reconstruction", "failed: TypeError: Can't instantiate abstract class Reconstruction"),
        ("method", "Nowhere", "does not say its places: expected places = frozenset(...)"),
        ("partition", "NoDeal", "is a class without deal, expected dtfl_private.Partition, or a function that says"),
        ("scheduler", "Untimed", "is a class without assign and uses_times"),
        ("scheduler", "closed_things:Closed", "cannot be looked at: RuntimeError: never"),
        ("model", "Linear", "needs a value for 'in_features'"),
        ("model", "np", "is a module, expected a function or a class"),
    ],
)
def test_own_objects_are_checked_before_and_after_the_call(kind, text, said, refusal):
    assert said in refusal(kind, text if "things:" in text else f"own_things:{text}")


def test_a_class_and_a_function_of_the_kind_are_taken():
    for text in ("own_things:Rounding", "own_things:rounding", "own_things:rounding:step=2"):
        assert type(create("defense", text, allowed=frozenset({"own_things"}))).__name__ == "Rounding"


def test_the_known_ones_are_the_module_s_own_of_that_kind(refusal):
    assert refusal("defense", "own_things:Roundin").endswith("? known: Rounding, Silent, liar, rounding")
    assert refusal("partition", "own_things:Deal").endswith("known: Short")
    assert refusal("model", "own_things:Net").endswith("known: none")


def test_a_package_s_own_are_also_those_of_its_modules(mine, refusal):
    (mine / "own_package").mkdir()
    (mine / "own_package" / "__init__.py").write_text(
        "from own_package.inner import Deals\nfrom own_things import Short"
    )
    (mine / "own_package" / "inner.py").write_text("class Deals:\n    def deal(self): ...\n")
    assert refusal("partition", "own_package:Deal").endswith("did you mean 'Deals'? known: Deals")


def test_methods_that_take_other_arguments_are_answered_in_one_line():
    own = frozenset({"own_things"})
    with pytest.raises(InputError, match=r"partition 'own_things:Short' failed: TypeError: Short.deal\(\) takes 1"):
        deal_out("own_things:Short", np.arange(9), 3, np.random.default_rng(0), allowed=own)
    with pytest.raises(InputError, match=r"scheduler 'own_things:Short' failed: TypeError: Short.assign\(\) takes 1"):
        make_scheduler("own_things:Short", np.arange(1, 3), allowed=own)


@pytest.mark.parametrize(
    ("allowed", "whether"),
    [
        ((), False),
        (["own_things"], True),
        ("own_things", True),
        (["own_things:rounding"], True),
        (["own_things:Rounding"], False),
        (["own"], False),
        (["own_things.sub"], False),
        (["Own_things"], False),
        (["os", "own_things"], True),
    ],
)
def test_exactly_what_is_allowed_is_imported(allowed, whether):
    if whether:
        assert create("defense", "own_things:rounding", allowed=allowance(allowed)) is not None
        return
    for ask in (create, explicit):
        with pytest.raises(
            InputError, match=r"defense 'own_things:rounding' .*add --allow-plugin own_things "
        ) as refused:
            ask("defense", "own_things:rounding", allowed=allowance(allowed))
        assert "give train the same --defense again" in str(refused.value)
    assert "own_things" not in sys.modules


def test_nothing_is_allowed_where_nobody_says_anything():
    assert not NOTHING_ALLOWED
    for ask in (create, explicit):
        with pytest.raises(InputError, match="--allow-plugin own_things"):
            ask("defense", "own_things:rounding")


@pytest.mark.parametrize("name", ["", "a b", "a-b", "own things", "a:b:c", ".a", "a.", "a..b", "*", "é", "a\n"])
def test_an_allowance_is_the_name_of_a_module(name):
    with pytest.raises(InputError, match="expected the name of a module, as in"):
        allowance([name])


def test_what_is_shown_of_a_long_value_is_cut(refusal):
    long = "x" * 10_000
    for text in (
        f"{long}:y",
        f"own_things:{long}",
        f"own_things:rounding:step={long}",
        f"own_things:rounding:{long}=1",
    ):
        assert len(refusal("defense", text)) < 1200
    with pytest.raises(InputError) as refused:
        create("defense", f"{long}:y")
    assert len(str(refused.value)) < 1200
    with pytest.raises(InputError) as refused:
        create("defense", long)
    assert len(str(refused.value)) < 1200


@pytest.mark.parametrize(
    "stranger", ["json:JSONEncoder", "datetime:date", "os:popen:cmd=touch marker", "builtins:eval:1"]
)
@pytest.mark.parametrize("kind", [kind for kind in CONTRACTS if kind != "attack"])
def test_the_command_line_answers_in_one_line(kind, stranger, mine, capsys):
    with pytest.raises(SystemExit) as left:
        main(["train", "--clients", "2", "--max-train-images", "40", f"--{kind}", stranger, "--out", "run"])
    answer = capsys.readouterr()
    assert (left.value.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert answer.err.startswith(
        f"error: {kind} '{stranger.rpartition(':')[0] if stranger.count(':') > 1 else stranger}' "
    )
    assert not (mine / "marker").exists()
    assert not (mine / "run").exists()

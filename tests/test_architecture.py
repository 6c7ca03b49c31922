"""The import direction and what the source may not contain, kept over the syntax tree."""

import ast
import inspect
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

import pytest

import dtfl_private

ROOT = Path(__file__).parent.parent

# A module imports from its own layer and the ones before it, never from a later one.
LAYERS = (
    *("printable", "html_table", "errors", "files", "randomness", "numerics", "eager_optimizers"),
    *("protocol", "plugins"),
    *("data", "models", "simulation", "protection", "privacy", "training", "leakage", "verdicts"),
    *("runtime", "report", "experiments", "attacking", "auditing", "choosing", "deployed", "cli", "__main__"),
)
PLUGIN_PACKAGES = ("attacks", "defenses")
# Where plug-ins attach: the messages, what a defense and an attack are, and what computes without knowing of a run.
OPEN_TO_PLUGINS = (
    *("printable", "html_table", "errors", "files", "randomness", "numerics", "eager_optimizers"),
    *("protocol", "models", "protection", "privacy", "leakage"),
    *("attacking.base", "attacking.evidence", "attacking.view", "attacking.program", "attacking.batch_norms"),
    "attacking.client_tail",
)
# Folders of tests of several rooms; every other folder of tests is named after a folder of the package.
ACROSS_ROOMS = {"benchmarks", "contracts", "docs", "end_to_end", "examples", "hostile", "statistics"}
NEVER_INSTALLED = {"tests", "examples", "benchmarks"}

# Reading any of these can run code that somebody else wrote.
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {("torch", "load"), ("torch", "save"), ("np", "load"), ("numpy", "load")}

# What runs the code that a text names. One module does, for what was allowed; the package imports from a table of its
# own, whatever name it is asked for.
RUNS_TEXT = {"import_module", "resolve_name", "run_path", "run_module", "__import__", "eval", "exec", "compile"}
MAY_RUN_TEXT = {"dtfl_private.plugins.own_objects", "dtfl_private.__init__"}
# Methods of networks and regular expressions have some of these names.
METHODS = {"eval", "compile"}

# A configuration that is not made by `make_config` allows what it names: that is for programs of users.
MAKES_CONFIGS = "dtfl_private.experiments.config.train_config"

Source = tuple[str, str]
"""A dotted module name and its text."""


def modules_of(*packages: str) -> list[Source]:
    """Return the modules of folders of the repository, by the names under which they are installed."""
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return [(installed_name(path.relative_to(ROOT).with_suffix("").parts), path.read_text("utf-8")) for path in files]


def installed_name(parts: Sequence[str]) -> str:
    """Return a module's dotted name; the plug-ins' folders are installed below ``dtfl_private``."""
    return ".".join(("dtfl_private", *parts) if parts[0] in PLUGIN_PACKAGES else parts)


def package_of(dotted: str) -> str:
    """Return what a dotted name belongs to: a plug-in package, or else what stands before the first dot."""
    first, _, rest = dotted.partition(".")
    second = rest.partition(".")[0]
    return second if first == "dtfl_private" and second in PLUGIN_PACKAGES else first


@lru_cache(maxsize=4)  # one module after the other: all of them would take much memory
def nodes_of(text: str) -> list[ast.AST]:
    """Return all nodes of a module's syntax tree."""
    return list(ast.walk(ast.parse(text)))


@cache
def imports(source: Source) -> tuple[str, ...]:
    """Return the dotted names that a module imports, also inside functions; ``from a import b`` gives ``a.b``."""
    return tuple(imported_by(source))


def imported_by(source: Source) -> Iterator[str]:
    name, text = source
    for node in nodes_of(text):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: -node.level] if node.level else []
            package = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{package}.{alias.name}" for alias in node.names)


def layer(dotted: str) -> int | None:
    """Return the position of the layer that a name of dtfl_private lies in; None for the package itself."""
    _, _, rest = dotted.partition(".")
    first = rest.partition(".")[0]
    return LAYERS.index(first) if first in LAYERS else None


def wrong_imports(source: Source) -> list[str]:
    """Return what a module imports against the direction."""
    name, _ = source
    package = package_of(name)
    if name == "dtfl_private.__init__":
        return []
    limit = layer(name)
    if limit is None and package not in PLUGIN_PACKAGES:
        return [f"{name} is in no layer"]
    wrong = []
    for imported in imports(source):
        target = package_of(imported)
        if target == "dtfl_private" and limit is None:
            against = not imported.partition(".")[2].startswith(OPEN_TO_PLUGINS)
        elif target == "dtfl_private":
            found = layer(imported)
            against = found is None or limit is None or found > limit
        else:
            against = target in NEVER_INSTALLED or (target in PLUGIN_PACKAGES and target != package)
        if against:
            wrong.append(f"{name} imports {imported}")
    return wrong


def unsafe(source: Source) -> list[str]:
    """Return what in a module could load or leave a pickle."""
    name, text = source
    found = [f"{name} imports {other}" for other in imports(source) if set(other.split(".")) & UNSAFE_MODULES]
    for node in nodes_of(text):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{name} uses {node.value.id}.{node.attr}"] * ((node.value.id, node.attr) in UNSAFE_CALLS)
    found += [f"{name} imports {other}" for other in imports(source) if tuple(other.split(".")) in UNSAFE_CALLS]
    return found


def calls(source: Source) -> Iterator[tuple[str, str, ast.Call]]:
    """Yield what a module calls: the name of the object before the last dot, the name behind it, the call."""
    for node in nodes_of(source[1]):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield "", function.id, node
            elif isinstance(function, ast.Attribute):
                yield getattr(function.value, "id", "?"), function.attr, node


def runs_text(source: Source) -> list[str]:
    """Return what in a module imports or evaluates what a text names."""
    return [name for owner, name, _ in calls(source) if name in RUNS_TEXT and not (owner and name in METHODS)]


def trusting(source: Source) -> list[str]:
    """Return how a module makes configurations that allow whatever they name."""
    return [
        f"{owner}.{name}"
        for owner, name, call in calls(source)
        if ((owner, name) == ("", "TrainConfig") and (call.args or call.keywords))
        or (owner == "TrainConfig" and name.startswith("model_"))
    ]


INSTALLED = modules_of("dtfl_private", *PLUGIN_PACKAGES)


EVERYTHING = [*INSTALLED, *modules_of("examples", "benchmarks")]


@dataclass
class Found:
    """What all modules have of what there are rules about; of the last three those of the package alone.

    imports: against the direction. pickles: what could load or leave one. run_text, trust: modules that run what a text
    names, and that make configurations which allow whatever they name. read: what opens or parses files.
    """

    imports: list[str] = field(default_factory=list)
    pickles: list[str] = field(default_factory=list)
    run_text: set[str] = field(default_factory=set)
    trust: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def found():
    """Look at each module once, for all rules."""
    found = Found()
    installed = dict(INSTALLED)
    for source in EVERYTHING:  # its syntax tree is kept for as long as it is looked at
        found.pickles += unsafe(source)
        if source[0] not in installed:
            continue
        found.imports += wrong_imports(source)
        found.run_text |= {source[0]} if runs_text(source) else set()
        found.trust |= {source[0]} if trusting(source) else set()
        found.read += readers(source) if source[0] != READER else []
    return found


def test_imports_point_in_one_direction(found):
    assert found.imports == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("dtfl_private.errors", "from dtfl_private.randomness import stream"),
        ("dtfl_private.protocol.messages", "import dtfl_private.training.round"),
        ("dtfl_private.data.files.idx", "from dtfl_private.models.cutting.staged import split"),
        ("dtfl_private.simulation.costs.table", "def f():\n    from dtfl_private.training import worker"),
        ("dtfl_private.training.worker", "from dtfl_private import runtime"),
        ("dtfl_private.training.worker", "from ..cli import main"),
        ("dtfl_private.files.writing", "from dtfl_private import train"),
        ("dtfl_private.training.client", "from dtfl_private.defenses.identity import Identity"),
        ("dtfl_private.cli.main", "import dtfl_private.attacks"),
        ("dtfl_private.experiments.train", "from examples.paper_pseudocode import average"),
        ("dtfl_private.newcomer", "import os"),
        ("dtfl_private.defenses.identity", "from dtfl_private.training.worker import Worker"),
        ("dtfl_private.defenses.identity", "from dtfl_private.simulation.costs.table import TierTable"),
        (
            "dtfl_private.defenses.identity",
            "from dtfl_private.attacks.shared.decoders_by_download import TrainedDecoder",
        ),
        ("dtfl_private.attacks.shared.decoders_by_download", "import dtfl_private.defenses.identity"),
        ("dtfl_private.attacks.shared.decoders_by_download", "from dtfl_private import Transcript"),
    ],
)
def test_an_import_in_the_other_direction_is_noticed(module, line):
    assert len(wrong_imports((module, line))) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("dtfl_private.training.worker", "from dtfl_private.training.client import ClientHalf"),
        ("dtfl_private.training.worker", "from . import client"),
        ("dtfl_private.training.worker", "from dtfl_private import errors"),
        ("dtfl_private.cli.main", "from dtfl_private.cli.group import Commands\nimport torch, click"),
        ("dtfl_private.__init__", "from dtfl_private.cli.main import main"),
        (
            "dtfl_private.defenses.noise",
            "from dtfl_private.defenses.identity import Identity\nfrom dtfl_private.protocol.messages import Seen",
        ),
    ],
)
def test_an_import_in_the_right_direction_is_let_pass(module, line):
    assert wrong_imports((module, line)) == []


def test_every_layer_is_there_and_every_module_is_in_one():
    there = {name.split(".")[1] for name, _ in INSTALLED}
    assert there == {*LAYERS, *PLUGIN_PACKAGES, "__init__"}


def test_nothing_is_pickled(found):
    assert found.pickles == []


def test_one_module_runs_what_a_text_names(found):
    assert found.run_text == MAY_RUN_TEXT


def test_configurations_are_made_where_it_is_said_what_they_may_name(found):
    assert found.trust == {MAKES_CONFIGS}


def test_code_that_a_text_names_and_configurations_that_trust_it_are_noticed():
    for line in (
        "importlib.import_module(x)",
        "import_module(x)",
        "eval(x)",
        "pkgutil.resolve_name(x)",
        "__import__(x)",
    ):
        assert runs_text(("dtfl_private.planted", line)) != []
    for line in ("model.eval()", "re.compile(x)", "torch.compile(model)", "importlib.util.find_spec('x')"):
        assert runs_text(("dtfl_private.planted", line)) == []
    for line in ("TrainConfig(**values)", "TrainConfig(seed=1)", "TrainConfig.model_validate(values)"):
        assert trusting(("dtfl_private.planted", line)) != []
    for line in ("TrainConfig()", "make_config(values)", "TrainConfig.model_fields"):
        assert trusting(("dtfl_private.planted", line)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "import torch\ndef f(path):\n    return torch.load(path, weights_only=True)",
        "from torch import load",
        "read = np.load",
    ],
)
def test_a_pickle_is_noticed(line):
    assert unsafe(("dtfl_private.planted", line)) != []


# Only this module opens files to read them: it refuses pipes and devices, and bounds sizes and nesting.
READER = "dtfl_private.files.reading"
READING_MODULES = {"tomllib", "mmap", "fileinput", "linecache"}
READING_CALLS = {
    *(("json", "load"), ("json", "loads"), ("io", "open"), ("codecs", "open"), ("os", "open"), ("gzip", "open")),
    *(("np", "fromfile"), ("np", "genfromtxt"), ("np", "loadtxt"), ("np", "memmap")),
    *(("safetensors.torch", "load_file"), ("safetensors", "safe_open"), ("Image", "open")),
}
READING_METHODS = {"read_text", "read_bytes", "open"}
# Opened only after `reading` has looked at the file, read from memory or from a file that it opened, or written to.
READ_WITH_CARE = {
    ("dtfl_private.data.files.cache", "safe_open"),  # maps what `require_regular` let pass
    ("dtfl_private.attacking.result_cache", "safetensors.safe_open"),  # likewise
    ("dtfl_private.experiments.run_folder.model_file", "safe_open"),  # likewise
    ("dtfl_private.models.pretrained.weights_files", "safe_open"),  # likewise
    ("dtfl_private.data.files.idx", "gzip.open"),  # of a file that `open_regular` opened
    ("dtfl_private.data.files.pixels", "Image.open"),  # of bytes
    ("dtfl_private.experiments.run_folder.folder", "os.open"),  # a folder, to lock it
    ("dtfl_private.files.writing", "os.open"),  # a folder, to sync it; a new file, to write
    ("dtfl_private.deployed.client_store.locking", "os.open"),  # a folder, to lock it
    ("dtfl_private.experiments.run_folder.rounds_file", "folder.rounds.open"),  # to append
    ("dtfl_private.choosing.trials_file", "path.open"),  # to append
}


def readers(source: Source) -> list[str]:
    """Return what in a module opens or parses files past the one reader."""
    name, text = source
    found = [other for other in imports(source) if other.partition(".")[0] in READING_MODULES]
    found += [other for other in imports(source) if other in ("json.load", "json.loads", "gzip.open", "io.open")]
    for node in nodes_of(text):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, method = called.rpartition(".")
        by_method = owner not in ("", "reading") and method in READING_METHODS
        if by_method or called in ("open", "safe_open", "load_file") or (owner, method) in READING_CALLS:
            found.append(called)
    return [f"{name} uses {what}" for what in found if (name, what) not in READ_WITH_CARE]


def draws_past_the_seam(source: Source) -> list[str]:
    """Return the calls in which a module hands a generator to torch itself."""
    return [name for _, name, call in calls(source) if any(word.arg == "generator" for word in call.keywords)]


def test_defenses_draw_where_a_deployed_client_has_secret_chance():
    assert [name for name, text in modules_of("defenses") if draws_past_the_seam((name, text))] == []


def test_a_defense_that_draws_by_torch_itself_is_noticed():
    assert draws_past_the_seam(("dtfl_private.defenses.planted", "torch.randn(3, generator=at.chance)")) == ["randn"]


def test_files_are_read_by_one_module_only(found):
    assert found.read == []


def test_each_exception_from_the_one_reader_is_still_there():
    texts = dict(INSTALLED)
    assert [(name, call) for name, call in READ_WITH_CARE if f"{call}(" not in texts[name]] == []


@pytest.mark.parametrize(
    "line",
    [
        "import tomllib",
        "from tomllib import loads",
        "import json\njson.loads(text)",
        "from json import loads",
        "open(path)",
        "path.open('rb')",
        "folder.summary.read_bytes()",
        "Path(name).read_text('utf-8')",
        "import os\nos.open(path, os.O_RDONLY)",
        "from safetensors import safe_open\nsafe_open(path, framework='pt')",
        "safetensors.torch.load_file(path)",
        "from PIL import Image\nImage.open(path)",
        "import gzip\ngzip.open(path)",
    ],
)
def test_a_reader_of_its_own_is_noticed(line):
    assert readers(("dtfl_private.planted", line)) != []


@pytest.mark.parametrize("line", ["import json\njson.dumps({})", "reading.read_bytes(path, most_bytes=1)"])
def test_writing_and_the_one_reader_are_let_pass(line):
    assert readers(("dtfl_private.fine", line)) == []


def test_what_is_named_like_an_unsafe_function_is_not_taken_for_one():
    assert unsafe(("dtfl_private.fine", "import json, safetensors.torch\njson.load\nsafetensors.torch.load\n")) == []


def test_the_public_names_are_those_that_the_package_offers():
    """To a type checker, to ``dir`` and to whoever imports them."""
    ((_, text),) = [source for source in INSTALLED if source[0] == "dtfl_private.__init__"]
    imported = {name for name in imports(("dtfl_private.__init__", text)) if name.startswith("dtfl_private.")}
    assert sorted(name.rpartition(".")[2] for name in imported) == dtfl_private.__all__
    assert dtfl_private.__all__ == sorted(set(dtfl_private.__all__))
    assert imported == {f"dtfl_private.{home}.{name}" for home, names in dtfl_private._HOMES.items() for name in names}
    for name in dtfl_private.__all__:
        assert getattr(dtfl_private, name) is not None
    public = {name for name in dir(dtfl_private) if not name.startswith("_")}
    assert {name for name in public if not inspect.ismodule(getattr(dtfl_private, name))} == {*dtfl_private.__all__}


def test_a_name_that_there_is_not_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="module 'dtfl_private' has no attribute 'trian'"):
        _ = dtfl_private.trian
    with pytest.raises(ImportError, match="cannot import name 'trian' from 'dtfl_private'"):
        from dtfl_private import trian  # noqa: F401 - the misspelling is what is tested


def test_every_public_name_says_what_it_is():
    assert [name for name in dtfl_private.__all__ if not inspect.getdoc(getattr(dtfl_private, name))] == []


def test_the_packages_to_install_are_those_on_the_disk_and_no_others():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    on_disk = {name.removesuffix(".__init__") for name, _ in INSTALLED if name.endswith(".__init__")}
    assert sorted(listed) == sorted(on_disk)
    for package in PLUGIN_PACKAGES:  # how a folder of the repository becomes a package below dtfl_private
        assert (ROOT / "dtfl_private" / package).resolve() == ROOT / package
    assert not {package.partition(".")[0] for package in listed} & NEVER_INSTALLED
    with_code = {name.rpartition(".")[0] for name, _ in INSTALLED}
    assert with_code == set(listed)


def test_all_that_is_no_module_is_installed_too():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    package = ROOT / "dtfl_private"
    listed = {
        path
        for pattern in project["tool"]["setuptools"]["package-data"]["dtfl_private"]
        for path in package.glob(pattern)
    }
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == listed


TEST_FILES = [path.relative_to(ROOT / "tests") for path in sorted((ROOT / "tests").rglob("test_*.py"))]


def test_a_folder_of_tests_is_named_after_the_folder_it_tests_or_of_several_rooms():
    mirrored = {str(path.parent) for path in TEST_FILES if path.parts[0] not in ACROSS_ROOMS and len(path.parts) > 1}
    packages = {name.removesuffix(".__init__") for name, _ in INSTALLED if name.endswith(".__init__")}
    folders = {package.removeprefix("dtfl_private").lstrip(".").replace(".", "/") for package in packages}
    assert mirrored - folders == set()
    rooms = {folder for folder in folders if folder and "/" not in folder}
    assert rooms - {path.parts[0] for path in TEST_FILES} == set()


def test_no_two_files_of_tests_have_one_name():
    """They are no packages: pytest could not tell them apart."""
    names = [path.name for path in TEST_FILES]
    assert [name for name in names if names.count(name) > 1] == []

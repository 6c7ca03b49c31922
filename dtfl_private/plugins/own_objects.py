"""Objects that a text names by their module, ``package.module:function``: who may name them, and what they must be.

Importing a module runs its code, and calling what it holds with settings of the same text runs more. Hence the one way
from such a text to an object, `import_object`, takes a list of what may be imported. It is empty unless somebody says
otherwise: the user on the command line, or a caller from Python; a file never does. What is then imported must be what
its kind says before it is called.
"""

import importlib
import inspect
import logging
import os
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from dtfl_private.errors import DtflError, InputError, shortened, unknown_name

log = logging.getLogger(__name__)

Allowed = frozenset[str]
"""What texts may name: all objects of a module (``package.module``), or a single one (``package.module:function``)."""

NOTHING_ALLOWED: Allowed = frozenset()

MODULE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"

# ``package.module:function``, where what follows a second colon are settings.
OBJECT_PATH = re.compile(rf"({MODULE}:[A-Za-z_]\w*)(?::(.*))?", re.ASCII | re.DOTALL)

ALLOWANCE = re.compile(rf"{MODULE}(?::[A-Za-z_]\w*)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What an object of a kind must be.

    Attributes:
        place: the type, as ``module:name``; looked up when it is needed, as most layers lie above this one.
        words: the type as users write it.
        members: what a class must have that need not derive from the type, a protocol; empty for base classes.
        states: what an object must say of itself, and the type of that as ``module:name``.
    """

    place: str
    words: str
    members: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def type(self) -> type:
        """The type itself."""
        return _type_at(self.place)


def _type_at(place: str) -> type:
    found: type = pkgutil.resolve_name(place)
    return found


CONTRACTS: Mapping[str, Contract] = {
    "model": Contract(place="torch.nn:Module", words="torch.nn.Module"),
    "dataset": Contract(place="dtfl_private.data.dataset:Dataset", words="dtfl_private.ImageDataset"),
    "partition": Contract(
        place="dtfl_private.protocol.contracts:Partition", words="dtfl_private.Partition", members=("deal",)
    ),
    "method": Contract(
        place="dtfl_private.training.method:Method",
        words="dtfl_private.training.method.Method",
        states={"places": "builtins:frozenset"},
    ),
    "scheduler": Contract(
        place="dtfl_private.protocol.contracts:Scheduler",
        words="dtfl_private.Scheduler",
        members=("assign", "uses_times"),
    ),
    "defense": Contract(
        place="dtfl_private.protection.base:Defense",
        words="dtfl_private.Defense",
        states={"facts": "dtfl_private.protection.base:DefenseFacts"},
    ),
    "attack": Contract(
        place="dtfl_private.attacking.base:Attack",
        words="dtfl_private.Attack",
        states={"facts": "dtfl_private.attacking.base:AttackFacts"},
    ),
}


def allowance(names: Iterable[str]) -> Allowed:
    """Return what ``--allow-plugin`` (from Python: ``allow_plugins``) allows.

    Args:
        names: modules, each exactly as objects are named by it: ``package`` does not allow ``package.module``. A single
            object ``package.module:function`` is allowed so, too.

    Raises:
        InputError: a name that is none of a module.
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if not isinstance(name, str) or ALLOWANCE.fullmatch(name) is None:
            raise InputError(
                f"--allow-plugin '{shortened(name)}' is refused: expected the name of a module, as in package.module"
            )
    return frozenset(names)


def require_allowed(kind: str, path: str, allowed: Allowed) -> None:
    """Refuse an object that nobody allowed.

    Raises:
        InputError: neither the object nor its module is in ``allowed``.
    """
    module = path.partition(":")[0]
    if path in allowed or module in allowed:
        return
    raise InputError(
        f"{kind} '{shortened(path)}' names code to run, and a file may not do that: if you trust the code, add "
        f"--allow-plugin {shortened(module)} (from Python: allow_plugins=['{shortened(module)}']), or give train the "
        f"same --{kind} again"
    )


def import_object(kind: str, path: str, allowed: Allowed, known: Iterable[str]) -> Callable[..., Any]:
    """Import ``package.module:function``; this module is looked for in the current folder first, no other one is.

    Args:
        kind: key of `CONTRACTS`.
        path: names the object.
        allowed: what may be imported.
        known: registered names of this kind, one of which may have been meant.

    Raises:
        InputError: the object is not allowed, cannot be imported, or is not of this kind.
    """
    require_allowed(kind, path, allowed)
    module_name, _, attribute = path.partition(":")
    module = _module(kind, path, module_name, known)
    with failures_named(f"{kind} '{shortened(path)}' cannot be looked at"):
        factory: Callable[..., Any] | None = getattr(module, attribute, None)
        if factory is None:
            raise unknown_name(f"function of module '{shortened(module_name)}'", attribute, _offered(kind, module))
        if (why := _unfit(kind, factory)) is not None:
            raise InputError(f"{kind} '{shortened(path)}' {why}")
    return factory


class _OwnModules:
    """Finds the modules that a user has named, each in the folder where it was named, before all others."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of the user's lies; None of every other module."""
        if path is not None or name not in self.folders:
            return None
        return PathFinder.find_spec(name, [self.folders[name]])


_own_modules = _OwnModules()


def search_first(folders: Mapping[str, str]) -> None:
    """Look for these modules in these folders before all others, from now on.

    No other module is looked for there first, so that a file ``scipy.py`` next to a user's own module is not taken for
    scipy. Modules that a user's own imports are found there too, after those that are installed.

    Args:
        folders: by the name of the module or package, without dots.
    """
    if _own_modules not in sys.meta_path:
        sys.meta_path.insert(0, _own_modules)
    _own_modules.folders.update(folders)
    sys.path.extend(dict.fromkeys(folder for folder in folders.values() if folder not in sys.path))


def searched_first() -> Mapping[str, str]:
    """Return the folders of the modules that `search_first` was told of, for worker processes."""
    return dict(_own_modules.folders)


def _module(kind: str, path: str, name: str, known: Iterable[str]) -> types.ModuleType:
    folder = os.getcwd()  # noqa: PTH109 - sys.path holds texts
    search_first({name.partition(".")[0]: folder})
    what = f"{kind} '{shortened(path)}'"
    try:
        log.debug("importing %s from %s", name, folder)
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            reason = shortened(" ".join(str(error).split()))
            raise InputError(f"{what}: module '{shortened(name)}' cannot be imported: {reason}") from None
        near = unknown_name(kind, name, known)
        raise InputError(f"{what}: no module '{shortened(error.name)}' in {folder} or installed; {near}") from None
    except (Exception, SystemExit) as error:  # of somebody's module; a script may leave when it is imported
        raise InputError(f"{what}: module '{shortened(name)}' cannot be imported: {failure_text(error)}") from None


@contextmanager
def failures_named(what: str) -> Iterator[None]:
    """Turn whatever somebody's code raises inside into one line that begins with ``what``.

    Raises:
        InputError: it failed.
    """
    try:
        yield
    except DtflError:
        raise
    except (Exception, SystemExit) as error:  # of somebody's code
        raise InputError(f"{what}: {failure_text(error)}") from error


def failure_text(error: BaseException) -> str:
    """Return the kind and the text of an exception in one line."""
    return shortened(" ".join(f"{type(error).__name__}: {error}".split()), 300)


def require_made(kind: str, text: str, made: object) -> None:
    """Check what somebody's function or class returned.

    Raises:
        InputError: it is not of this kind.
    """
    contract = CONTRACTS[kind]
    if not isinstance(made, contract.type):
        found = type(made).__name__
        raise InputError(f"{kind} '{shortened(text)}' returned a {found}, expected a {contract.words}")
    for name, place in contract.states.items():
        if not isinstance(getattr(made, name, None), _type_at(place)):
            wanted = _type_at(place).__name__
            raise InputError(f"{kind} '{shortened(text)}' does not say its {name}: expected {name} = {wanted}(...)")


def _unfit(kind: str, found: Callable[..., Any]) -> str | None:
    """Return why something makes no objects of a kind, as far as can be told without calling it; None if it may."""
    if not (inspect.isfunction(found) or inspect.isclass(found)):
        return f"is a {type(found).__name__}, expected a function or a class"
    contract = CONTRACTS[kind]
    says = f"a function that says '-> {contract.words}'"
    if inspect.isclass(found):
        if _fits(contract, found):
            return None
        if contract.members:
            return f"is a class without {' and '.join(contract.members)}, expected {contract.words}, or {says}"
        return f"is a class, but no subclass of {contract.words}, expected one, or {says}"
    function = inspect.unwrap(found)
    name, annotations = function.__name__, dict(function.__annotations__)
    if "return" not in annotations:
        return f"does not say what it returns: write 'def {name}(...) -> {contract.words}'"
    try:
        # This one annotation alone: others may name what is known to type checkers only.
        bare = types.SimpleNamespace(__annotations__={"return": annotations["return"]})
        returned = typing.get_type_hints(bare, globalns=function.__globals__)["return"]
    except Exception as error:  # of somebody's annotation
        return f"says what it returns in a way that cannot be read ({failure_text(error)}): write '-> {contract.words}'"
    if _fits(contract, returned):
        return None
    shown = getattr(returned, "__name__", str(returned))
    return f"says that it returns {shortened(shown)}, expected '-> {contract.words}'"


def _fits(contract: Contract, given: object) -> bool:
    """Whether all objects of a type are of a kind."""
    if isinstance(given, types.UnionType) or typing.get_origin(given) is typing.Union:
        return all(_fits(contract, part) for part in typing.get_args(given))
    if not inspect.isclass(given):
        return False
    if given is contract.type:
        return True
    if contract.members:
        return all(inspect.getattr_static(given, name, None) is not None for name in contract.members)
    return issubclass(given, contract.type)


def _offered(kind: str, module: types.ModuleType) -> list[str]:
    """Return the names of a module's own functions and classes that fit a kind; not of what it imports."""
    own = (module.__name__, f"{module.__name__}.")
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and _unfit(kind, value) is None
        and (value.__module__ == own[0] or str(value.__module__).startswith(own[1]))
    ]

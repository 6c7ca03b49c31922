"""Configurations made of several: files that extend others, settings as texts, and where each value comes from.

    extends = "base.toml"     # or a list, of which later files win; the file's own keys win over all of them
    rounds = 30

A file extends files that lie beside or below the one that the user names, and no others: a configuration that somebody
else made reads nothing elsewhere. A key is taken over or replaced as a whole, lists too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dtfl_private.errors import InputError, comparable, shortened, unknown_name
from dtfl_private.experiments.config.toml_files import as_fields, load_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.files.reading import parse_toml
from dtfl_private.printable import shown_value

EXTENDS = "extends"

# A chain of more files, or more files in all, is taken for a mistake.
DEEPEST = 8
MOST_FILES = 32

# How a value in TOML begins that no option is spelled like.
TOML_STARTS = ("[", '"', "'", "{")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Values of a configuration by field, and where they are from."""

    source: str
    values: Mapping[str, object]


def flattened(layers: Iterable[Layer]) -> dict[str, object]:
    """Return the values of layers, of which later ones win."""
    return {key: value for layer in layers for key, value in layer.values.items()}


def origins(layers: Iterable[Layer]) -> dict[str, str]:
    """Return where each value of `flattened` is from."""
    return {key: layer.source for layer in layers for key in layer.values}


def file_layers(path: Path) -> list[Layer]:
    """Return the layers of a CONFIG.toml: the files that it extends, and itself as the last one.

    Raises:
        InputError: one of them cannot be read, has a key that no field has, lies elsewhere, or extends itself; or there
            are too many.
    """
    layers: list[Layer] = []
    _add(path, _place(path.parent), (), layers)
    return layers


def table_values(table: Mapping[str, object], path: Path, where: str) -> dict[str, object]:
    """Return the values of a table of the file at ``path``, which may extend configurations as a file may.

    Args:
        table: its keys and values.
        path: of the file that it stands in.
        where: what to call the table where something is wrong with it.

    Raises:
        InputError: as `file_layers`.
    """
    layers: list[Layer] = []
    _add_table(table, where, (path,), _place(path.parent), layers)
    return flattened(layers)


def _place(path: Path) -> Path:
    """Return where a file is, links followed; whoever reads it says what is wrong with links that lead nowhere."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _add(path: Path, root: Path, chain: tuple[Path, ...], layers: list[Layer]) -> None:
    """Add the layers of a file; ``chain`` are the files that led to it, of which the first lies in ``root``."""
    if _place(path) in [_place(before) for before in chain]:
        raise InputError(f"configurations extend each other in a circle: {_arrows((*chain, path))}")
    if len(chain) >= DEEPEST:
        raise InputError(f"configurations extend each other over more than {DEEPEST} files: {_arrows((*chain, path))}")
    if len(layers) >= MOST_FILES:
        raise InputError(f"configuration '{chain[0]}' extends more than {MOST_FILES} files")
    values = load_toml(path, "configuration" if not chain else f"configuration that '{chain[-1]}' extends,")
    _add_table(values, str(path), (*chain, path), root, layers)


def _add_table(
    table: Mapping[str, object], where: str, chain: tuple[Path, ...], root: Path, layers: list[Layer]
) -> None:
    """Add the layers of a table of the last file of ``chain``: those that it extends, and its own keys."""
    named = {key: value for key, value in table.items() if comparable(key) == EXTENDS}
    own = as_fields({key: value for key, value in table.items() if key not in named}, where, beside=(EXTENDS,))
    for text in _texts(named, chain[-1]):  # the table's own mistakes came before those of what it extends
        _add(_beside_or_below(text, chain[-1], root), root, chain, layers)
    layers.append(Layer(source=where, values=own))


def _texts(named: Mapping[str, object], path: Path) -> list[str]:
    found: list[str] = []
    for text in (text for value in named.values() for text in (value if isinstance(value, list) else [value])):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{EXTENDS} {shown_value(text)} in '{path}' is refused: expected the name of a TOML file")
        found.append(text)
    return found


def _beside_or_below(text: str, path: Path, root: Path) -> Path:
    """Return the file that a file names.

    Raises:
        InputError: it does not lie below ``root``, also where a link leads elsewhere.
    """
    named = path.parent / text
    try:
        inside = named.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        raise InputError(
            f"configuration '{path}' extends '{shortened(text)}', which is not in or below the folder '{root}': files "
            "may only extend what lies beside or below the first one"
        )
    return named


def _arrows(chain: Sequence[Path]) -> str:
    return " -> ".join(str(path) for path in chain)


def set_values(texts: Sequence[str]) -> dict[str, object]:
    """Return the values of ``key=value`` texts by field: spelled as the option's value, or as TOML.

    Raises:
        InputError: a text of another form, an unknown key, a key twice.
    """
    fields = {comparable(name): name for name in TrainConfig.model_fields}
    found: dict[str, object] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise InputError(f"--set '{shortened(text)}' is not of the form key=value")
        if comparable(key) not in fields:
            raise unknown_name("key in --set:", key, TrainConfig.model_fields)
        name = fields[comparable(key)]
        if name in found:
            raise InputError(f"--set gives '{name}' twice: give it once, several values as a list, {name}=[...]")
        found[name] = _read(name, value)
    return found


def _read(name: str, text: str) -> object:
    if not text.startswith(TOML_STARTS):
        return text
    try:
        found = parse_toml(f"value = {text}")
    except ValueError as error:
        raise InputError(f"--set {name}={shortened(text)} is refused: no TOML value: {error}") from None
    if len(found) > 1:
        raise InputError(f"--set {name}={shortened(text)} is refused: no TOML value, but several lines")
    return found["value"]

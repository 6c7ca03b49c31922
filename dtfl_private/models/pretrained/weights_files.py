"""The weights of a checkpoint: safetensors, in one file or several; names and shapes are known before any is read.

The files may come from anybody. Pickles are refused by name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.printable import one_line, short_name

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

LARGEST_INDEX_BYTES = 2**24
LARGEST_FILE_BYTES = 2**36
MOST_FILES = 1000

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})

# Files that can run code when they are opened, by their endings.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

# Of networks with a head for another task, or computed anew: of no use here.
UNUSED = re.compile(
    r"(?:cls|classifier|pre_classifier|lm_head|score|qa_outputs|pooler|vocab_(?:transform|layer_norm|projector))\..*"
    r"|decoder\.(?:weight|bias|\d+\..*)|embeddings\.mask_token|.*\.position_ids|h\.\d+\.attn\.(?:bias|masked_bias)|layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A tensor in a file: its name there, its shape and its type, in safetensors' words."""

    file: Path
    name: str
    shape: tuple[int, ...]
    kind: str


def stored_weights(folder: Path, prefix: str) -> dict[str, Stored]:
    """Return the tensors of a base network by the library's names, without the prefix that networks with a head give.

    Raises:
        InputError: there are no safetensors, or they are damaged.
    """
    found = [one for file in _files(folder) for one in _header(file)]
    prefixed = any(one.name.startswith(prefix) for one in found)
    named: dict[str, Stored] = {}
    for one in found:
        name = one.name.removeprefix(prefix) if prefixed else one.name
        # As early conversions from TensorFlow call the scale and shift of a norm.
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
        if name in named:
            raise InputError(f"{one.file} holds {short_name(name)} twice")
        named[name] = one
    return named


def require_fitting(folder: Path, stored: Mapping[str, Stored], expected: Mapping[str, Tensor]) -> None:
    """Check that a checkpoint has the names, shapes and kinds of numbers that its config.json announces.

    Args:
        folder: of the checkpoint.
        stored: what is there.
        expected: by name; only their shapes matter.

    Raises:
        InputError: naming the first tensor that is missing, too much, or of another shape.
    """
    for name, tensor in expected.items():
        one = stored.get(name)
        if one is None:
            raise InputError(f"{folder} has no weights {name}, which its config.json announces")
        if one.shape != tuple(tensor.shape):
            raise InputError(
                f"{folder}: {name} has shape {one.shape}, but its config.json announces {tuple(tensor.shape)}"
            )
        if one.kind not in FLOATS:
            raise InputError(f"{folder}: {name} holds {one.kind}, expected floating-point numbers")
    more = [name for name in stored if name not in expected and not UNUSED.fullmatch(name)]
    if more:
        others = f" and {len(more) - 1} more" if len(more) > 1 else ""
        raise InputError(f"{folder} has weights {short_name(more[0])}{others}, which its config.json does not announce")


def load_into(stored: Mapping[str, Stored], expected: Mapping[str, Tensor]) -> None:
    """Copy the weights into tensors of their names, in place; fit for what `require_fitting` has let pass.

    Raises:
        InputError: a file has changed since, or holds numbers that are not finite.
    """
    by_file: dict[Path, list[str]] = {}
    for name in expected:
        by_file.setdefault(stored[name].file, []).append(name)
    for file, names in by_file.items():
        # Numbers only: safetensors hold no code.
        with _damage_named(file), safe_open(file, framework="pt") as tensors, torch.no_grad():
            for name in names:
                values = tensors.get_tensor(stored[name].name)
                if not bool(values.isfinite().all()):
                    raise InputError(f"{file}: {name} holds NaN or infinity")
                expected[name].copy_(values)


def _files(folder: Path) -> list[Path]:
    """Return the files of weights in a folder."""
    if (folder / WHOLE).exists():
        return [folder / WHOLE]
    index = folder / INDEX
    try:
        found = reading.read_json(index, most_bytes=LARGEST_INDEX_BYTES)
        places = found["weight_map"].values()
        names = sorted(set(places))
    except FileNotFoundError:
        raise _absent(folder) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{index} cannot be read: {reading.reason(error)}") from None
    except (TypeError, KeyError, AttributeError):
        raise InputError(f"{index} has no weight_map from names to files") from None
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.safetensors", name):
            raise InputError(f"{index} names '{short_name(str(name))}', expected safetensors files in the same folder")
    if not 1 <= len(names) <= MOST_FILES:
        raise InputError(f"{index} names {len(names)} files, expected 1 to {MOST_FILES}")
    return [folder / name for name in names]


def _absent(folder: Path) -> InputError:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLES)
    if pickles:
        return InputError(
            f"{folder} holds {short_name(pickles[0])}, a pickle, which can run code and is never opened: convert it "
            "where you trust it, by save_pretrained(FOLDER, safe_serialization=True)"
        )
    return InputError(f"{folder} has no {WHOLE} and no {INDEX}")


def _header(file: Path) -> Iterator[Stored]:
    with _damage_named(file):
        reading.require_regular(file, most_bytes=LARGEST_FILE_BYTES)
        with safe_open(file, framework="pt") as tensors:  # numbers only: safetensors hold no code
            for name in tensors.keys():  # noqa: SIM118 - no mapping
                part = tensors.get_slice(name)
                yield Stored(file=file, name=name, shape=tuple(part.get_shape()), kind=str(part.get_dtype()))


class _damage_named:  # noqa: N801 - a context manager
    """Say in one line why a file of weights cannot be read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError):
            return
        if isinstance(error, OSError | ValueError | SafetensorError):
            raise InputError(f"{self._file} cannot be read: {one_line(reading.reason(error))}") from None

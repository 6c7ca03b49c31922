"""Files of weights: safetensors, whose metadata say what network the weights are of and what it takes.

Such a file is enough to use the network. It holds numbers and texts only, never code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from dtfl_private.data.description import DataDescription, first_fault
from dtfl_private.errors import InputError, RunError
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.numerics import MemoryFormat, Precision

if TYPE_CHECKING:
    from torch import Tensor

    from dtfl_private.protocol.messages import State

LARGEST_MODEL_BYTES = 2**36

# The one key of the metadata: safetensors writes several in a random order, and equal runs are to leave equal files.
KEY = "run"

# The network of an earlier round, which no resume can make anew.
BEST = "best.safetensors"


Specification = Annotated[str, Field(max_length=reading.LONGEST_TOML_TEXT)]


class ModelDescription(BaseModel):
    """What the weights in a file are of.

    Attributes:
        model, dataset: as the run's configuration names them.
        norm: of the network.
        round: after which the weights were taken.
        precision, memory_format: in which the run judged the network.
        data: what it takes, and what its outputs mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Specification
    dataset: Specification
    norm: Literal["batch", "group"]
    round: Annotated[int, Field(ge=0)]
    precision: Precision
    memory_format: MemoryFormat
    data: DataDescription


def save_model(path: Path, state: "State", description: ModelDescription) -> None:
    """Write a file of weights in one step."""
    write_atomic(path, weights_document(state, description))


def weights_document(state: "State", description: ModelDescription) -> bytes:
    """Return what a file of weights holds."""
    import safetensors.torch

    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    return safetensors.torch.save(tensors, metadata={KEY: description.model_dump_json()})


def model_description(path: Path) -> ModelDescription:
    """Return what the weights in a file are of, as its metadata say; the file may come from anybody.

    Raises:
        InputError: there is no such file, or it is one of a version that did not say enough.
        RunError: it is damaged.
    """
    metadata = _metadata(path)
    told = metadata.get(KEY)
    if told is None or '"data"' not in told:
        raise InputError(
            f"{path} does not say which classes and normalisation it is of (was it made by an earlier version?): "
            f"`dtfl-private train --resume --out {path.parent}` adds that to a run, if its data are where they were"
        )
    try:
        return ModelDescription.model_validate_json(told)
    except ValidationError as error:
        raise _damaged(path, f"metadata: {first_fault(error)}") from None


def load_weights(path: Path, expected: "State") -> "State":
    """Return the weights in a file, which must have the names, shapes and types of ``expected``.

    Raises:
        InputError: there is no such file.
        RunError: it is damaged, or of another network; nothing was read beyond its header then.
    """
    found: dict[str, Tensor] = {}
    try:
        reading.require_regular(path, most_bytes=LARGEST_MODEL_BYTES)
        with safe_open(path, framework="pt") as file:  # numbers only: safetensors hold no code
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
            _require_fitting(path, shapes, {name: tuple(tensor.shape) for name, tensor in expected.items()})
            for name, tensor in expected.items():
                found[name] = file.get_tensor(name)
                if found[name].dtype != tensor.dtype:
                    raise _damaged(path, f"{name} is {found[name].dtype}, expected {tensor.dtype}")
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, reading.reason(error)) from None
    return found


def _metadata(path: Path) -> Mapping[str, str]:
    try:
        reading.require_regular(path, most_bytes=LARGEST_MODEL_BYTES)
        with safe_open(path, framework="pt") as file:  # numbers only: safetensors hold no code
            return file.metadata() or {}
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, reading.reason(error)) from None


def _require_fitting(path: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse tensors of other names or shapes than the network's."""
    amiss = sorted(found.keys() ^ expected.keys())
    if amiss:
        more = f" and {len(amiss) - 1} more" if len(amiss) > 1 else ""
        raise RunError(f"{path} is of another network: {amiss[0]}{more} {'are' if more else 'is'} in one of them only")
    for name, shape in expected.items():
        if found[name] != shape:
            raise RunError(f"{path} is of another network: {name} has shape {found[name]}, expected {shape}")


def _missing(path: Path) -> InputError:
    if path.name == BEST:
        return InputError(f"'{path}' does not exist: this run kept no best round's network; use the last round's")
    return InputError(f"'{path}' does not exist: the run has no finished round, or the file was moved")


def _damaged(path: Path, reason: str) -> RunError:
    again = f"`dtfl-private train --resume --out {path.parent}` writes it again"
    remedy = "start again in a new --out folder" if path.name == BEST else again
    return RunError(f"{path} is damaged ({reason}): {remedy}")

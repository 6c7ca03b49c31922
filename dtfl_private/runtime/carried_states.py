"""Tasks and results on their way between processes: their tensors as safetensors bytes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import safetensors.torch

from dtfl_private.protocol.messages import below
from dtfl_private.training.tasks import ClientResult, ClientTask

C = TypeVar("C", ClientTask, ClientResult)

# Fields that hold tensors. They travel as safetensors bytes: hundreds of small shared-memory segments per client would
# cost more.
TASK_STATES = ("memory", "extras")
RESULT_STATES = ("model", "head", "memory", "extras")


def without_tensors(carrier: C, fields: Sequence[str]) -> tuple[C, bytes]:
    """Return a task or result without its tensors, and these as bytes."""
    states = {field: getattr(carrier, field) for field in fields}
    tensors = {f"{field}.{name}": t.contiguous() for field, state in states.items() for name, t in state.items()}
    emptied: dict[str, Any] = {field: {} for field in fields}
    return replace(carrier, **emptied), safetensors.torch.save(tensors)


def with_tensors(emptied: tuple[C, bytes], fields: Sequence[str]) -> C:
    """Return the task or result with its tensors."""
    carrier, states = emptied
    tensors = safetensors.torch.load(states)  # numbers only: safetensors hold no code
    filled: dict[str, Any] = {field: below(f"{field}.", tensors) for field in fields}
    return replace(carrier, **filled)

"""Checkpoints: the federated state on disk, written atomically, verified before anything of it is loaded.

checkpoint/round-000012/ holds ``state.safetensors`` (weights, heads, measurements, what clients' defenses and the
method keep), ``state.json`` (numbers, privacy ledgers) and ``manifest.json`` with the SHA-256 of both. The folder is
made under another name and renamed when it is complete. The last two are kept. Random generators and clients'
optimisers need no place in it: streams are named by round, and these optimisers live for one round.
"""

import hashlib
import json
import logging
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from dtfl_private.errors import CheckpointError
from dtfl_private.files import reading
from dtfl_private.files.writing import sync_folder, write_synced
from dtfl_private.privacy.ledger import LedgerEntries
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import State
from dtfl_private.simulation.clients.conditions import EnvironmentState
from dtfl_private.simulation.clock import VirtualClock
from dtfl_private.simulation.depth_progress import DepthProgress
from dtfl_private.simulation.estimates import NEVER, History
from dtfl_private.simulation.resource_changes import Changes
from dtfl_private.simulation.schedule_state import NOT_COUNTED, ScheduleSettings, ScheduleState
from dtfl_private.training.optimizers import PlateauState
from dtfl_private.training.state import FederatedState, GlobalWeights

KEPT = 2
LARGEST_MANIFEST_BYTES = 2**16
LARGEST_NUMBERS_BYTES = 2**28
COPIES_IN_MEMORY = 4
HISTORY_FIELDS = ("seconds_KM", "tier_K", "last_s_K", "up_bytes_s_K", "down_bytes_s_K", "latency_s_K", "first_tier_K")
EXPOSURE = "exposure/spent_K"
RAMPS = "environment/before_K"
# What the names of tensors begin with that torch keeps; the rest are arrays.
NETWORKS = ("model/", "head/", "extra/")
log = logging.getLogger(__name__)

_NAME = re.compile(r"round-(\d{6,})")


class _Numbers(BaseModel):
    """The scalars of a state; floats survive JSON exactly."""

    model_config = ConfigDict(extra="forbid")

    round: Annotated[int, Field(ge=1)]
    virtual_time_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    best_loss: float | None
    waited: Annotated[int, Field(ge=0)]
    ledgers: dict[Annotated[int, Field(ge=0)], LedgerEntries]


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sha256: dict[str, str]


def save_checkpoint(folder: Path, state: FederatedState) -> None:
    """Write the state of a finished round below ``folder`` and drop all but the last two checkpoints."""
    folder.mkdir(exist_ok=True)
    name = f"round-{state.round:06d}"
    draft = folder / f".{name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    contents = {"state.safetensors": safetensors.torch.save(_tensors(state)), "state.json": _numbers(state)}
    for file, data in contents.items():
        write_synced(draft / file, data)
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
    write_synced(draft / "manifest.json", json.dumps({"sha256": hashes}, indent=1).encode())
    sync_folder(draft)
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)  # a damaged one of the same round, if any
    draft.rename(target)
    sync_folder(folder)
    log.debug("wrote checkpoint %s, %d bytes", target, sum(map(len, contents.values())))
    for number, path in _found(folder)[KEPT:]:
        if number < state.round:
            shutil.rmtree(path, ignore_errors=True)


def load_checkpoint(
    folder: Path, like: FederatedState, settings: ScheduleSettings, warn: Callable[[str], None]
) -> FederatedState | None:
    """Return the newest intact state below ``folder``, or None when there has been no checkpoint yet.

    Args:
        folder: the run's ``checkpoint`` folder.
        like: the run's initial state: names, shapes and types must agree with it.
        settings: of the run's schedule: tiers and profiles must be among its own.
        warn: told in one line of each damaged checkpoint that is passed over.

    Raises:
        CheckpointError: checkpoints are there, but none is intact.
    """
    found = _found(folder)
    for number, path in found:
        try:
            state = _load_state(path, number, like, settings)
            log.debug("read checkpoint %s", path)
            return state
        except (CheckpointError, OSError) as error:
            warn(f"checkpoint {path.name} is damaged and was not loaded: {error}")
    if found:
        raise CheckpointError(f"no intact checkpoint is left in {folder}: start again in a new --out folder")
    return None


def load_round(folder: Path, number: int, like: FederatedState, settings: ScheduleSettings) -> FederatedState:
    """Return the state after round ``number``; arguments as those of `load_checkpoint`.

    Raises:
        CheckpointError: it is not there (only the last two rounds are), or damaged.
    """
    path = folder / f"round-{number:06d}"
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint of round {number} in {folder}")
    try:
        return _load_state(path, number, like, settings)
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from None


def _found(folder: Path) -> list[tuple[int, Path]]:
    """Return the complete checkpoints, newest first."""
    names = [(match, path) for path in folder.glob("round-*") if (match := _NAME.fullmatch(path.name))]
    return sorted(((int(match[1]), path) for match, path in names), reverse=True)


def _numbers(state: FederatedState) -> bytes:
    best = state.plateau.best_loss
    numbers = _Numbers(
        round=state.round,
        virtual_time_s=state.schedule.clock.now_s,
        lr=state.plateau.lr,
        best_loss=best if math.isfinite(best) else None,
        waited=state.plateau.waited,
        ledgers=dict(state.ledgers),
    )
    return numbers.model_dump_json(indent=1).encode()


def _tensors(state: FederatedState) -> dict[str, Tensor]:
    tensors = {f"model/{name}": tensor for name, tensor in state.weights.model.items()}
    for tier, head in state.weights.heads.items():
        tensors |= {f"head/{tier}/{name}": tensor for name, tensor in head.items()}
    history, environment = state.schedule.history, state.schedule.environment
    tensors |= {f"history/{field}": torch.from_numpy(getattr(history, field)) for field in HISTORY_FIELDS}
    for client, memory in state.memories.items():
        tensors |= {f"memory/{client}/{name}": tensor for name, tensor in memory.items()}
    tensors |= {f"extra/{name}": tensor for name, tensor in state.extras.items()}
    tensors["environment/profile_K"] = torch.from_numpy(environment.profile_K)
    tensors["history/progress"] = torch.from_numpy(state.schedule.progress.array())
    changes = state.schedule.changes
    tensors["history/changes"] = torch.tensor([changes.changed, changes.measured], dtype=torch.float64)
    tensors["environment/present_K"] = torch.from_numpy(environment.present_K)
    if environment.before_K is not None:
        # A copy: where nobody changes it is the very array of the present profiles.
        tensors[RAMPS] = torch.from_numpy(environment.before_K).clone()
    if len(state.schedule.exposure_K):  # runs that count nothing keep the layout of earlier versions
        tensors[EXPOSURE] = torch.from_numpy(state.schedule.exposure_K)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _load_state(path: Path, number: int, like: FederatedState, settings: ScheduleSettings) -> FederatedState:
    """Return the state that a checkpoint holds, once all of it is known to fit the run."""
    contents = _verified(path, _largest_tensors(like, settings.environment.clients))
    numbers, tensors = _parsed(contents, number)
    memories = _memories(tensors, settings.environment.clients)
    if numbers.ledgers and max(numbers.ledgers) >= settings.environment.clients:
        raise CheckpointError(f"it does not fit the run: client {max(numbers.ledgers)} has a privacy ledger")
    arrays = _fitting_arrays(tensors, like, settings)
    return FederatedState(
        round=numbers.round,
        weights=GlobalWeights(
            model=_named(tensors, "model/", like.weights.model),
            heads={tier: _named(tensors, f"head/{tier}/", head) for tier, head in like.weights.heads.items()},
        ),
        schedule=_schedule(arrays, numbers.virtual_time_s),
        plateau=PlateauState(
            lr=numbers.lr,
            best_loss=math.inf if numbers.best_loss is None else numbers.best_loss,
            waited=numbers.waited,
        ),
        ledgers=numbers.ledgers,
        memories=memories,
        extras=_named(tensors, "extra/", like.extras),
    )


def _parsed(contents: Mapping[str, bytes], number: int) -> tuple[_Numbers, dict[str, Tensor]]:
    """Return the numbers and the tensors of the checkpoint of a round."""
    try:
        numbers = _Numbers.model_validate_json(contents["state.json"])
        tensors = safetensors.torch.load(contents["state.safetensors"])  # numbers only: safetensors hold no code
    except (ValidationError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"unreadable content ({str(error).partition(chr(10))[0]})") from None
    if numbers.round != number:
        raise CheckpointError(f"it holds round {numbers.round}")
    return numbers, tensors


def _fitting_arrays(
    tensors: Mapping[str, Tensor], like: FederatedState, settings: ScheduleSettings
) -> dict[str, NDArray[Any]]:
    """Return what is no part of the network, checked against the run; so is the layout of the network."""
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("memory/")}
    _require_same_layout(rest, _tensors(like))
    arrays = {name: tensor.numpy() for name, tensor in rest.items() if not name.startswith(NETWORKS)}
    for tiers in ("history/tier_K", "history/first_tier_K"):
        _require_among(arrays, tiers, [NEVER, *settings.table.tiers_M.tolist()])
    for profiles in {"environment/profile_K", RAMPS} & arrays.keys():
        _require_among(arrays, profiles, range(len(settings.environment.profiles)))
    _require_exposures(arrays, settings)
    return arrays


def _schedule(arrays: Mapping[str, NDArray[Any]], now_s: float) -> ScheduleState:
    """Return the state of the schedule that these arrays hold."""
    changed, measured = arrays["history/changes"]
    return ScheduleState(
        environment=EnvironmentState(
            profile_K=arrays["environment/profile_K"],
            present_K=arrays["environment/present_K"],
            before_K=arrays.get(RAMPS),
        ),
        history=History(**{field: arrays[f"history/{field}"] for field in HISTORY_FIELDS}),
        clock=VirtualClock(now_s=now_s),
        progress=DepthProgress.of(arrays["history/progress"]),
        changes=Changes(changed=float(changed), measured=float(measured)),
        exposure_K=arrays.get(EXPOSURE, NOT_COUNTED),
    )


def _largest_tensors(like: FederatedState, clients: int) -> int:
    """Return the most bytes that the tensors of a state can take; a client's defenses may keep copies of its model."""
    own = sum(tensor.nbytes for tensor in _tensors(like).values())
    return (2 + COPIES_IN_MEMORY * clients) * own + 2**26


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        return reading.read_bytes(path, most_bytes=most_bytes)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read ({reading.reason(error)})") from None


def _verified(path: Path, tensors_bytes: int) -> dict[str, bytes]:
    try:
        manifest = _Manifest.model_validate_json(_read(path / "manifest.json", LARGEST_MANIFEST_BYTES))
    except ValidationError:
        raise CheckpointError("manifest.json is not a manifest") from None
    contents = {}
    for file, most_bytes in (("state.safetensors", tensors_bytes), ("state.json", LARGEST_NUMBERS_BYTES)):
        contents[file] = _read(path / file, most_bytes)
        if hashlib.sha256(contents[file]).hexdigest() != manifest.sha256.get(file):
            raise CheckpointError(f"{file} does not have the SHA-256 of the manifest")
    return contents


def _require_same_layout(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    if tensors.keys() != expected.keys():
        amiss = sorted(tensors.keys() ^ expected.keys())[0]
        raise CheckpointError(f"it does not fit the run: {amiss} is amiss (was it made by another version?)")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise CheckpointError(f"it does not fit the run: {name} is {tensor.dtype} {tuple(tensor.shape)}")


def _require_among(arrays: Mapping[str, IntArray], name: str, allowed: Sequence[int]) -> None:
    if not np.isin(arrays[name], list(allowed)).all():
        raise CheckpointError(f"it does not fit the run: {name} holds a value that is none of {list(allowed)}")


def _require_exposures(arrays: Mapping[str, NDArray[Any]], settings: ScheduleSettings) -> None:
    if settings.exposure is None or EXPOSURE not in arrays:
        return
    exposure_K = arrays[EXPOSURE]
    if not ((exposure_K >= 0) & (exposure_K <= settings.exposure.limit)).all():
        raise CheckpointError(
            f"it does not fit the run: {EXPOSURE} is not within the budget {settings.exposure.most:g}"
        )


def _memories(tensors: Mapping[str, Tensor], clients: int) -> dict[int, dict[str, Tensor]]:
    """Return what each client's defenses keep; only they know the shapes, and check them."""
    memories: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if not name.startswith("memory/"):
            continue
        client, _, own = name.removeprefix("memory/").partition("/")
        if not (client.isascii() and client.isdigit() and int(client) < clients and own):
            raise CheckpointError(f"it does not fit the run: {name} belongs to none of the {clients} clients")
        memories.setdefault(int(client), {})[own] = tensor
    return memories


def _named(tensors: Mapping[str, Tensor], prefix: str, names: State) -> State:
    return {name: tensors[prefix + name] for name in names}

"""Recorded rounds on disk: what the server saw in one file, the ground truth in another, both safetensors.

TRANSCRIPT/seen/round-000012-client-3.safetensors and TRANSCRIPT/truth/round-000012-client-3.safetensors. Whoever is to
attack a run elsewhere is given ``seen`` only.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from dtfl_private.errors import RunError
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.protocol.messages import (
    GradientReply,
    LogitBatch,
    MiddleOutput,
    ModelDownload,
    Seen,
    SmashedBatch,
    TailGradient,
    WeightUpdate,
    Wire,
)
from dtfl_private.training.recording import Recording, Truth

_NAME = re.compile(r"round-(\d{6,})-client-(\d+)\.safetensors", re.ASCII)
_TRUTH_NAMES = frozenset({"images", "labels", "records"})

LARGEST_RECORDING_BYTES = 2**32

Natural = Annotated[int, Field(ge=0)]


class _Facts(BaseModel):
    """The numbers of a recorded round; ``examples`` is None when the client sent no update."""

    model_config = ConfigDict(extra="forbid")

    client: Natural
    round: Annotated[int, Field(ge=1)]
    tier: Annotated[int, Field(ge=1)]
    batches: list[Natural]
    packed_bytes: list[Natural | None]
    examples: Annotated[int, Field(ge=1)] | None
    wire: Wire | None = None
    labelled: bool = True


def save_recording(folder: Path, recording: Recording) -> None:
    """Write a client's recorded round below ``folder``; one that is there already is replaced."""
    # The truth first: a file of what was seen never stands without it.
    save_truth(folder, recording.seen.download.round, recording.seen.download.client, recording.truth)
    save_seen(folder, recording.seen)


def save_truth(folder: Path, round_number: int, client: int, truth: Truth) -> None:
    """Write the ground truth of a client's recorded round below ``folder``."""
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    tensors = {"images": truth.images, "labels": truth.labels, "records": truth.records}
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    write_atomic(folder / "truth" / _file_name(round_number, client), data)


def save_seen(folder: Path, seen: Seen) -> None:
    """Write what the server saw of a client's round below ``folder``."""
    (folder / "seen").mkdir(parents=True, exist_ok=True)
    facts = _Facts(
        client=seen.download.client,
        round=seen.download.round,
        tier=seen.download.tier,
        batches=[batch.batch for batch in seen.batches],
        packed_bytes=[batch.packed_bytes for batch in seen.batches],
        examples=None if seen.update is None else seen.update.examples,
        wire=seen.download.wire,
        labelled=all(batch.labelled for batch in seen.batches),
    )
    data = safetensors.torch.save(_tensors(seen), metadata={"recording": facts.model_dump_json()})
    write_atomic(folder / "seen" / _file_name(seen.download.round, seen.download.client), data)


def _file_name(round_number: int, client: int) -> str:
    return f"round-{round_number:06d}-client-{client}.safetensors"


def _tensors(seen: Seen) -> dict[str, Tensor]:
    named = {f"download/weights/{name}": tensor for name, tensor in seen.download.weights.items()}
    named |= {f"download/head/{name}": tensor for name, tensor in seen.download.head.items()}
    if seen.update is not None:
        named |= {f"update/weights/{name}": tensor for name, tensor in seen.update.weights.items()}
        named |= {f"update/head/{name}": tensor for name, tensor in seen.update.head.items()}
    for position, batch in enumerate(seen.batches):
        named[f"batch/{position}/smashed"] = batch.smashed
        named[f"batch/{position}/labels"] = batch.labels
    named |= {f"batch/{position}/reply": reply.gradient for position, reply in enumerate(seen.replies)}
    named |= {f"batch/{position}/logits": sent.logits for position, sent in enumerate(seen.logits)}
    named |= {f"batch/{position}/output": sent.outputs for position, sent in enumerate(seen.outputs)}
    named |= {f"batch/{position}/tail-gradient": sent.gradient for position, sent in enumerate(seen.tail_gradients)}
    # Weights of a run are one tensor for many names: safetensors wants memory of its own for each.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in named.items()}


def recorded_rounds(folder: Path) -> list[tuple[int, int]]:
    """Return (round, client) of every recorded round below ``folder``, in order."""
    names = [_NAME.fullmatch(path.name) for path in (folder / "seen").glob("*.safetensors")]
    return sorted((int(match[1]), int(match[2])) for match in names if match)


def load_seen(folder: Path, round_number: int, client: int) -> Seen:
    """Return what the server saw of a client's recorded round.

    Raises:
        RunError: the file is missing, damaged, or is not what its name says.
    """
    path = folder / "seen" / _file_name(round_number, client)
    tensors, metadata = _read(path)
    facts = _parse_facts(path, metadata)
    if (facts.round, facts.client) != (round_number, client) or len(facts.batches) != len(facts.packed_bytes):
        raise _damaged(path, f"it is of round {facts.round} and client {facts.client}")
    numbers = {"client": client, "round": round_number, "tier": facts.tier}
    batches = _batches(path, facts, tensors)
    download = ModelDownload(
        client=client,
        round=round_number,
        tier=facts.tier,
        weights=_below("download/weights/", tensors),
        head=_below("download/head/", tensors),
        wire=facts.wire,
    )
    update = None
    if facts.examples is not None:
        update = WeightUpdate(
            **numbers,
            examples=facts.examples,
            weights=_below("update/weights/", tensors),
            head=_below("update/head/", tensors),
        )
    return Seen(
        download=download,
        batches=batches,
        update=update,
        replies=tuple(
            GradientReply(client=client, round=round_number, batch=batch.batch, gradient=gradient)
            for batch, gradient in _of_batches("reply", batches, tensors)
        ),
        logits=tuple(
            LogitBatch(client=client, round=round_number, batch=batch.batch, logits=logits)
            for batch, logits in _of_batches("logits", batches, tensors)
        ),
        outputs=tuple(
            MiddleOutput(client=client, round=round_number, batch=batch.batch, outputs=outputs)
            for batch, outputs in _of_batches("output", batches, tensors)
        ),
        tail_gradients=tuple(
            TailGradient(client=client, round=round_number, batch=batch.batch, gradient=gradient)
            for batch, gradient in _of_batches("tail-gradient", batches, tensors)
        ),
    )


def _of_batches(
    what: str, batches: Sequence[SmashedBatch], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[SmashedBatch, Tensor]]:
    """Yield what was recorded with batches, of those that have it."""
    for position, batch in enumerate(batches):
        if (tensor := tensors.get(f"batch/{position}/{what}")) is not None:
            yield batch, tensor


def _parse_facts(path: Path, metadata: Mapping[str, str]) -> _Facts:
    try:
        return _Facts.model_validate_json(metadata.get("recording", ""))
    except ValidationError as error:
        raise _damaged(path, str(error.errors()[0]["msg"])) from None


def _batches(path: Path, facts: _Facts, tensors: Mapping[str, Tensor]) -> tuple[SmashedBatch, ...]:
    """Return the recorded batches of smashed data, in the order in which they were sent."""
    try:
        return tuple(
            SmashedBatch(
                client=facts.client,
                round=facts.round,
                tier=facts.tier,
                batch=number,
                smashed=tensors[f"batch/{position}/smashed"],
                labels=tensors[f"batch/{position}/labels"],
                packed_bytes=packed,
                labelled=facts.labelled,
            )
            for position, (number, packed) in enumerate(zip(facts.batches, facts.packed_bytes, strict=True))
        )
    except (KeyError, ValueError, IndexError) as error:
        raise _damaged(path, f"{error} is amiss") from None


def load_truth(folder: Path, round_number: int, client: int) -> Truth:
    """Return the ground truth of a client's recorded round: for judging only.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = folder / "truth" / _file_name(round_number, client)
    tensors, _ = _read(path)
    if tensors.keys() != _TRUTH_NAMES:
        raise _damaged(path, f"it holds {', '.join(sorted(tensors)) or 'nothing'}")
    images, labels, records = tensors["images"], tensors["labels"], tensors["records"]
    how_many = {tensor.shape[:1] for tensor in (images, labels, records)}
    if images.dtype not in (torch.uint8, torch.int32) or len(how_many) > 1 or torch.Size() in how_many:
        raise _damaged(path, "images, labels and records do not go together")
    return Truth(images=images, labels=labels, records=records)


def _read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    try:
        data = reading.read_bytes(path, most_bytes=LARGEST_RECORDING_BYTES)
        tensors = safetensors.torch.load(data)  # numbers only: safetensors hold no code
        header = reading.parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except FileNotFoundError:
        raise RunError(f"recorded round {path} is missing") from None
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        raise _damaged(path, reading.reason(error).partition("\n")[0]) from None
    return tensors, header.get("__metadata__") or {}


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(f"recorded round {path} is damaged ({reason}): record the run again, or delete the file")


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

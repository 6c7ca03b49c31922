"""What stands in a client store's state.json: one frozen value, strict in what it takes."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.privacy.ledger import LedgerEntries

FORMAT = 1
STATE = "state.json"
LARGEST_STATE_BYTES = 2**26
LARGEST_CONFIG = 2**20
MOST_RUNS = 10_000

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# As a server names its runs: nothing that a file system or a terminal would take amiss.
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Number = Annotated[int, Field(ge=0, le=2**53)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def digest_of(classes: Sequence[str]) -> str:
    """Return the SHA-256 of names of classes in their order, in hexadecimal."""
    return hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()


class PinnedConfig(_Strict):
    """The configuration that a client has agreed to, as the server sent it, with the digest of the run's classes."""

    sha256: Digest
    text: Annotated[str, Field(max_length=LARGEST_CONFIG)]
    classes: Digest = digest_of(())


class RunProgress(_Strict):
    """How far a client is in a run.

    Attributes:
        begun: rounds that it has begun, one that was repeated counted anew.
        round: the last one begun; 0 before the first.
        acknowledged: the last one whose update the server has acknowledged; 0 before the first.
    """

    begun: Number = 0
    round: Number = 0
    acknowledged: Number = 0


class OpenRound(_Strict):
    """A round that is under way, or was when the process ended.

    Attributes:
        key: of the memoised draws, as the ledgers have them.
        most: the most that it can release, charged before anything left.
    """

    run: RunId
    round: Number
    key: Digest
    most: LedgerEntries


class KeptMemory(_Strict):
    """What the client's defenses keep, in a file beside this one."""

    run: RunId
    round: Number
    file: Annotated[str, Field(pattern=r"^memory-[01]\.safetensors$")]
    sha256: Digest


class StoreState(_Strict):
    """All that a store knows but the secret and the memories themselves.

    Attributes:
        config: what the client has agreed to; None before its first run.
        run: the run that it took part in last; "" before the first.
        runs: how far it is in each.
        ledgers: what it has released, by the key of the memoised draws.
        open: the round under way.
        memory: of its last completed round.
        seeded: rounds with a guarantee that were begun with chance from the run's seed.
    """

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    config: PinnedConfig | None = None
    run: RunId | None = None
    runs: Annotated[dict[RunId, RunProgress], Field(max_length=MOST_RUNS)] = Field(default_factory=dict)
    ledgers: Annotated[dict[Digest, LedgerEntries], Field(max_length=MOST_RUNS)] = Field(default_factory=dict)
    open: OpenRound | None = None
    memory: KeptMemory | None = None
    seeded: Number = 0

    def write(self, folder: Path) -> None:
        """Replace the state on the disk; once this returns, it is there whatever happens.

        Raises:
            RunError: the system refuses it.
        """
        write_atomic(folder / STATE, self.model_dump_json(indent=1).encode(), private=True)

    @classmethod
    def read(cls, folder: Path) -> "StoreState | None":
        """Return the state on the disk; None where there is none yet.

        Raises:
            InputError: it is damaged.
        """
        path = folder / STATE
        try:
            text = reading.read_bytes(path, most_bytes=LARGEST_STATE_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise damaged(folder, STATE, reading.reason(error)) from None
        try:
            reading.parse_json(text)  # nesting and numbers within bounds
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "it"
            raise damaged(folder, STATE, f"{place}: {first['msg']}") from None
        except ValueError as error:
            raise damaged(folder, STATE, str(error)) from None


def damaged(folder: Path, file: str, why: str) -> InputError:
    """Return the error for a store that cannot be trusted any more."""
    return InputError(
        f"client store '{folder}' is damaged ({file}: {why}): restore it from a copy; a new store would not know what "
        "this client's data have already been spent on"
    )

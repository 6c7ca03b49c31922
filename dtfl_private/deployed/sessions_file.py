"""sessions.json in a run folder: which clients are connected, and what the server has seen of each.

The server of a deployed run writes it anew after every change, whole or not at all; `deploy status` reads it. It holds
nothing that a client has not told or shown the server, and nothing that the server acts upon.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.printable import cut, one_line

LARGEST_SESSIONS_BYTES = 2**24
MOST_CLIENTS = 100_000
LONGEST_REASON = 300

Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Speed = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Reason = Annotated[
    str,
    # Reasons may come from the other side.
    BeforeValidator(lambda text: cut(one_line(text), LONGEST_REASON) if isinstance(text, str) else text),
    Field(max_length=LONGEST_REASON + 40),
]
Address = Annotated[str, Field(max_length=300), AfterValidator(one_line)]

Phase = Literal["waiting", "training", "evaluating", "ended"]
"""What the server does: it waits for clients, trains a round, measures the network after one, or is done."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClientSession(_Strict):
    """What the server knows of one client's session.

    Attributes:
        client: its number.
        connected: whether it is connected.
        since: when that last changed; None: it was never here.
        sessions: how often it has connected.
        address: from where it is connected, or last was.
        expires: when its certificate does.
        images: how many training images it says it has.
        tier: in the last round that it was given.
        round: the number of that round; 0: none yet.
        round_s: measured by the server: from the round's opening to the client's update.
        compute_s: what the client says it computed in it, at most ``round_s``.
        down_mbit_s: measured speed of the link to the client.
        up_mbit_s: and from it.
        refused_frames: how many of its frames were refused since the server's start.
        last_error: why a frame, a round or a session of it was last given up; "" for never.
    """

    client: Number
    connected: bool
    since: AwareDatetime | None = None
    sessions: Number = 0
    address: Address = ""
    expires: AwareDatetime | None = None
    images: Number | None = None
    tier: Number | None = None
    round: Number = 0
    round_s: Seconds | None = None
    compute_s: Seconds | None = None
    down_mbit_s: Speed | None = None
    up_mbit_s: Speed | None = None
    refused_frames: Number = 0
    last_error: Reason = ""


class Sessions(_Strict):
    """What sessions.json holds.

    Attributes:
        listening: where the server listens, HOST:PORT.
        started: when it was started.
        updated: when this was written.
        phase: what the server does.
        round: the round that is open, or the last one that was.
        message: what there is to say of ``phase``, as for whom the server waits.
        clients: one for each client of the run, ascending.
        turned_away: how many connections were refused that belong to no client of the run.
        last_turned_away: why the last of them was.
    """

    schema_version: Literal[1] = 1
    listening: Address
    started: AwareDatetime
    updated: AwareDatetime
    phase: Phase
    round: Number = 0
    message: Reason = ""
    clients: Annotated[list[ClientSession], Field(max_length=MOST_CLIENTS)]
    turned_away: Number = 0
    last_turned_away: Reason = ""

    @model_validator(mode="after")
    def _each_client_once(self) -> Self:
        numbers = [client.client for client in self.clients]
        if numbers != sorted(set(numbers)):
            raise ValueError("the clients are not ascending, each once")
        return self

    @property
    def connected(self) -> Iterator[ClientSession]:
        """The clients that are connected."""
        return (client for client in self.clients if client.connected)


def write_sessions(folder: RunFolder, sessions: Sessions) -> None:
    """Replace a run's sessions.json in one step. One thread of one process may do so at a time."""
    write_atomic(folder.sessions, (sessions.model_dump_json(indent=2) + "\n").encode())


def read_sessions(folder: RunFolder) -> Sessions:
    """Return what a run's sessions.json holds, which may come from anybody.

    Raises:
        InputError: there is none: the run is not a deployed one.
        RunError: it is damaged.
    """
    try:
        return Sessions.model_validate_json(reading.read_bytes(folder.sessions, most_bytes=LARGEST_SESSIONS_BYTES))
    except FileNotFoundError:
        raise InputError(
            f"'{folder.path}' has no sessions.json: expected the run folder of a server that `deploy serve` started"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RunError(f"{folder.sessions} is damaged ({_where(first['loc'])}{first['msg']})") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.sessions} cannot be read: {reading.reason(error)}") from None


def _where(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""

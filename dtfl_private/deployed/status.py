"""How a deployed run stands: its sessions, its rounds, and whether its server is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dtfl_private.deployed.sessions_file import ClientSession, Sessions, read_sessions
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.run_folder.folder import RunFolder, in_use
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.training.round_record import Record

# An operator needs time to renew a certificate and hand it over.
EXPIRES_SOON = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a deployed run stands.

    Attributes:
        run: its folder.
        sessions: as the server last wrote them.
        running: whether a server holds the folder; None where the system cannot say.
        rounds: how many rounds the run is to have.
        target_accuracy: that is to be reached, if one is.
        records: of the finished rounds.
    """

    run: Path
    sessions: Sessions
    running: bool | None
    rounds: int
    target_accuracy: float | None
    records: Sequence[Record]

    @property
    def best(self) -> Record | None:
        """The record of the round with the highest accuracy; None before the first."""
        return max(self.records, key=lambda record: record["test_accuracy"], default=None)

    def is_connected(self, session: ClientSession) -> bool:
        """Whether a client is connected: nobody is to a server that is gone, whatever it wrote last."""
        return session.connected and self.running is not False

    def expiring(self, now: datetime) -> list[ClientSession]:
        """Return the clients whose certificates have expired, or will soon."""
        return [one for one in self.sessions.clients if one.expires is not None and one.expires - now < EXPIRES_SOON]


def read_status(path: Path) -> Status:
    """Return how the run in a folder stands; the folder may be anybody's, and is not written to.

    Raises:
        InputError: it is not there yet, no run folder, or not that of a deployed run.
        RunError: one of its files is damaged.
    """
    folder = RunFolder(path=path)
    if not path.exists():
        raise InputError(
            f"there is no run folder '{path}': a server makes it once the clients to begin with have come; until then "
            "its own lines say who has"
        )
    config = read_run_config(folder)
    sessions = read_sessions(folder)
    records, _ = read_records(folder)
    return Status(
        run=path,
        sessions=sessions,
        running=in_use(folder),
        rounds=config.rounds,
        target_accuracy=config.target_accuracy,
        records=records,
    )


def status_document(status: Status) -> dict[str, Any]:
    """Return the same for programs; clients of a server that is gone are not connected."""
    sessions = status.sessions.model_dump(mode="json")
    for shown, session in zip(sessions["clients"], status.sessions.clients, strict=True):
        shown["connected"] = status.is_connected(session)
    last, best = (status.records[-1] if status.records else None), status.best
    return {
        "server_running": status.running,
        "rounds": status.rounds,
        "finished_rounds": len(status.records),
        "target_accuracy": status.target_accuracy,
        "accuracy": last["test_accuracy"] if last else None,
        "best_accuracy": best["test_accuracy"] if best else None,
        "best_round": best["round"] if best else None,
        **sessions,
    }

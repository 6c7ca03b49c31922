"""What `deploy` shows: the folder of a project, and how a deployed run stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dtfl_private.deployed.sessions_file import ClientSession
from dtfl_private.deployed.status import Status
from dtfl_private.report.tables.plain import as_printed, plain_table
from dtfl_private.report.words.numbers import number_of

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = "-"


def progress_line(status: Status) -> str:
    """Return how far a run is, in one sentence."""
    done, best = len(status.records), status.best
    text = f"{status.run}: {done} of {number_of(status.rounds, 'round')}"
    if best is not None:
        last = status.records[-1]["test_accuracy"]
        text += f", test accuracy {last:.3f} (best {best['test_accuracy']:.3f}, round {best['round']})"
    if status.target_accuracy is not None:
        text += f", target {status.target_accuracy:g}"
    return text


def server_line(status: Status, now: datetime) -> str:
    """Return what the server does, in one sentence."""
    sessions = status.sessions
    here = sum(map(status.is_connected, sessions.clients))
    clients = f"{here} of {number_of(len(sessions.clients), 'client')} connected"
    written = f"written {_age(sessions.updated, now)} ago"
    if sessions.phase == "ended":
        return f"the server has ended ({sessions.message or 'no reason given'}); {written}"
    if status.running is False:
        return f"no server is running, its last word was '{sessions.phase}' in round {sessions.round}; {written}"
    doing = {"waiting": "waits", "training": "trains", "evaluating": "measures the network"}[sessions.phase]
    message = f" ({sessions.message})" if sessions.message else ""
    return f"the server on {sessions.listening} {doing}{message}, round {sessions.round}; {clients}; {written}"


def clients_table(status: Status, now: datetime) -> "Table":
    """Return a row for each client: its last round as the server measured it, and how many frames were refused."""
    columns = ("client", "state", "tier", "round", "took s", "compute s", "Mbit/s down, up", "refused")
    table = plain_table("", *columns)
    table.columns[1].justify = "left"
    for session in status.sessions.clients:
        table.add_row(
            str(session.client),
            _state(session, status, now),
            _number(session.tier),
            _number(session.round or None),
            _figure(session.round_s),
            _figure(session.compute_s),
            f"{_figure(session.down_mbit_s)}, {_figure(session.up_mbit_s)}",
            str(session.refused_frames),
        )
    return table


def errors_table(status: Status) -> "Table | None":
    """Return the last error of each client that had one; None if none had."""
    failed = [session for session in status.sessions.clients if session.last_error]
    if not failed:
        return None
    table = plain_table("", "client", "last error", right=False)
    for session in failed:
        table.add_row(str(session.client), as_printed(session.last_error))
    return table


def warnings(status: Status, now: datetime) -> Sequence[str]:
    """Return what the operator should do something about."""
    lines = [
        f"the certificate of client {one.client} {'has expired' if one.expires < now else 'expires'} on "
        f"{one.expires:%Y-%m-%d}: dtfl-private deploy renew PROJECT client-{one.client}"
        for one in status.expiring(now)
        if one.expires is not None
    ]
    sessions = status.sessions
    if sessions.turned_away:
        lines.append(f"{number_of(sessions.turned_away, 'connection')} turned away, last: {sessions.last_turned_away}")
    return lines


def _state(session: ClientSession, status: Status, now: datetime) -> str:
    if session.since is None:
        return "never here"
    if not status.is_connected(session):
        # Since when it is gone with its server, nobody has written down.
        return "gone" if session.connected else f"gone {_age(session.since, now)}"
    return f"here {_age(session.since, now)}"


def _age(then: datetime, now: datetime) -> str:
    """Return how long ago a time is, in one unit; 0 s if the clock that told it is ahead."""
    seconds = max(0.0, (now - then).total_seconds())
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _number(value: int | None) -> str:
    return NOTHING if value is None else str(value)


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"

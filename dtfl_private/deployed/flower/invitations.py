"""Sessions over the server's own port: Flower hands each client the address and a token, once in a run.

The server's certificate is made for the run and known to nobody before: what a client trusts comes in the same message.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from dtfl_private.deployed.flower.attendance import Attendance
from dtfl_private.deployed.flower.content import Invitation
from dtfl_private.deployed.flower.courier import Courier, Letter, Reply
from dtfl_private.deployed.flower.tokens import Tokens
from dtfl_private.deployed.project.authority import AUTHORITY_DAYS, issue_server, new_authority
from dtfl_private.deployed.project.settings import OWN_NAMES, parse_host
from dtfl_private.deployed.sessions.transport import Greet, Listening
from dtfl_private.errors import InputError

SESSION_S = 30 * 86400.0
"""For which Flower keeps a message whose answer comes when the run is over."""

AGAIN_S, REFUSED_AGAIN_S = 5.0, 60.0
"""Before a client is invited again whose session was lost, or that has refused."""

LAST_ANSWERS_S = 20.0
"""That clients have to tell Flower that they are done, once the run is over."""


@dataclass(frozen=True, kw_only=True)
class OwnCertificate:
    """By which a server shows who it is in one run, PEM; the key is not shown, and lies in no file."""

    authority_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


def own_certificate(host: str, now: datetime) -> OwnCertificate:
    """Return a new certificate of a new authority, whose key is forgotten.

    Args:
        host: under which clients reach the server.
        now: the time, with its zone.

    Raises:
        InputError: the host is none.
    """
    authority = new_authority("flower", now)
    names = list(dict.fromkeys(map(parse_host, [host, *OWN_NAMES])))
    pair = issue_server(authority, names, now, AUTHORITY_DAYS)
    return OwnCertificate(
        authority_pem=authority.pair.certificate_pem, certificate_pem=pair.certificate_pem, key_pem=pair.key_pem
    )


@dataclass(frozen=True, kw_only=True)
class Invitations:
    """Clients are invited by Flower and connect to an address (`Entrance`).

    Attributes:
        courier: to Flower.
        listen: HOST:PORT of this machine.
        reached_at: HOST:PORT under which clients reach it; port 0: the one that is listened on.
        say: called with a line for people.
        now: the time, with its zone.
    """

    courier: Courier
    listen: str
    reached_at: str
    say: Callable[[str], None]
    now: datetime

    @property
    def expires(self) -> None:
        """Never: each run has a certificate of its own."""
        return

    @property
    def turn_s(self) -> float:
        """Nothing to speak of."""
        return 0.0

    def let_in(
        self, *, clients: int, largest: int, greet: Greet, turned_away: Callable[[str], None]
    ) -> "OpenInvitations":
        """Listen, and invite each client that is online, whenever it has no session."""
        host, _, port = self.reached_at.rpartition(":")
        if not host or not port.isdecimal():
            raise InputError(f"reached-at '{self.reached_at}' is no address: expected HOST:PORT of the server")
        certificate, tokens = own_certificate(host.strip("[]"), self.now), Tokens()
        listening = Listening(
            self.listen,
            certificate,
            clients=clients,
            largest=largest,
            greet=greet,
            turned_away=turned_away,
            admission=tokens,
        )
        if port == "0":
            port = listening.address.rpartition(":")[2]
        authority = certificate.authority_pem.decode()
        opened = OpenInvitations(self, clients, listening, tokens, f"{host}:{port}", authority)
        self.courier.start(opened.attendance.seen, largest)
        return opened


class OpenInvitations:
    """Invites clients, until it is closed."""

    def __init__(
        self, entrance: Invitations, clients: int, listening: Listening, tokens: Tokens, address: str, authority: str
    ) -> None:
        self._entrance, self._listening, self._tokens = entrance, listening, tokens
        self._reached_at, self._authority = address, authority
        self.attendance = Attendance(clients, self._invite, entrance.say)

    @property
    def address(self) -> str:
        """Where it is listened."""
        return self._listening.address

    def close(self) -> None:
        """Invite nobody any more; whoever is connected says to Flower that it is done."""
        self._listening.close()
        self._entrance.courier.close(LAST_ANSWERS_S)

    def _invite(self, node: int, client: int) -> None:
        invitation = Invitation(
            client=client, address=self._reached_at, authority=self._authority, token=self._tokens.issue(client)
        )
        answered = partial(self._answered, node, client)
        letter = Letter(node=node, fields=invitation, within_s=SESSION_S, answered=answered)
        self._entrance.courier.post(letter)

    def _answered(self, node: int, client: int, reply: Reply) -> None:
        answer = reply.answer
        if answer.outcome != "ended":
            self._entrance.say(f"client {client} (node {node}): {answer.outcome}: {answer.why}")
        self.attendance.left(client, REFUSED_AGAIN_S if answer.outcome == "refused" else AGAIN_S)

"""What a client does with a message that Flower brings: one message is one session, or one turn of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dtfl_private.deployed.client.joining import OwnSide, TakingPart, ready_to_compute
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.flower.content import Answer, Invitation, Turn, read, written
from dtfl_private.deployed.flower.node_settings import own_side
from dtfl_private.deployed.flower.turns import TurnSession
from dtfl_private.deployed.sessions.admission import TokenCredentials
from dtfl_private.deployed.sessions.session import SessionLostError
from dtfl_private.deployed.sessions.transport import connect
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.frames import FIRST_LARGEST
from dtfl_private.deployed.wire.limits import LARGEST_FRAME
from dtfl_private.errors import InputError, RunError, shortened

LONGEST_REASON = 1000

Said = tuple[Answer, Sequence[bytes]]


def answer(message: Any, context: Any) -> Any:
    """Answer a message of the server's; both are Flower's, as a ``ClientApp`` gets them.

    What the client's operator decides stands in the SuperNode's own configuration; what the run's configuration of
    Flower says is the server's and is not asked.
    """
    from flwr.app import Message

    said, frames = answered(message.content, context.node_config, _say)
    _say(f"{said.outcome}: {said.why}" if said.why else said.outcome)
    return Message(written(said, frames), reply_to=message)


def answered(content: Any, node_config: Mapping[str, Any], say: Callable[[str], None]) -> Said:
    """Return what is said to the content of a message.

    Args:
        content: Flower's ``RecordDict``.
        node_config: of the SuperNode.
        say: called with lines for the operator.
    """
    try:
        fields, frames = read(content, Invitation, Turn, largest=LARGEST_FRAME)
        own = own_side(node_config)
        with ready_to_compute(own), ClientStore(own.store) as store:
            if isinstance(fields, Turn):
                return _in_turn(fields, frames, own, store, say)
            assert isinstance(fields, Invitation)  # `read` returns one of both
            return _in_session(fields, own, store, say)
    except (InputError, RunError) as error:
        return _answer("refused", str(error)), ()
    except (SessionLostError, TimeoutError, WireError) as error:
        return _answer("lost", str(error) or "the server said nothing for too long"), ()


def _in_session(invitation: Invitation, own: OwnSide, store: ClientStore, say: Callable[[str], None]) -> Said:
    """Take part as long as the session lasts."""
    credentials = TokenCredentials(authority_pem=invitation.authority.encode(), token=invitation.token)
    session, close = connect(invitation.address, credentials, FIRST_LARGEST)
    try:
        why = TakingPart(own, invitation.client, invitation.address, store, say).through(session)
        session.finish()
    finally:
        close()
    return _answer("ended", why), ()


def _in_turn(turn: Turn, frames: Sequence[bytes], own: OwnSide, store: ClientStore, say: Callable[[str], None]) -> Said:
    """Answer the frames of one turn with those of this client."""
    session = TurnSession(frames)
    try:
        why = TakingPart(own, turn.client, "the server through Flower", store, say).through(session)
    except SessionLostError:
        if not session.all_read:
            raise
        return _answer("done", ""), session.said()
    return _answer("ended", why), session.said()


def _answer(outcome: Any, why: str) -> Answer:
    return Answer(outcome=outcome, why=shortened(why, LONGEST_REASON))


def _say(line: str) -> None:
    print(f"dtfl-private: {line}", flush=True)

"""A client's own disk: what it has agreed to, what its data have been spent on, its secret, its defenses' memories.

    with ClientStore(folder) as store:
        store.agree(config_text)                 # trust on first use
        store.enter(run, terms)                  # of one run
        refusal = store.refuses(asked)           # None, or why not; nothing has been written
        store.begin(asked)                       # charged in full, on the disk: before the first message leaves
        ...
        store.settle(sent, memory=...)           # charged by what was really sent
        store.acknowledged(round)

Whenever the process is killed, the next one finds no less charged than has left.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from dtfl_private.deployed.client_store.books import total, within
from dtfl_private.deployed.client_store.kept_memory import read_memory, write_memory
from dtfl_private.deployed.client_store.locking import lock_folder
from dtfl_private.deployed.client_store.pinned_config import pinned, refused
from dtfl_private.deployed.client_store.secret import draw_secret, read_secret
from dtfl_private.deployed.client_store.state import (
    MOST_RUNS,
    OpenRound,
    PinnedConfig,
    RunProgress,
    StoreState,
    damaged,
)
from dtfl_private.deployed.client_store.terms import AskedRound, Refusal, Terms, not_agreed, overspent
from dtfl_private.errors import InputError, RunError, shortened
from dtfl_private.experiments.setup.privacy_settings import states_guarantees
from dtfl_private.files import reading
from dtfl_private.privacy.accounting import NOUNS, Statement, statements
from dtfl_private.privacy.ledger import Ledger, charge
from dtfl_private.protection.secret_randomness import SecretRandomness
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import State
from dtfl_private.randomness import Randomness, SeededRandomness

log = logging.getLogger(__name__)


class ClientStore:
    """The store of one client and its data, for all runs that it takes part in; held by one process at a time.

    Args:
        folder: of the store; made if it is not there.

    Raises:
        InputError: another process has it, it cannot be made or read, it is damaged, or others can read the secret.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held: int | None = lock_folder(self.folder)
        except OSError as error:
            raise InputError(f"client store '{folder}' cannot be made: {reading.reason(error)}") from None
        self._terms: Terms | None = None
        try:
            self._secret, self._state = self._opened()
        except OSError as error:
            self.close()
            raise InputError(f"client store '{folder}' cannot be written: {reading.reason(error)}") from None
        except BaseException:  # whatever happens: the next process must be able to open it
            self.close()
            raise

    def _opened(self) -> tuple[bytes, StoreState]:
        """Return secret and state, which are made in this order where they are not there."""
        secret, state = read_secret(self.folder), StoreState.read(self.folder)
        if state is None:
            secret, state = secret or draw_secret(self.folder), StoreState()
            state.write(self.folder)
        if secret is None:
            raise damaged(self.folder, "secret", "it is not there")
        left = state.open
        if left is not None:  # nobody knows how far it came: it stays charged in full
            log.debug("round %d of run %s was under way when the last process ended", left.round, left.run)
            state = _charged(state, left.key, left.most, open=None)
            state.write(self.folder)
        return secret, state

    def close(self) -> None:
        """Let go of the folder."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def config(self) -> PinnedConfig | None:
        """The configuration that the client has agreed to; None before its first run."""
        return self._state.config

    @property
    def last_run(self) -> str:
        """The run that the client took part in last; "" before the first."""
        return self._state.run or ""

    @property
    def progress(self) -> RunProgress:
        """How far the client is in the run that it took part in last."""
        return self._state.runs.get(self.last_run, RunProgress())

    def agree(self, text: str, classes: Sequence[str] = (), *, accept: bool = False) -> bool:
        """Agree to a server's configuration (TOML text); return whether it is a new one.

        The classes are part of it: with others, or in another order, what is drawn for labels is drawn anew.

        Args:
            text: as the server sent it.
            classes: names of the run's classes, as the server sent them.
            accept: whether the client's operator agrees to another one than before (``--accept-config``).

        Raises:
            InputError: it is no TOML, or not what the client has agreed to; what differs is named.
        """
        now, before = pinned(text, classes), self._state.config
        if before is not None and (before.sha256, before.classes) == (now.sha256, now.classes):
            return False
        if before is not None and not accept:
            raise refused(self.folder, before, now)
        self._write(config=now)
        return True

    def enter(self, run: str, terms: Terms) -> bool:
        """Take part in a run under these terms; return whether it is another one than last time.

        Raises:
            InputError: no such name of a run, more runs than a store counts, or no configuration was agreed to.
        """
        if self._state.config is None:
            raise InputError("a client takes part in a run only after it has agreed to its configuration")
        fresh = run != self._state.run
        if run not in self._state.runs and len(self._state.runs) >= MOST_RUNS:
            raise InputError(f"client store '{self.folder}' has seen {MOST_RUNS:,} runs: it counts no further")
        try:
            self._write(run=run, runs={**self._state.runs, run: self._state.runs.get(run, RunProgress())})
        except ValidationError:
            raise InputError(
                f"the server names its run '{shortened(run, 40)}', expected up to 100 letters, digits, '.', '_', '-'"
            ) from None
        self._terms = terms
        return fresh

    def refuses(self, asked: AskedRound) -> Refusal | None:
        """Return why the client takes no part in a round; None if it may.

        Nothing that a server asks for makes the client release more than its data may be spent with.
        """
        terms = self._entered()
        if self._state.open is not None:
            reason = "another round is under way"
            return Refusal(reason=reason, detail=f"{reason}: round {self._state.open.round}")
        refusal = not_agreed(asked, terms, self._state.run)
        return refusal or overspent(self.ledger, asked, terms, self.progress.begun)

    def begin(self, asked: AskedRound) -> None:
        """Charge a round with the most that it can release; once this returns, that is on the disk.

        Raises:
            InputError: the round is refused; nothing was written.
            RunError: the disk does not take it: nothing may leave.
        """
        refusal = self.refuses(asked)
        if refusal is not None:
            raise InputError(f"round {asked.round} is refused: {refusal.detail}")
        progress = RunProgress(
            begun=self.progress.begun + 1, round=asked.round, acknowledged=self.progress.acknowledged
        )
        terms = self._entered()
        opened = OpenRound(run=asked.run, round=asked.round, key=self._key(), most=terms.releases(asked))
        seeded = self._state.seeded + (terms.chance == "seeded" and bool(opened.most))
        self._write(open=opened, runs={**self._state.runs, asked.run: progress}, seeded=seeded)

    def settle(self, sent: Iterable[Guarantee], *, memory: State | None = None) -> None:
        """Close the round under way: it is charged with what was sent, instead of the most that it could release.

        Args:
            sent: what is guaranteed of the messages that have left, as ``ClientHalf.guarantees`` has it; nothing if
                none has.
            memory: what the client's defenses keep, if it completed the round; None leaves what they kept before.

        Raises:
            RunError: no round is under way, more was sent than was charged, or the disk does not take it: it stays
                charged in full.
        """
        opened, sent = self._state.open, tuple(sent)
        if opened is None:
            raise RunError("no round is under way that could be settled")
        if not within(sent, opened.most):
            raise RunError(
                f"round {opened.round} released more than it was charged with before: it stays charged in full, and "
                "this client must not go on"
            )
        kept = self._state.memory
        if memory is not None:
            with _disk(self.folder):
                kept = write_memory(self.folder, opened.run, opened.round, memory, kept)
        settled = _charged(self._state, opened.key, sent, open=None, memory=kept)
        self._write(**{name: getattr(settled, name) for name in ("ledgers", "open", "memory")})

    def acknowledged(self, number: int) -> None:
        """Note that the server has acknowledged the update of a round."""
        self._entered()
        progress = self.progress.model_copy(update={"acknowledged": number})
        self._write(runs={**self._state.runs, self.last_run: progress})

    @property
    def memory(self) -> State:
        """What the client's defenses keep of this run: of the last round that it completed; empty before.

        Raises:
            InputError: it is damaged.
        """
        kept = self._state.memory
        return {} if kept is None or kept.run != self._state.run else read_memory(self.folder, kept)

    @property
    def ledger(self) -> Ledger:
        """All that the client has released, in all its runs, and of a round under way the most that it can release."""
        state = self._state
        if state.open is not None:
            state = _charged(state, state.open.key, state.open.most)
        return total(state.ledgers, "" if self._terms is None else self._key())

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What may be said of all that the client has released, with its epsilons."""
        seeded = self._state.seeded
        return tuple(_void(each, seeded) if seeded else each for each in statements(self.ledger))

    def randomness(self, seed: int) -> Randomness:
        """Return the client's chance in the run that it has entered: secret, unless its terms say seeded."""
        if self._entered().chance == "seeded":
            return SeededRandomness(seed)
        return SecretRandomness(self._secret, self._key())

    @property
    def chance_line(self) -> str:
        """Where chance comes from in the run that was entered, for the client's operator."""
        terms = self._entered()
        if terms.chance == "secret":
            return "noise, samples and orders come from this machine: the server cannot repeat them"
        line = "noise, samples and orders come from the run's seed, which the server knows (chance seeded)"
        return f"{line}: no guarantee of a defense holds" if states_guarantees(terms.privacy.defense) else line

    def _key(self) -> str:
        config = self._state.config
        if config is None:
            raise RuntimeError("no configuration was agreed to")
        return self._entered().draw_key(f"{config.sha256} {config.classes}")

    def _entered(self) -> Terms:
        if self._terms is None:
            raise RuntimeError("enter a run first")
        return self._terms

    def _write(self, **changes: Any) -> None:
        """Change the state, on the disk first; where that fails it stays as it was."""
        state = StoreState.model_validate({**vars(self._state), **changes})
        with _disk(self.folder):
            state.write(self.folder)
        self._state = state


def _void(statement: Statement, rounds: int) -> Statement:
    """Return a statement that no longer holds, as the server knew the chance of some rounds."""
    sentence = (
        f"{NOUNS[statement.what]}: no guarantee over all rounds: in {rounds} of them chance came from the run's seed, "
        "which the server knows"
    )
    return Statement(what=statement.what, epsilon=None, delta=None, per=None, sentence=sentence)


def _charged(state: StoreState, key: str, releases: Iterable[Guarantee], **changes: Any) -> StoreState:
    """Return the state with these releases in the ledger of a key."""
    ledgers = dict(state.ledgers)
    charged = charge(ledgers.get(key, ()), releases)
    if charged:
        ledgers[key] = charged
    return state.model_copy(update={"ledgers": ledgers, **changes})


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Say in one line what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise RunError(f"client store '{folder}' cannot be written: {reading.reason(error)}") from None

"""Callbacks: objects that hear how trainings, attacks, audits and sweeps proceed.

A training tells of its rounds. All else consists of jobs, which have labels: an attack at a tier with a seed, a measure
at a tier, a training that an audit needs, a run of a sweep.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from dtfl_private.errors import CallbackError, DtflError, InputError, nearest_name
from dtfl_private.printable import printable
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.round_record import Record


class StopTraining(Exception):  # noqa: N818 - no error: as StopIteration, it ends something that went well
    """Raised by a callback to end its training after the finished round; its text is why, for people and summary.json.

    It may be raised in `Callback.round_finished`, and in `Callback.run_started` of a run that has finished rounds.
    """


class Callback:
    """Hears how work proceeds. Every event does nothing unless a subclass says otherwise.

    A method of a subclass that is spelled much like an event, or begins with ``on_`` as events of other libraries do,
    is refused when the class is defined, as it would never be called; so is an event that does not take what it passes.
    What a callback raises stops the work, and what is on disk can be resumed.
    """

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        for name, method in vars(cls).items():
            if isinstance(method, FunctionType) and not name.startswith("_"):
                _require_event(cls, name, method)

    def note(self, text: str) -> None:
        """Called with a line that the user should see."""

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Called before the first round of a training, or before the next one when it is resumed.

        Args:
            folder: of the run.
            rounds: in all.
            records: of the rounds that were finished before.
            describe: returns lines that say what is about to be done, and what of it leaves the clients.
        """

    def round_planned(self, plan: RoundPlan) -> None:
        """Called when a round is scheduled."""

    def client_trained(self, client: int) -> None:
        """Called when a client's part of a round is done."""

    def round_finished(self, record: Record) -> None:
        """Called with the record of each finished round, the line of rounds.jsonl, once it is on disk."""

    def run_finished(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Called when a training has ended and all of it is written: its folder, and what summary.json holds."""

    def jobs_expected(self, count: int) -> None:
        """Called with about how many jobs there will be in all, where that is known before the jobs are."""

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Called with the labels of jobs to come, and with how many steps each of them has if that is known."""

    def job_started(self, job: str) -> None:
        """Called when a job begins; several may run at once."""

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Called while a job runs: steps done, steps in all, and what it has reached in words."""

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Called when a job is done.

        Args:
            job: its label.
            cached: nothing had to be computed, for its result was there.
            error: why it failed, or None.
        """

    def ended(self, error: BaseException | None) -> None:
        """Called last of all, however the call that was given this callback ends: to close files, or a display.

        Args:
            error: what ended it, also where the user interrupted it; None if it is done.
        """


EVENTS = tuple(name for name in vars(Callback) if not name.startswith("_"))
"""The events that a callback may hear."""


LIKE_AN_EVENT = 0.7
"""How much alike a name and an event's are (`difflib`, 0..1) from which on the event is meant."""


def _require_event(cls: type, name: str, method: FunctionType) -> None:
    """Raise `InputError` if a method is a misspelt event, or one that cannot be called as the event is."""
    if name not in EVENTS:
        near = nearest_name(name.removeprefix("on_"), EVENTS, likeness=LIKE_AN_EVENT)
        if near is None and not name.startswith("on_"):
            return  # a method of its own
        hint = "" if near is None else f"did you mean '{near}'? "
        rule = "begin the name of a method of your own with an underscore"
        line = f"'{name}' is no event: {hint}known: {', '.join(EVENTS)}; {rule}"
        raise InputError(f"callback {cls.__name__}: {line}")
    signature = inspect.signature(getattr(Callback, name))
    parameters = signature.parameters.values()
    given = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    by_name = {one.name: None for one in parameters if one.kind is one.KEYWORD_ONLY}
    try:
        inspect.signature(method).bind(*given, **by_name)
    except TypeError as error:
        raise InputError(f"callback {cls.__name__}: {name} must take {signature}: {error}") from None


class Callbacks(Callback):
    """Several callbacks as one: each event goes to all of them, in their order.

    Attributes:
        stop: why the training is to end after the finished round, as a callback says; None if none does.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = tuple(callbacks)
        self._rounds = 0
        self.stop: str | None = None

    def _tell(self, event: str, *values: Any, **named: Any) -> None:
        """Call an event of all callbacks; all of them hear it, also if one of them ends the training.

        Each has its own copy of records, plans and summaries: what it does to them changes no result.
        """
        for callback in self._callbacks:
            try:
                getattr(callback, event)(*map(_own, values), **named)
            except StopTraining as stop:
                self._keep(stop, callback, event, values)
            except DtflError:
                raise
            except Exception as error:  # a callback is anybody's code and may raise anything
                raise _failed(callback, event, error) from error

    def _keep(self, stop: StopTraining, callback: Callback, event: str, values: Sequence[Any]) -> None:
        """Keep the first reason to stop.

        Raises:
            CallbackError: there is no finished round to stop after.
        """
        if event != "round_finished" and not (event == "run_started" and values[2]):
            raise _failed(callback, event, stop) from stop
        self.stop = self.stop or printable(str(stop)) or f"{type(callback).__name__} says so"

    def ended(self, error: BaseException | None) -> None:
        """Tell all callbacks that it is over; where something failed already, another failure is told along with it."""
        for callback in self._callbacks:
            try:
                callback.ended(error)
            except Exception as another:  # a callback is anybody's code and may raise anything
                if error is None:
                    raise _failed(callback, "ended", another) from another
                error.add_note(str(_failed(callback, "ended", another)))


def _own(value: Any) -> Any:
    """Return what a callback is passed: a copy of what it could change."""
    return copy.deepcopy(value) if isinstance(value, dict | list | RoundPlan) else value


def _telling(event: str) -> Callable[..., None]:
    def tell(self: Callbacks, *values: Any, **named: Any) -> None:
        self._tell(event, *values, **named)

    return tell


for _event in set(EVENTS) - {"ended"}:
    setattr(Callbacks, _event, _telling(_event))


def _failed(callback: Callback, event: str, error: Exception) -> CallbackError:
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    return CallbackError(f"callback {type(callback).__name__} failed in {event}: {what}; what was finished is kept")


@contextmanager
def told(callbacks: Sequence[Callback]) -> Iterator[Callbacks]:
    """Yield what tells callbacks of the work inside the block, and tell them when it is over, however it ends.

    Raises:
        InputError: one of them is no callback.
    """
    listener = Callbacks(_checked(callbacks))
    try:
        yield listener
    except BaseException as error:  # Ctrl-C too: files and displays are to be closed; it is raised again
        listener.ended(error)
        raise
    listener.ended(None)


def _checked(callbacks: Sequence[Callback]) -> Sequence[Callback]:
    if isinstance(callbacks, Callback):
        raise InputError(f"callbacks is a {type(callbacks).__name__}, expected a sequence: write callbacks=[...]")
    for callback in callbacks:
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise InputError(f"callbacks holds the class {callback.__name__}: give an object, {callback.__name__}(...)")
        if not isinstance(callback, Callback):
            raise InputError(f"callbacks holds a {type(callback).__name__}, expected objects of dtfl_private.Callback")
    return callbacks

import inspect

import pytest

from dtfl_private.errors import CallbackError, InputError, RunError
from dtfl_private.runtime.callback import EVENTS, Callback, Callbacks, StopTraining, told


def arguments(event):
    """Return what an event passes: a text for each value, and what is passed by name."""
    parameters = inspect.signature(getattr(Callback(), event)).parameters.values()
    by_name = {one.name: one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    return [one.name for one in parameters if one.name not in by_name], by_name


def hears(name, heard, raises=None):
    """Return a callback that keeps the events it hears, with what they pass, and may raise something."""

    def hearing(event):
        def hear(_, *values, **named):
            heard.append((name, event, values, named))
            if raises is not None:
                raise raises

        return hear

    return type(name, (Callback,), {event: hearing(event) for event in EVENTS})()


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_reaches_all_callbacks_in_their_order_and_by_itself_does_nothing(event):
    values, named = arguments(event)
    assert getattr(Callback(), event)(*values, **named) is None
    heard = []
    getattr(Callbacks([hears("first", heard), hears("second", heard)]), event)(*values, **named)
    assert heard == [(name, event, tuple(values), named) for name in ("first", "second")]


class Methods:
    """Methods that a callback may have; they take other things than each event passes."""

    def nothing(self):
        pass

    def two(self, record, other):
        pass

    def by_name(self, *, record):
        pass

    def another_name(self, line):
        pass

    def anything(self, *values, **named):
        pass

    def more(self, record, more=1):
        pass


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("round_finnished", "round_finished"),
        ("roundFinished", "round_finished"),
        ("on_job_started", "job_started"),
        ("started", "run_started"),
    ],
)
def test_a_misspelt_event_is_refused_when_the_class_is_defined(misspelt, meant):
    with pytest.raises(InputError) as refused:
        type("Mine", (Callback,), {misspelt: Methods.another_name})
    assert str(refused.value).startswith(f"callback Mine: '{misspelt}' is no event: did you mean '{meant}'? known: ")


def test_an_event_of_another_library_is_refused_too_as_nobody_would_call_it():
    with pytest.raises(InputError, match=r"'on_epoch_end' is no event: known: note, run_started, .* an underscore"):
        type("Mine", (Callback,), {"on_epoch_end": Methods.nothing})


def test_what_is_unlike_any_event_may_have_any_name():
    class Mine(Callback):
        limit = 3
        key = len

        def _help(self) -> int:
            return self.limit

        @property
        def threshold(self) -> int:
            return self._help()

        @staticmethod
        def of(text: str) -> str:
            return text

        def pace(self) -> int:
            return self.threshold

        def finished_rounds(self) -> int:
            return 0

    assert Mine().pace() == 3


@pytest.mark.parametrize("method", [Methods.nothing, Methods.two, Methods.by_name])
def test_an_event_that_cannot_be_called_with_what_it_passes_is_refused(method):
    with pytest.raises(InputError, match=r"callback Mine: round_finished must take \(self, record: "):
        type("Mine", (Callback,), {"round_finished": method})


@pytest.mark.parametrize("method", [Methods.another_name, Methods.anything, Methods.more])
def test_a_method_may_call_what_it_takes_as_it_likes(method):
    type("Mine", (Callback,), {"round_finished": method})().round_finished({})


def test_what_a_callback_raises_stops_the_work_and_names_it():
    heard = []
    listener = Callbacks([hears("Mine", heard, ValueError("line 1\nline 2")), hears("Other", heard)])
    with pytest.raises(CallbackError) as failed:
        listener.job_started("decoder")
    assert str(failed.value) == (
        "callback Mine failed in job_started: ValueError: line 1 line 2; what was finished is kept"
    )
    assert isinstance(failed.value, RunError)
    assert [name for name, *_ in heard] == ["Mine"]


@pytest.mark.parametrize("error", [RunError("its own line"), InputError("its own line"), KeyboardInterrupt()])
def test_an_error_that_has_its_own_line_and_an_interruption_pass_as_they_are(error):
    with pytest.raises(type(error)) as raised:
        Callbacks([hears("Mine", [], error)]).note("a line")
    assert raised.value is error


def test_a_training_is_stopped_after_a_round_of_which_all_have_heard_and_the_first_reason_counts():
    heard = []
    first, second = (hears(name, heard, StopTraining(name)) for name in ("first", "second"))
    listener = Callbacks([first, second, hears("third", heard)])
    assert listener.stop is None
    listener.round_finished({"round": 1})
    assert listener.stop == "first"
    assert [name for name, *_ in heard] == ["first", "second", "third"]


def test_the_reason_to_stop_is_shown_safely_and_has_a_default():
    for reason, shown in (("\x1b[2J", r"\x1b[2J"), ("", "Mine says so")):
        listener = Callbacks([hears("Mine", [], StopTraining(reason))])
        listener.run_started("run", 3, [{"round": 1}], list)
        assert listener.stop == shown


@pytest.mark.parametrize("event", sorted({*EVENTS} - {"round_finished", "ended"}))
def test_where_no_round_is_finished_nothing_can_be_stopped(event):
    values, named = arguments(event)
    if event == "run_started":
        values[2] = []
    with pytest.raises(CallbackError, match=f"callback Mine failed in {event}: StopTraining: enough"):
        getattr(Callbacks([hears("Mine", [], StopTraining("enough"))]), event)(*values, **named)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), RunError("it failed")])
def test_callbacks_are_told_how_it_ended(error):
    heard = []

    def work():
        with told([hears("Mine", heard), hears("Other", heard)]) as listener:
            listener.note("a line")
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    assert [event for _, event, *_ in heard] == ["note", "note", "ended", "ended"]
    assert all(values == (error,) for _, _, values, _ in heard[2:])


class ClosesBadly(Callback):
    def ended(self, error):
        raise OSError("disk full")


def test_a_failure_to_close_is_told_and_never_hides_why_the_work_failed():
    with (
        pytest.raises(CallbackError, match="callback ClosesBadly failed in ended: OSError: disk full"),
        told([ClosesBadly()]),
    ):
        pass
    with pytest.raises(RunError, match="it failed") as failed, told([ClosesBadly()]):
        raise RunError("it failed")
    assert "ClosesBadly failed in ended" in failed.value.__notes__[0]


@pytest.mark.parametrize(
    ("callbacks", "line"),
    [
        ([Callback], r"callbacks holds the class Callback: give an object, Callback\(...\)"),
        ([print], "callbacks holds a builtin_function_or_method, expected objects of dtfl_private.Callback"),
        (Callback(), r"callbacks is a Callback, expected a sequence: write callbacks=\[...\]"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, line):
    with pytest.raises(InputError, match=line), told(callbacks):
        raise AssertionError


def test_what_a_callback_does_to_what_it_hears_reaches_nobody_else():
    class Spoils(Callback):
        def run_started(self, folder, rounds, records, describe):
            records.append(1)

        def round_finished(self, record):
            record["bytes"]["up"] = 0

        def run_finished(self, folder, summary):
            summary["best_accuracy"] = 1.0

    record, heard = {"bytes": {"up": 7}}, []
    records, summary = [record], {"best_accuracy": 0.5}
    listener = Callbacks([Spoils(), hears("after", heard)])
    listener.run_started("folder", 2, records, None)
    listener.round_finished(record)
    listener.run_finished("folder", summary)
    assert (record, records, summary) == ({"bytes": {"up": 7}}, [record], {"best_accuracy": 0.5})
    assert [values for _, _, values, _ in heard] == [("folder", 2, records, None), (record,), ("folder", summary)]

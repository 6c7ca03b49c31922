"""Traces in FedScale's layout; the entries of the file are those that its documentation and users show."""

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.errors import InputError
from dtfl_private.simulation.clients.availability import ActiveSpans, Availability, first_there
from dtfl_private.simulation.clients.traces import (
    TracesSource,
    load_traces,
    traced_availability,
    traced_profiles,
    with_hash,
)

FILE = Path(__file__).parent / "traces" / "two_devices.json"
TABLES = json.loads(FILE.read_text())


def test_the_published_layout_is_read_in_its_units():
    traces = load_traces(TracesSource.parse(str(FILE)))
    assert [(one.name, one.inference_ms, one.kbit_s) for one in traces.devices] == [
        ("device 432802", 162.0, 5648.109619499134),
        ("device 7", 30.0, 20000.0),
    ]
    assert [one.period_s for one in traces.spans] == [518400, 518400, 432000]
    assert traces.spans[0].begins_s.tolist() == TABLES["client_behave_trace"]["3834"]["active"]
    assert traces.spans[0].ends_s.tolist() == TABLES["client_behave_trace"]["3834"]["inactive"]


def test_a_device_computes_mobilenet_in_its_milliseconds_whatever_the_reference_cpu_is():
    traces = load_traces(TracesSource.parse(str(FILE)))
    for macs_per_s in (15e9, 2e9):
        by_name = {one.name: one for one in traced_profiles(traces, 5, macs_per_s, seed=0)}
        assert len(by_name) == 2
        for name, ms, kbit_s in (("device 432802", 162.0, 5648.109619499134), ("device 7", 30.0, 20000.0)):
            assert 300e6 / (by_name[name].cpus * macs_per_s) == pytest.approx(ms / 1e3)
            assert by_name[name].up_mbit_s == by_name[name].down_mbit_s == pytest.approx(kbit_s / 1e3)
    with pytest.raises(InputError, match=r"cpu_gmacs 1e-12 makes device .* reference CPUs: expected"):
        traced_profiles(load_traces(TracesSource.parse(str(FILE))), 2, 1e-3, seed=0)


def test_fewer_clients_than_devices_have_different_ones_and_another_seed_others(tmp_path):
    capacity = {str(number): {"computation": number + 1, "communication": 1} for number in range(50)}
    (tmp_path / "t.json").write_text(json.dumps({"client_device_capacity": capacity}))
    traces = load_traces(TracesSource.parse(str(tmp_path / "t.json")))
    drawn = [{one.name for one in traced_profiles(traces, 10, 15e9, seed)} for seed in range(3)]
    assert [len(names) for names in drawn] == [10, 10, 10]
    assert len(set(map(frozenset, drawn))) == 3
    assert traced_availability(traces, 10, 0) is None


def is_active(entry: dict[str, Any], time_s: float) -> bool:
    """FedScale's rule in plain words: between a begin and the end beside it, both included, in the repeated trace."""
    inside = time_s % entry["finish_time"]
    return any(begin <= inside <= end for begin, end in zip(entry["active"], entry["inactive"], strict=True))


def spans_of(entry: dict[str, Any]) -> ActiveSpans:
    begins, ends = np.array(entry["active"], float), np.array(entry["inactive"], float)
    return ActiveSpans(period_s=entry["finish_time"], begins_s=begins, ends_s=ends)


@st.composite
def entries(draw: Any) -> dict[str, Any]:
    """Draw the trace of a device over at most 60 s, with spans in any order that may lie beyond its period."""
    spans = draw(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 9)), min_size=0, max_size=4))
    begins, ends = [begin for begin, _ in spans], [begin + length for begin, length in spans]
    return {"active": begins, "inactive": ends, "finish_time": draw(st.integers(1, 60))}


@given(st.lists(entries(), min_size=1, max_size=4), st.integers(0, 200), st.data())
def test_who_is_there_is_what_a_slow_reader_of_the_trace_says(devices, now, data):
    willing = np.array(data.draw(st.lists(st.booleans(), min_size=len(devices), max_size=len(devices))))
    there, wait_s = first_there(Availability.of([spans_of(entry) for entry in devices]), willing, float(now))
    # Whole seconds: one after the other until somebody is there, for as long as it can take.
    for second in range(now, now + 61):
        expected = [wanted and is_active(entry, second) for wanted, entry in zip(willing, devices, strict=True)]
        if any(expected):
            assert (there.tolist(), wait_s) == (expected, second - now)
            return
    assert (there.any(), wait_s) == (False, 0.0)


def test_a_span_has_its_begin_and_its_end():
    availability = Availability.of([spans_of(TABLES["client_behave_trace"]["3834"])])
    waits = [float(availability.waits_s(now)[0]) for now in (12787.0, 12788.0, 65881.0, 65882.0, 518400.0 + 65881)]
    assert waits == [1.0, 0.0, 0.0, 100044 - 65882, 0.0]


def test_clients_that_come_at_the_same_moment_begin_together_in_spite_of_rounding():
    spans = [ActiveSpans(period_s=period, begins_s=np.array([0.3]), ends_s=np.array([0.3])) for period in (1.0, 0.7)]
    availability = Availability.of(spans)
    for repetition in range(1, 50):
        now_s = 7.0 * repetition - 0.05
        there, wait_s = first_there(availability, np.array([True, True]), now_s)
        assert there.all()
        assert wait_s == pytest.approx(0.35)


def test_every_client_has_a_trace_and_nobody_ever_there_is_refused(tmp_path):
    availability = traced_availability(load_traces(TracesSource.parse(str(FILE))), 8, seed=1)
    assert availability is not None
    assert len(availability.period_s_K) == 8
    assert np.isfinite(availability.waits_s(0.0)).all()
    never = {"a": {"active": [9], "inactive": [9], "finish_time": 5}}
    (tmp_path / "t.json").write_text(json.dumps({"client_behave_trace": never}))
    with pytest.raises(InputError, match="none of the 3 clients is ever there"):
        traced_availability(load_traces(TracesSource.parse(str(tmp_path / "t.json"))), 3, 0)


def spoilt(**changes: Any) -> bytes:
    return json.dumps({"client_behave_trace": {"9": {**TABLES["client_behave_trace"]["3834"], **changes}}}).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pickle.dumps({1: 2}), "it is a pickle, which can run any code and is never read: convert it where you trust"),
        (b"{}", "expected an object with the keys client_device_capacity and client_behave_trace"),
        (b"[]", "expected an object with the keys"),
        (b'{"capacity": {}}', "expected an object with the keys"),
        (b'{"client_device_capacity": {}}', "client_device_capacity is {}: expected an object with an entry for each"),
        (b'{"client_device_capacity": {"1": 3}}', "client_device_capacity.1 is 3: expected an object"),
        (b'{"client_device_capacity": {"1": {}, "1": {}}}', "a key stands twice"),
        (b'{"client_device_capacity": {"1": {"computation": 5}}}', "1.communication is missing: expected a number"),
        (b'{"client_device_capacity": {"1": {"computation": 0, "communication": 1}}}', "1.computation is 0: expected"),
        (b'{"client_device_capacity": {"1": {"computation": true, "communication": 1}}}', "computation is True"),
        (b'{"client_device_capacity": {"1": {"computation": NaN, "communication": 1}}}', "NaN is no JSON number"),
        (spoilt(active=[1, 2]), "client_behave_trace.9 has 2 times in active and 8 in inactive: expected as many"),
        (spoilt(active=[1], inactive=[0]), "9.inactive.0 is 0, before active.0 1"),
        (spoilt(active="now"), "9.active is 'now': expected a list of seconds"),
        (spoilt(active=[-1], inactive=[2]), "9.active.0 is -1: expected seconds from 0 to 1e\\+09"),
        (spoilt(finish_time=0), "9.finish_time is 0: expected a number from 1 to 1e\\+09"),
        (spoilt(inactive=None), "9.inactive is missing"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, data, said):
    (tmp_path / "t.json").write_bytes(data)
    with pytest.raises(InputError, match=said) as refused:
        load_traces(TracesSource.parse(str(tmp_path / "t.json")))
    assert "\n" not in str(refused.value)


def test_a_file_is_known_by_its_hash(tmp_path):
    path = tmp_path / "a:b.json"
    path.write_bytes(FILE.read_bytes())
    named = with_hash(str(path))
    source = TracesSource.parse(named)
    assert (str(source), source.path) == (named, path)
    assert load_traces(source).devices[1].inference_ms == 30.0
    path.write_text(FILE.read_text().replace("30.0", "31.0"))
    with pytest.raises(
        InputError, match=r"has SHA-256 [0-9a-f]{64}, not .*: name the file that the run was begun with"
    ):
        load_traces(source)
    assert load_traces(TracesSource.parse(str(path))).devices[1].inference_ms == 31.0
    assert with_hash(str(path)) != named


@pytest.mark.parametrize("text", ["", " ", "t.json:sha256=12", "t.json:sha256=" + "g" * 64])
def test_a_source_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="is refused: expected FILE"):
        TracesSource.parse(text)


def test_waits_are_never_negative_and_end_within_a_period():
    availability = Availability.of([spans_of(entry) for entry in TABLES["client_behave_trace"].values()])
    for now_s in np.linspace(0, 3e6, 200):
        wait_s_K = availability.waits_s(float(now_s))
        assert (wait_s_K >= 0).all()
        assert (wait_s_K < availability.period_s_K).all()
        assert not math.isnan(wait_s_K.sum())

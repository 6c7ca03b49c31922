import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import a_record

from dtfl_private.errors import RunError
from dtfl_private.experiments.run_folder import rounds_file
from dtfl_private.experiments.run_folder.rounds_file import append_record, keep_records, read_records


def test_records_are_appended_one_line_each_and_read_back(folder):
    assert read_records(folder) == ([], None)
    lines = [a_record(1), a_record(2, local_loss=None)]
    for number, line in enumerate(lines, start=1):
        append_record(folder, line)
        assert folder.rounds.read_text().count("\n") == number
    assert read_records(folder) == (lines, None)


def test_a_number_that_json_lacks_is_never_written(folder):
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            append_record(folder, a_record(1, test_loss=bad))
    assert read_records(folder) == ([], None)


@pytest.mark.parametrize("keep", [1, 40, -2, -1])
def test_a_torn_last_line_is_said_and_dropped(folder, keep):
    append_record(folder, a_record(1))
    whole = folder.rounds.read_bytes()
    append_record(folder, a_record(2))
    torn = folder.rounds.read_bytes()[len(whole) :][:keep]
    folder.rounds.write_bytes(whole + torn)
    records, remark = read_records(folder)
    assert records == [a_record(1)]
    assert remark == "the last line of rounds.jsonl was torn and is dropped"
    keep_records(folder, records)
    assert folder.rounds.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"[]", ""),
        (json.dumps(a_record(3)).encode(), "it is of round 3"),
        (json.dumps(a_record(2, bytes=None)).encode(), "bytes"),
        (json.dumps(a_record(2, test_loss=math.nan)).encode(), "test_loss"),
        (json.dumps({"round": 2}).encode(), "test_accuracy"),
        (json.dumps(a_record(2, more=1)).encode(), "more"),
    ],
)
def test_a_line_that_is_damaged_before_the_last_is_an_error_that_names_it(folder, line, said):
    whole = [json.dumps(a_record(number)).encode() for number in (1, 3)]
    folder.rounds.write_bytes(b"\n".join([whole[0], line, whole[1], b""]))
    with pytest.raises(RunError, match=rf"rounds.jsonl is damaged in line 2 \(.*{said}") as caught:
        read_records(folder)
    assert "\n" not in str(caught.value)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.floats(allow_nan=False, allow_infinity=False), count=st.integers(0, 2**60))
def test_rewriting_records_changes_no_bit_of_them(folder, value, count):
    # A resume reads the records and writes them again; it must end with the bytes of the uninterrupted run.
    line = a_record(
        1, test_loss=value, client_time_s={"0": value / 3, "3": -value}, macs={"client": count, "server": 1}
    )
    folder.rounds.unlink(missing_ok=True)
    append_record(folder, line)
    before = folder.rounds.read_bytes()
    keep_records(folder, read_records(folder)[0])
    assert folder.rounds.read_bytes() == before


def test_a_line_beyond_the_bound_is_refused_before_the_next_is_read(folder, monkeypatch):
    monkeypatch.setattr(rounds_file, "LARGEST_RECORD_BYTES", 100)
    folder.rounds.write_bytes(b"x" * 101 + b"\n" * 1000)
    with pytest.raises(RunError, match=r"a line of more than 0 MiB\): start again"):
        read_records(folder)

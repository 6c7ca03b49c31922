import os
from pathlib import Path

import pytest

from dtfl_private.experiments.config.toml_files import read_toml
from dtfl_private.files import reading

READERS = [reading.read_bytes, reading.read_text, reading.read_json, reading.read_toml, reading.require_regular]


def refusal(read, path: Path, most_bytes: int = 2**20) -> str:
    with pytest.raises((OSError, ValueError)) as error:
        read(path, most_bytes=most_bytes)
    return reading.reason(error.value)


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_or_a_device_is_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        assert refusal(read, path) == "not a regular file but a pipe, device or socket: put its content into a file"
    assert refusal(read, tmp_path) == "Is a directory"
    assert refusal(read, tmp_path / "none") == "No such file or directory"


@pytest.mark.parametrize("read", READERS)
def test_a_sparse_file_is_refused_by_its_size(tmp_path, read):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(20 * 10**9)
    assert refusal(read, tmp_path / "large") == "larger than 1 MiB"
    assert refusal(read, tmp_path / "large", 5 * 2**28) == "larger than 1.25 GiB"


def test_a_pipe_put_in_the_place_of_a_file_meanwhile_is_refused_too(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    whole = (tmp_path / "file").stat()
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Path, "stat", lambda _path, **_settings: whole)
        assert refusal(reading.read_bytes, tmp_path / "file").startswith("not a regular file")


def test_a_file_of_unknown_size_is_read_to_the_limit_only():
    # The system says 0 bytes of files in /proc, and regular.
    assert refusal(reading.read_bytes, Path("/proc/self/status"), 10) == "larger than 10 bytes"
    assert b"Name:" in reading.read_bytes(Path("/proc/self/status"), most_bytes=2**20)


def test_a_link_to_a_file_is_followed_and_exactly_the_limit_is_let_pass(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert reading.read_bytes(tmp_path / "link", most_bytes=5) == b"12345"
    assert refusal(reading.read_bytes, tmp_path / "link", 4) == "larger than 4 bytes"


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbfrounds = 3\n")
    assert read_toml(path) == {"rounds": 3}
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert reading.read_json(path, most_bytes=100) == {"a": 1}
    path.write_bytes("rounds = 3".encode("utf-16"))
    assert refusal(reading.read_toml, path) == "not UTF-8 text (byte 0xff at position 0): save it as UTF-8"


@pytest.mark.parametrize("levels", [65, 500, 100_000])
@pytest.mark.parametrize(("begin", "end"), ["[]", ('{"a":', "}")])
def test_json_that_is_nested_deep_is_refused(begin, end, levels):
    inside = "1" if end == "}" else ""
    for text in (begin * levels + inside + end * levels, begin * 100_000):
        with pytest.raises(ValueError, match="nested more than 64 levels deep"):
            reading.parse_json(text.encode())


def test_json_of_the_most_nesting_is_read():
    assert reading.parse_json(b"[" * 64 + b"]" * 64) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[NaN]", "NaN is no JSON number"),
        ("-Infinity", "-Infinity is no JSON number"),
        ("1e999", "1e999 is beyond the largest number"),
        ("9" * 401, "an integer of 401 digits"),
        ("9" * 100_000, "an integer of 100,000 digits"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_none_or_holds_no_number_is_refused(text, said):
    with pytest.raises(ValueError, match=said) as error:
        reading.parse_json(text.encode())
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{b = " * 10_000,
        ".".join("a" * 100_000) + " = 1",  # the parser's time grows with the square of its parts
        "[" + ".".join("a" * 65) + "]",
        '[ "a" . b' + " . 'c'" * 64 + "]",
        "a = " + "[" * 65 + "]" * 65,
    ],
)
def test_toml_without_end_is_refused(tmp_path, text):
    (tmp_path / "c.toml").write_text(text)
    assert refusal(reading.read_toml, tmp_path / "c.toml") == "nested more than 64 levels deep"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" + ".".join("a" * 63) + "]", None),
        ("a = [" + ", ".join(["0.5"] * 1000) + "]", {"a": [0.5] * 1000}),
        ('a = "' + "a word. " * 1000 + '"', {"a": "a word. " * 1000}),
        ("# " + "." * 1000 + "\na = 1", {"a": 1}),
    ],
)
def test_many_points_are_no_nesting(tmp_path, text, value):
    (tmp_path / "c.toml").write_text(text)
    read = reading.read_toml(tmp_path / "c.toml", most_bytes=2**20)
    assert value is None or read == value


@pytest.mark.parametrize("nested", ["{}", "[[{}]]", "{{a = {}}}"])
def test_integers_and_texts_of_toml_are_bounded_wherever_they_stand(tmp_path, nested):
    path = tmp_path / "x.toml"
    most, longest = reading.LARGEST_TOML_INTEGER, reading.LONGEST_TOML_TEXT
    for fine in (most, -most - 1, "'" + "x" * longest + "'"):
        path.write_text("a = " + nested.format(fine))
        reading.read_toml(path, most_bytes=2**20)
    for beyond, said in (
        (most + 1, "an integer of more than 64 bits"),
        (-most - 2, "an integer of more than 64 bits"),
        ("0x" + "f" * 5000, "an integer of more than 64 bits"),  # Python reads it, and cannot write it in decimals
        ("'" + "x" * (longest + 1) + "'", "a text of 10,001 characters"),
    ):
        path.write_text("a = " + nested.format(beyond))
        assert refusal(reading.read_toml, path) == said

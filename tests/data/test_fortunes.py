"""Sayings by topic, from small files in the layout of Debian's packages."""

import re
from collections import Counter
from pathlib import Path

import pytest

from dtfl_private.data import fortunes
from dtfl_private.data.dataset import TokenDataset, load_dataset
from dtfl_private.errors import InputError

SAYINGS = {
    "cats": [f"A cat has {number} lives,\nand a tail.\n\t\t-- Somebody" for number in range(10)],
    "dogs": [f"Dog {number}:\n\tA friend: 100 % märchenhaft." for number in range(10)],
}
BOTH = "Zebras have stripes."
BY_TWO = ["...\n -- Tom", "...\n -- Kit"]


def folder_of(root: Path, sayings: dict[str, list[str]]) -> Path:
    """Write each topic as strfile(1) has it, with the index and the link that Debian adds."""
    for topic, said in sayings.items():
        (root / topic).write_text("".join(f"{one}\n%\n" for one in said), "utf-8")
        (root / f"{topic}.dat").write_bytes(b"\x00\x00\x00\x02\xff")
        (root / f"{topic}.u8").symlink_to(topic)
    return root


def load(settings: str, path: Path | None) -> TokenDataset:
    dataset = load_dataset(f"fortunes:{settings}", data_dir=path, download=False)
    assert isinstance(dataset, TokenDataset)
    return dataset


def texts(dataset: TokenDataset, part: str) -> list[str]:
    return [dataset.text_of(row) for row in getattr(dataset, f"{part}_images")]


def refusal(settings: str, path: Path | None) -> str:
    with pytest.raises(InputError) as error:
        load(settings, path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_saying_is_there_once_with_its_topic_and_the_split_needs_no_seed(tmp_path):
    dataset = load("topics=dogs+cats,length=90", folder_of(tmp_path, SAYINGS))
    assert dataset.classes == ("dogs", "cats")
    assert Counter(dataset.test_labels.tolist()) == {0: 2, 1: 2}
    everything = texts(dataset, "train") + texts(dataset, "test")
    assert Counter(everything) == Counter(SAYINGS["cats"] + SAYINGS["dogs"])
    for part in ("train", "test"):
        for text, label in zip(texts(dataset, part), getattr(dataset, f"{part}_labels").tolist(), strict=True):
            assert text in SAYINGS[dataset.classes[label]]
    (tmp_path / "cats").write_text("%\n" + "\n%\n".join(reversed(SAYINGS["cats"])), "utf-8")  # and no last %
    assert sorted(texts(load("topics=dogs+cats,length=90", tmp_path), "test")) == sorted(texts(dataset, "test"))
    assert len(load("topics=dogs+cats,test=0.5,length=7", tmp_path).test_images) == 10


def test_what_is_said_in_several_topics_is_dropped_and_what_is_said_twice_is_taken_once(tmp_path):
    said = {
        "cats": [*SAYINGS["cats"], BOTH, "ONE  TAIL", "One tail!\n   -- A dog", *BY_TWO],
        "dogs": [*SAYINGS["dogs"], "Zebras\nhave stripes\n  -- Plato"],
    }
    dataset = load("topics=cats+dogs,length=90", folder_of(tmp_path, said))
    everything = texts(dataset, "train") + texts(dataset, "test")
    assert Counter(everything) == Counter([*SAYINGS["cats"], *SAYINGS["dogs"], "ONE  TAIL", *BY_TWO])
    assert dataset.notes[0] == "2 topics; 3 of 26 sayings left out, which are there twice"


def test_without_the_packages_the_error_names_them(tmp_path, monkeypatch):
    monkeypatch.setattr(fortunes, "DEBIAN_FOLDER", tmp_path / "absent")
    assert re.fullmatch(
        "no fortunes in .*absent/computers: install Debian's packages fortunes and fortunes-min, or .*",
        refusal("length=8", None),
    )
    for topic in fortunes.TOPICS:
        assert fortunes.FACTS.look(tmp_path) is None
        (tmp_path / topic).write_text("%\n", "utf-8")
    assert fortunes.FACTS.look(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ("cats", "topics names 1 topics, 1 different ones: expected 2 to 64, each once"),
        ("cats+cats", "topics names 2 topics, 1 different ones"),
        ("+".join(f"t{number}" for number in range(65)), "topics names 65 topics"),
        ("cats+../dogs", r"'\.\./dogs' is no name of a topic, expected some as computers\+science"),
        ("cats+", "'' is no name of a topic"),
        ("cats+dogs.dat", r"'dogs\.dat' is no name of a topic"),
        ("cats+x\x1b[2J", r"'x\\x1b\[2J' is no name"),
        ("cats+one", "one holds 1 sayings, expected two at least, divided by lines of a lone %"),
        ("cats+none", "none holds 0 sayings"),
        ("cats+same", "class 'same' has one text only"),
        ("cats+latin", "latin cannot be read: not UTF-8 text"),
        ("cats+large", "large cannot be read: larger than 1000 bytes"),
        ("cats+folder", "folder cannot be read: Is a directory"),
    ],
)
def test_topics_and_files_that_are_none_are_refused_in_one_line(tmp_path, monkeypatch, topics, said):
    monkeypatch.setattr(fortunes, "LARGEST_TOPIC_BYTES", 1000)
    files = {
        "one": "a\n%%\nb\n % \nc %\n",
        "none": "\n%\n%\n \n%\n",
        "same": "The same.\n%\nthe same\n%\n",
        "latin": b"caf\xe9\n%\nb\n",
        "large": "x" * 1001,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "folder").mkdir()
    assert re.search(said, refusal(f"topics={topics}", folder_of(tmp_path, SAYINGS)))

"""A user's own texts in a table: CSV, TSV or JSON lines, with a column of texts and one of labels."""

from collections.abc import Sequence
from pathlib import Path

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.files.class_folders import CLASSES_NAMED, Share, some_of
from dtfl_private.data.files.tables import SUFFIXES, read_columns
from dtfl_private.data.text_sets import (
    MAX_TEXT_BYTES,
    Length,
    Text,
    TokenSettings,
    VocabularySize,
    split_by_text,
    token_dataset,
)
from dtfl_private.data.tokenizers import Kind
from dtfl_private.errors import InputError
from dtfl_private.printable import short_name

# Beyond it a column holds no classes.
MOST_CLASSES = 1000


def _tables(data_dir: Path | None) -> list[Path]:
    """Return the table, or the training and the test table, that a path names; none where there are none."""
    if data_dir is None:
        return []
    if not data_dir.is_dir():
        return [data_dir] if data_dir.suffix.lower() in SUFFIXES and data_dir.exists() else []
    found = [path for path in sorted(data_dir.iterdir()) if path.suffix.lower() in SUFFIXES]
    parts = {name: [path for path in found if path.stem.casefold() == name] for name in ("train", "test")}
    if not any(parts.values()):
        return found
    for name, own in parts.items():
        if len(own) != 1:
            raise InputError(
                f"{data_dir} has {len(own)} tables named {name}, expected one: train.csv and test.csv, say"
            )
    return [parts["train"][0], parts["test"][0]]


def _look(data_dir: Path | None) -> str | None:
    try:
        found = _tables(data_dir)
    except (InputError, OSError):  # a list does not stop at one bad folder
        return None
    return ", ".join(map(str, found)) or None


FACTS = DatasetFacts(
    title="text-table",
    shape="T tokens",
    classes="its labels",
    train="80%, or its own split",
    test="20%",
    obtain="name by --data-dir a .csv, .tsv or .jsonl file, or a folder with one named train and one named test",
    look=_look,
)


@described_by(FACTS)
def load_text_table(
    *,
    data_dir: Path | None = None,
    download: bool = False,  # noqa: ARG001 - there is nowhere to download from
    text: str = "text",
    label: str = "label",
    client: str | None = None,
    length: Length | None = None,
    tokenizer: str | None = None,
    kind: Kind = "bpe",
    vocabulary: VocabularySize = 2000,
    test: Share = 0.2,
) -> TokenDataset:
    """Your own texts in a table: CSV, TSV or JSON lines (UTF-8), with a column of texts and one of labels.

    A single table is split, each class on its own: the texts with the smallest SHA-256 are the test set, so that equal
    texts of a class are on one side. A folder with a table named ``train`` and one named ``test`` brings its own split.

    Args:
        data_dir: the table, or the folder of both.
        download: unused, there is nowhere to download from.
        text: column of the texts.
        label: column of the labels: the classes are its values.
        client: column that says whose each text is, for the partition ``natural``.
        length: tokens of a sequence; by default that of 95 of 100 training texts, and 256 at most.
        tokenizer: a Hugging Face tokenizer.json, or a folder that holds one; by default one is trained on the training
            texts.
        kind: of the trained tokenizer: byte-level BPE, or WordPiece in small letters.
        vocabulary: of the trained tokenizer, at most.
        test: share of each class that becomes the test set.
    """
    tables = _tables(data_dir)
    if not tables:
        raise FACTS.absent(data_dir)
    if len(tables) > 2 or (len(tables) == 2 and tables[0].stem.casefold() != "train"):
        names = some_of([path.name for path in tables])
        raise InputError(f"{data_dir} has several tables ({names}): name one of them, or call two train and test")
    rows = read_columns(tables[0], [text, label, *([client] if client else [])], most_bytes=MAX_TEXT_BYTES)
    classes = _classes([row[1] for row in rows], tables[0], label)
    clients = {name: number for number, name in enumerate(sorted({row[2] for row in rows}))} if client else {}
    texts = [_labelled(row, classes, clients) for row in rows]
    if len(tables) == 2:
        tested = read_columns(tables[1], [text, label], most_bytes=MAX_TEXT_BYTES)
        train, held_out = texts, [_labelled(row, classes, {}) for row in tested]
    else:
        train, held_out = split_by_text(classes, texts, test)
    return token_dataset(
        "text-table",
        f"texts in {data_dir}",
        classes,
        train,
        held_out,
        [f"{len(classes)} classes: {some_of(classes, CLASSES_NAMED)}"],
        TokenSettings(
            length=length, tokenizer=None if tokenizer is None else Path(tokenizer), kind=kind, vocabulary=vocabulary
        ),
    )


def _classes(labels: Sequence[str], table: Path, column: str) -> tuple[str, ...]:
    """Return the classes in order: whole numbers as numbers, other labels as texts."""
    found = set(labels)
    if not 2 <= len(found) <= MOST_CLASSES:
        raise InputError(
            f"{table}: column '{short_name(column)}' has {len(found):,} different values, expected 2 to "
            f"{MOST_CLASSES:,} classes: name the column of the labels by label=NAME"
        )
    try:
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    except ValueError:
        return tuple(sorted(found))


def _labelled(row: Sequence[str], classes: Sequence[str], clients: dict[str, int]) -> Text:
    where = row[-1]
    if not row[1].strip():
        raise InputError(f"{where} has no label: remove it, or put a label there")
    if row[1] not in classes:
        raise InputError(f"{where}: label '{short_name(row[1])}' is none of the training table's")
    return Text(text=row[0], label=classes.index(row[1]), where=where, client=clients[row[2]] if clients else None)

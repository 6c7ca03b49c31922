"""A user's own texts: any class-per-folder tree of .txt files."""

from pathlib import Path
from typing import Literal

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.files.class_folders import CLASSES_NAMED, Share, listed, some_of
from dtfl_private.data.files.found_files import folders_in
from dtfl_private.data.text_sets import (
    MAX_TEXT_BYTES,
    TEXTS,
    Length,
    TokenSettings,
    VocabularySize,
    read_text,
    token_dataset,
)
from dtfl_private.data.tokenizers import Kind
from dtfl_private.errors import InputError


def _look(data_dir: Path | None) -> str | None:
    if data_dir is None or not data_dir.is_dir():
        return None
    count = len(folders_in(data_dir))
    return f"{data_dir}: {count} folders" if count else None


FACTS = DatasetFacts(
    title="text-folder",
    shape="T tokens",
    classes="its folders",
    train="80%, or its own split",
    test="20%",
    obtain="name by --data-dir the folder that holds one folder of .txt files for each class",
    look=_look,
)


@described_by(FACTS)
def load_text_folder(
    *,
    data_dir: Path | None = None,
    download: bool = False,  # noqa: ARG001 - there is nowhere to download from
    length: Length | None = None,
    tokenizer: str | None = None,
    kind: Kind = "bpe",
    vocabulary: VocabularySize = 2000,
    test: Share = 0.2,
    by_client: bool = False,
    valid: Literal["drop", "join"] = "drop",
) -> TokenDataset:
    """Your own texts, a folder of .txt files (UTF-8) for each class.

    Folders, their split and ``by_client`` are as those of ``image-folder``. Each file is one text, cut into tokens,
    cut off at ``length`` and filled up on the right by the tokenizer's padding token.

    Args:
        data_dir: the folder of the class folders.
        download: unused, there is nowhere to download from.
        length: tokens of a sequence; by default that of 95 of 100 training texts, and 256 at most.
        tokenizer: a Hugging Face tokenizer.json, or a folder that holds one; by default one is trained on the training
            texts.
        kind: of the trained tokenizer: byte-level BPE, or WordPiece in small letters.
        vocabulary: of the trained tokenizer, at most.
        test: share of each class that becomes the test set.
        by_client: one level more, CLIENT/CLASS/text: whose texts they are, for the partition ``natural``.
        valid: what to do with the texts of ``val`` where there is a ``test``: leave them out, or train on them too.
    """
    if data_dir is None or not data_dir.is_dir():
        raise FACTS.absent(data_dir)
    classes, train, held_out, notes = listed(data_dir, TEXTS, test, valid, by_client=by_client)
    if (size := sum(file.bytes for file in [*train, *held_out])) > MAX_TEXT_BYTES:
        raise InputError(f"the texts in {data_dir} have {size:,} bytes, at most {MAX_TEXT_BYTES:,}: leave some out")
    return token_dataset(
        "text-folder",
        f"texts in {data_dir}",
        classes,
        [read_text(data_dir / file.name, label=file.label, client=file.client) for file in train],
        [read_text(data_dir / file.name, label=file.label, client=file.client) for file in held_out],
        [f"{len(classes)} classes: {some_of(classes, CLASSES_NAMED)}", *notes],
        TokenSettings(
            length=length, tokenizer=None if tokenizer is None else Path(tokenizer), kind=kind, vocabulary=vocabulary
        ),
    )

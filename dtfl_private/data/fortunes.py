"""Sayings by topic, from the files of the program fortune, as Debian's packages fortunes and fortunes-min have them.

A file is a topic: UTF-8, its sayings divided by lines of a lone ``%`` (strfile(1)).
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.files.class_folders import Share
from dtfl_private.data.text_sets import Length, Text, TokenSettings, VocabularySize, split_by_text, token_dataset
from dtfl_private.data.tokenizers import Kind
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.printable import short_name

# Where Debian's packages put the files.
DEBIAN_FOLDER = Path("/usr/share/games/fortunes")

# Each of them has more than 500 sayings, and is about, or written like, something else than the others.
TOPICS = ("computers", "definitions", "knghtbrd", "men-women", "politics", "science", "songs-poems", "zippy")
DEFAULT_TOPICS = "+".join(TOPICS)

# Debian's largest has 0.25 MB; together 1 GiB at most.
MOST_TOPICS = 64
LARGEST_TOPIC_BYTES = 2**24

# Names of files and nothing that leads out of the folder; Debian's need no other letters.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")

Topics = Annotated[str, Field(max_length=1000)]


def _look(data_dir: Path | None) -> str | None:
    folder = data_dir or DEBIAN_FOLDER
    return str(folder) if all((folder / topic).is_file() for topic in TOPICS) else None


FACTS = DatasetFacts(
    title="fortunes",
    shape="T tokens",
    classes="8 topics, or yours",
    train="80%",
    test="20%",
    obtain="install Debian's packages fortunes and fortunes-min, or name the folder of the topics' files by --data-dir",
    look=_look,
)


@described_by(FACTS)
def load_fortunes(
    *,
    data_dir: Path | None = None,
    download: bool = False,  # noqa: ARG001 - there is nowhere to download from
    topics: Topics = DEFAULT_TOPICS,
    length: Length | None = None,
    tokenizer: str | None = None,
    kind: Kind = "bpe",
    vocabulary: VocabularySize = 2000,
    test: Share = 0.2,
) -> TokenDataset:
    """Sayings by topic (Debian's packages fortunes and fortunes-min): eight topics, about 5,900 of them.

    A saying that stands in several of the topics is left out, and one that a topic has twice is taken once: sayings
    are the same if their letters and digits are, whoever is said to have said them. Of each topic the sayings with the
    smallest SHA-256 are the test set.

    Args:
        data_dir: the folder of the topics' files; by default Debian's.
        download: unused, there is nowhere to download from.
        topics: the classes, names of files with + between them.
        length: tokens of a sequence; by default that of 95 of 100 training texts, and 256 at most.
        tokenizer: a Hugging Face tokenizer.json, or a folder that holds one; by default one is trained on the training
            texts.
        kind: of the trained tokenizer: byte-level BPE, or WordPiece in small letters.
        vocabulary: of the trained tokenizer, at most.
        test: share of each topic that becomes the test set.
    """
    folder = data_dir or DEBIAN_FOLDER
    names = _names(topics)
    found = [saying for label, name in enumerate(names) for saying in _sayings(folder, name, label)]
    kept = _once(found)
    train, held_out = split_by_text(names, kept, test)
    return token_dataset(
        "fortunes",
        f"fortune's files in {folder}",
        names,
        train,
        held_out,
        [f"{len(names)} topics; {len(found) - len(kept)} of {len(found):,} sayings left out, which are there twice"],
        TokenSettings(
            length=length, tokenizer=None if tokenizer is None else Path(tokenizer), kind=kind, vocabulary=vocabulary
        ),
    )


def _names(topics: str) -> tuple[str, ...]:
    names = tuple(topics.split("+"))
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"topics: '{short_name(name)}' is no name of a topic, expected some as computers+science")
    if not 2 <= len(set(names)) == len(names) <= MOST_TOPICS:
        raise InputError(
            f"topics names {len(names)} topics, {len(set(names))} different ones: expected 2 to {MOST_TOPICS}, each "
            "once, as computers+science"
        )
    return names


def _sayings(folder: Path, topic: str, label: int) -> list[Text]:
    path = folder / topic
    try:
        content = reading.read_text(path, most_bytes=LARGEST_TOPIC_BYTES)
    except FileNotFoundError:
        raise FACTS.absent(path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reading.reason(error)}") from None
    sayings = [
        Text(text=part.strip(), label=label, where=f"saying {number} of {path}")
        for number, part in enumerate(re.split(r"^%\r?$", content, flags=re.MULTILINE), 1)
        if part.strip()
    ]
    if len(sayings) < 2:
        raise InputError(f"{path} holds {len(sayings)} sayings, expected two at least, divided by lines of a lone %")
    return sayings


def _once(sayings: Sequence[Text]) -> list[Text]:
    """Return the sayings without those of several topics, and each of the others once."""
    words = [_words(one.text) for one in sayings]
    topics = Counter(said for said, _ in {(said, one.label) for said, one in zip(words, sayings, strict=True)})
    first = {said: number for number, said in reversed(list(enumerate(words)))}
    return [
        one
        for number, (said, one) in enumerate(zip(words, sayings, strict=True))
        if topics[said] == 1 and first[said] == number
    ]


def _words(saying: str) -> str:
    """Return the letters and digits of a saying, without who said it, which stands behind two dashes on a last line."""
    said = re.split(r"\n\s*--", saying, maxsplit=1)[0]
    return re.sub(r"\W+", "", (said if re.search(r"\w", said) else saying).casefold())

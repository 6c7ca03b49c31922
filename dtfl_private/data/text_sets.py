"""Labelled texts to a data set of tokens: what `text-folder` and `text-table` share."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.data.files.found_files import FileKind, chosen_for_test
from dtfl_private.data.tokenizers import Kind, TextTokenizer, Tokens, read_tokenizer, train_tokenizer
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.printable import short_name
from dtfl_private.protocol.vocabulary import BYTES

if TYPE_CHECKING:
    from torch import Tensor

# Bounds on what texts may cost: 64 MiB in one file of text, 1 GiB in a table or in all files together.
MAX_FILE_BYTES = 2**26
MAX_TEXT_BYTES = 2**30

# The length of sequences, where it is not given: that of so many of a hundred training texts, and not more than this.
QUANTILE = 95
LONGEST_BY_DEFAULT = 256

TEXTS = FileKind(suffixes=frozenset({".txt"}), one="text", many="texts", wanted=".txt file")

Length = Annotated[int, Field(ge=1, le=2**16)]
# Byte-level BPE begins with 256 bytes and the padding token.
VocabularySize = Annotated[int, Field(ge=BYTES + 1, le=200_000)]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A labelled text.

    where: in words, for errors.
    client: whose it is, where the data say so.
    """

    text: str
    label: int
    where: str
    client: int | None = None


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """How texts become sequences of tokens.

    length: tokens of a sequence: longer ones are cut off, shorter ones filled up. None: that of 95 of 100 training
        texts, and 256 at most.
    tokenizer: a tokenizer.json, or the folder that holds it; None: one is trained on the training texts.
    kind, vocabulary: of the one that is trained.
    """

    length: int | None
    tokenizer: Path | None
    kind: Kind
    vocabulary: int


def split_by_text(classes: Sequence[str], texts: Sequence[Text], share: float) -> tuple[list[Text], list[Text]]:
    """Return training and test texts, each class split on its own: equal texts of a class are on one side.

    Raises:
        InputError: a class has one text only.
    """
    digests = [hashlib.sha256(one.text.encode(errors="surrogatepass")).hexdigest() for one in texts]
    members: dict[int, set[str]] = defaultdict(set)
    for one, digest in zip(texts, digests, strict=True):
        members[one.label].add(digest)
    for label, name in enumerate(classes):
        if len(members[label]) < 2:
            has = "no text" if not members[label] else "one text only"
            raise InputError(f"class '{short_name(name)}' has {has}: training and test need one each")
    held = {(label, digest) for label, own in members.items() for digest in chosen_for_test(own, share)}
    sides = [(one.label, digest) in held for one, digest in zip(texts, digests, strict=True)]
    chosen = list(zip(texts, sides, strict=True))
    return [one for one, out in chosen if not out], [one for one, out in chosen if out]


def token_dataset(
    name: str,
    source: str,
    classes: tuple[str, ...],
    train: Sequence[Text],
    test: Sequence[Text],
    notes: Sequence[str],
    settings: TokenSettings,
) -> TokenDataset:
    """Return texts as a data set of tokens, padded on the right.

    Raises:
        InputError: an empty text, or one of no tokens; a tokenizer that cannot be used.
    """
    import torch

    require_texts([*train, *test])
    texts = [one.text for one in train]
    own = settings.tokenizer is None
    tokenizer = (
        train_tokenizer(texts, settings.kind, settings.vocabulary)
        if settings.tokenizer is None
        else read_tokenizer(settings.tokenizer)
    )
    whole = tokenizer.tokens(texts)
    lengths = np.array([len(tokens) for tokens in whole])
    length = settings.length or min(LONGEST_BY_DEFAULT, int(np.percentile(lengths, QUANTILE, method="inverted_cdf")))
    parts = (
        _cut(tokenizer, train, whole, length),
        _cut(tokenizer, test, tokenizer.tokens([t.text for t in test]), length),
    )
    clients = [one.client for one in train if one.client is not None]
    return TokenDataset(
        name=name,
        source=source,
        classes=classes,
        train_images=_padded(parts[0], length, tokenizer),
        train_labels=torch.tensor([one.label for one in train]),
        test_images=_padded(parts[1], length, tokenizer),
        test_labels=torch.tensor([one.label for one in test]),
        client_ids=torch.tensor(clients) if clients else None,
        notes=(*notes, *_notes(lengths, length, tokenizer, own=own)),
        vocabulary=tokenizer.vocabulary,
        padding=tokenizer.padding,
        tokenizer=tokenizer.document,
    )


def read_text(path: Path, *, label: int = 0, client: int | None = None) -> Text:
    """Return the text in a file, UTF-8.

    Raises:
        InputError: the file cannot be read, is too large, or no UTF-8.
    """
    try:
        text = reading.read_text(path, most_bytes=MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reading.reason(error)}") from None
    return Text(text=text, label=label, where=str(path), client=client)


def sequences(tokenizer: TextTokenizer, texts: Sequence[Text], length: int) -> "Tensor":
    """Return the tokens of texts (N, length), cut off and padded as those of a data set.

    Raises:
        InputError: an empty text, or one of no tokens.
    """
    require_texts(texts)
    return _padded(_cut(tokenizer, texts, tokenizer.tokens([one.text for one in texts]), length), length, tokenizer)


def require_texts(texts: Sequence[Text]) -> None:
    """Refuse texts of nothing but white space, and halves of surrogate pairs, which no file can hold.

    Raises:
        InputError: naming the first such text, or too much text in all.
    """
    size = 0
    for one in texts:
        if not one.text.strip():
            raise InputError(f"{one.where} is empty: remove it, or put a text there")
        try:
            size += len(one.text) if one.text.isascii() else len(one.text.encode())
        except UnicodeEncodeError:
            raise InputError(f"{one.where} is no Unicode text: it holds half of a surrogate pair") from None
    if size > MAX_TEXT_BYTES:
        raise InputError(f"the texts have {size:,} bytes in all, at most {MAX_TEXT_BYTES:,}: leave some out")


def _cut(tokenizer: TextTokenizer, texts: Sequence[Text], whole: Sequence[Tokens], length: int) -> list[Tokens]:
    """Return the tokens of texts; long ones are cut as the tokenizer does it, which keeps what it puts at the end."""
    for one, tokens in zip(texts, whole, strict=True):
        real = np.flatnonzero(tokens != tokenizer.padding)
        if not len(real):
            raise InputError(f"{one.where} has no tokens: remove it, or put a text there")
        # Such a place would go to the server as zeros, in clear, and no epsilon would cover it.
        if len(real) <= real[-1]:
            raise InputError(
                f"{one.where} has the tokenizer's padding token {tokenizer.padding} among its own: take a tokenizer "
                "whose padding token (pad_id) stands for nothing else"
            )
    long = [place for place, tokens in enumerate(whole) if len(tokens) > length]
    shortened = tokenizer.tokens([texts[place].text for place in long], most=length)
    cut = list(whole)
    for place, tokens in zip(long, shortened, strict=True):
        cut[place] = tokens
    return cut


def _padded(rows: Sequence[Tokens], length: int, tokenizer: TextTokenizer) -> "Tensor":
    """Return sequences (N, length), uint8 where that holds all tokens and the padding, else int32."""
    import torch

    narrow = max(tokenizer.vocabulary, tokenizer.padding + 1) <= BYTES
    padded = np.full((len(rows), length), tokenizer.padding, dtype=np.uint8 if narrow else np.int32)
    for row, tokens in zip(padded, rows, strict=True):
        row[: len(tokens)] = tokens
    return torch.from_numpy(padded)


def _notes(lengths: np.ndarray, length: int, tokenizer: TextTokenizer, *, own: bool) -> list[str]:
    longer, used = float((lengths > length).mean()), float(np.minimum(lengths, length).mean()) / length
    notes = [
        f"{length} tokens a text, of a vocabulary of {tokenizer.vocabulary:,}: {longer:.0%} of the training texts are "
        f"cut off, {1 - used:.0%} of all places are padding"
    ]
    notes.append("how long each text is goes to the server in clear: no defense hides it, no epsilon covers it")
    if own:
        notes.append(
            "the tokenizer was trained on all clients' training texts together, as no federation could do unseen; it "
            "holds pieces of them, and no epsilon covers it: tokenizer=FILE takes one from elsewhere"
        )
    return notes

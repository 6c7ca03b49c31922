"""Texts to tokens and back, by Hugging Face's tokenizers: one that a tokenizer.json describes, or one trained here.

A tokenizer.json is data: vocabulary, merges and rules. Nothing in it is run. The library is imported where it is used.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dtfl_private.data.held_back import errors_held_back
from dtfl_private.data.tokenizer_rules import require_harmless_rules
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.printable import one_line
from dtfl_private.protocol.vocabulary import MOST_TOKENS

Tokens = NDArray[np.int32]

Kind = Literal["bpe", "wordpiece"]

# Those in use have up to 40 MiB.
LARGEST_TOKENIZER_BYTES = 2**26

FILE = "tokenizer.json"

# What padding is called where a tokenizer.json does not say which token it is.
PADDING_NAMES = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>")

# Of a word that WordPiece cuts, whose time grows with the cube of it; those in use have 100.
MOST_WORD_CHARACTERS = 1000

# So many texts are cut into tokens at once: the library keeps more of each than its numbers.
AT_ONCE = 1000


class TextTokenizer:
    """From texts to tokens and back.

    Args:
        inner: the library's tokenizer.
        name: what errors call it.

    Attributes:
        document: tokenizer.json, as text.
        vocabulary: the tokens are the numbers 0..vocabulary-1.
        padding: the number that fills up: the tokenizer's own padding token, or, where it has none, the number after
            its last token.
    """

    def __init__(self, inner: Any, name: str) -> None:
        numbers = inner.get_vocab(with_added_tokens=True).values()
        self.vocabulary = max(numbers, default=-1) + 1
        if not 1 <= self.vocabulary <= MOST_TOKENS:
            raise InputError(f"{name} has tokens up to number {self.vocabulary - 1:,}, expected 1 to {MOST_TOKENS:,}")
        if getattr(inner.model, "max_input_chars_per_word", 0) > MOST_WORD_CHARACTERS:
            raise InputError(
                f"{name} cuts words of more than {MOST_WORD_CHARACTERS:,} characters, which takes too long: set its "
                "max_input_chars_per_word to 100"
            )
        self.document: str = inner.to_str()
        self.padding = _padding(inner, self.vocabulary)
        self._name, self._inner = name, inner
        inner.no_padding()
        inner.no_truncation()
        inner.encode_special_tokens = True  # "[PAD]" in a text is four characters and a word, no padding

    def tokens(self, texts: Sequence[str], *, most: int | None = None) -> list[Tokens]:
        """Return the tokens of each text, with those that the tokenizer puts around it; at most ``most``.

        Raises:
            InputError: a text cannot be cut into tokens, or ``most`` leaves no room for any of it.
        """
        around = self._inner.num_special_tokens_to_add(is_pair=False)
        if most is not None and most <= around:
            raise InputError(f"length={most} is too short: {self._name} puts {around} tokens around each text")
        found: list[Tokens] = []
        with _refused(f"a text cannot be cut into tokens by {self._name}"):
            if most is None:
                self._inner.no_truncation()
            else:
                self._inner.enable_truncation(most)
            for start in range(0, len(texts), AT_ONCE):
                encoded = self._inner.encode_batch_fast(list(texts[start : start + AT_ONCE]))
                found += [np.array(one.ids, dtype=np.int32) for one in encoded]
        for tokens in found:  # what a tokenizer.json puts around texts is checked by nobody
            if (highest := int(tokens.max(initial=0))) >= self.vocabulary:
                raise InputError(f"{self._name} makes token {highest:,}, but has those of 0 to {self.vocabulary - 1:,}")
            if most is not None and len(tokens) > most:
                raise InputError(f"{self._name} makes {len(tokens):,} tokens of a text where {most:,} are allowed")
        return found

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without padding and what the tokenizer puts around texts; it may hold anything.

        Whoever shows it passes it through `dtfl_private.printable`.
        """
        real = [token for token in map(int, tokens) if token != self.padding and 0 <= token < self.vocabulary]
        with _refused(f"tokens are no text of {self._name}"):
            return str(self._inner.decode(real, skip_special_tokens=True))

    def piece_of(self, token: int) -> str:
        """Return the text of one token by itself, special ones too; it may hold anything, as that of `text_of`."""
        if not 0 <= token < self.vocabulary:
            return ""
        with _refused(f"token {token} is no text of {self._name}"):
            return str(self._inner.decode([token], skip_special_tokens=False))


def read_tokenizer(path: Path) -> TextTokenizer:
    """Return the tokenizer in a file, or in a folder's tokenizer.json; the file may come from anybody.

    Raises:
        InputError: there is none, it is damaged or too large, or the library is not installed.
    """
    _library()
    path = Path(os.path.expanduser(path))  # noqa: PTH111 - Path raises where there is no home folder
    file = path / FILE if path.is_dir() else path
    try:
        data = reading.read_bytes(file, most_bytes=LARGEST_TOKENIZER_BYTES)
        parsed = reading.parse_json(data)  # within our bounds of nesting, before the library reads it
    except FileNotFoundError:
        raise InputError(
            f"there is no tokenizer {file}: name a Hugging Face tokenizer.json, or a folder that holds one"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"tokenizer {file} cannot be read: {reading.reason(error)}") from None
    return _made(data.decode("utf-8-sig"), parsed, f"tokenizer {file}")


@lru_cache(maxsize=2)
def tokenizer_of(document: str) -> TextTokenizer:
    """Return the tokenizer that the text of a tokenizer.json describes. Errors as those of `read_tokenizer`."""
    with _refused("the data's tokenizer is no tokenizer.json"):
        parsed = reading.parse_json(document.encode("utf-8"))
    return _made(document, parsed, "the data's tokenizer")


def train_tokenizer(texts: Sequence[str], kind: Kind, vocabulary: int) -> TextTokenizer:
    """Return a tokenizer trained on texts, without chance; it may get fewer tokens than asked for, of few texts.

    Args:
        texts: to train on.
        kind: ``bpe``: byte-level byte-pair encoding (Sennrich et al. 2016, 1508.07909), as of GPT-2, which loses
            nothing; ``wordpiece``: as of BERT, in small letters and without accents.
        vocabulary: tokens, at most.

    Raises:
        InputError: the library is not installed.
    """
    _library()
    with _refused(f"no {kind} tokenizer can be trained on these texts"):
        inner = (_bpe if kind == "bpe" else _wordpiece)(texts, vocabulary)
    return TextTokenizer(inner, f"the {kind} tokenizer trained on the training texts")


def _bpe(texts: Sequence[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()  # every byte, so that no text is unknown
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(iter(texts), trainer)
    return tokenizer


def _wordpiece(texts: Sequence[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    special, normalizer = ["[PAD]", "[UNK]"], normalizers.BertNormalizer(lowercase=True)

    def made(model: Any) -> Any:
        tokenizer = Tokenizer(model)
        tokenizer.normalizer, tokenizer.decoder = normalizer, decoders.WordPiece()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer

    # The library numbers the letters within words in the order of a hash table, another one in each process, and breaks
    # ties by these numbers: all letters are numbered before, as if they were special, which they are not afterwards.
    letters = sorted(set().union(*(normalizer.normalize_str(text) for text in texts)) - set(" \t\n\r"))
    numbered = [*special, *letters, *(f"##{letter}" for letter in letters)]
    learner = made(models.WordPiece(unk_token="[UNK]"))
    learner.train_from_iterator(
        iter(texts), trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=numbered, show_progress=False)
    )
    tokenizer = made(models.WordPiece(learner.get_vocab(), unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    return tokenizer


def _made(document: str, parsed: object, name: str) -> TextTokenizer:
    with _refused(f"{name} is no tokenizer.json"):
        require_harmless_rules(parsed, name)
        inner = _library().Tokenizer.from_str(document)
    return TextTokenizer(inner, name)


def _padding(inner: Any, vocabulary: int) -> int:
    """Return the token that fills up: the one the tokenizer says, one of a usual name, or the number after the last."""
    said = (inner.padding or {}).get("pad_id")
    if said is not None and 0 <= said < vocabulary:
        return int(said)
    named = (inner.token_to_id(name) for name in PADDING_NAMES)
    return next((number for number in named if number is not None), vocabulary)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError('texts need what is not installed (tokenizers): pip install "dtfl-private[text]"') from None
    return tokenizers


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Say in one line what the library refuses."""
    try:
        with errors_held_back():
            yield
    except (KeyboardInterrupt, SystemExit, InputError):
        raise
    except BaseException as error:  # the library raises bare Exception, and panics that are not even that
        raise InputError(f"{what}: {one_line(str(error))}") from None

"""Tokens as people read them, and a text with what was read of it in two lines."""

from collections.abc import Callable, Sequence

import numpy as np

from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.data.tokenizers import tokenizer_of
from dtfl_private.errors import InputError
from dtfl_private.leakage.token_metrics import real_tokens
from dtfl_private.printable import printable
from dtfl_private.protocol.vocabulary import Vocabulary

# Of a text in a line of a terminal.
LONGEST_TEXT = 160

Piece = Callable[[int], str]
"""From a token to its text, fit to be shown."""


def pieces_of(vocabulary: Vocabulary) -> Piece:
    """Return what shows a token: its text, where there is a tokenizer, else its number; nothing of padding."""
    tokenizer = None
    if vocabulary.tokenizer is not None:
        try:
            tokenizer = tokenizer_of(vocabulary.tokenizer)
        except InputError:  # the library is not here: tokens are told apart by their numbers
            tokenizer = None

    def piece(token: int) -> str:
        if token == vocabulary.padding:
            return ""
        return str(token) if tokenizer is None else printable(tokenizer.piece_of(token))

    return piece


def text_lines(verdicts: Sequence[Verdict], vocabulary: Vocabulary | None) -> list[str]:
    """Return a text, and below it what the attack that read most made of it; nothing where no texts were read.

    It is the text of which half were read better: neither the best nor the worst.
    """
    read = [(one, one.read_back) for one in verdicts if one.read_back is not None]
    if not read or vocabulary is None:
        return []
    best, found = max(read, key=lambda pair: float(pair[1].reached.mean()))
    order = np.argsort(-found.reached[0], kind="stable")
    victim = int(order[(len(order) - 1) // 2])
    real = real_tokens(found.truth[victim], found.padding)
    piece = pieces_of(vocabulary)
    true, guess = (
        shortened(" ".join(map(piece, tokens[real].tolist())))
        for tokens in (found.truth[victim], found.guesses[0][victim])
    )
    where = f"tier {best.job.tier}, a text as half are read better: "
    return [f"{where}{true}", f"{best.job.chosen.name} reads: {guess}"]


def shortened(text: str) -> str:
    """Return a text on one line, of a long one the beginning."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}…"

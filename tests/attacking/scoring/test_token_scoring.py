from types import SimpleNamespace

import torch

from dtfl_private.attacking.scoring.rebuilt import ReadBack
from dtfl_private.attacking.scoring.repetitions import Repetition
from dtfl_private.attacking.scoring.token_pieces import LONGEST_TEXT, pieces_of, text_lines
from dtfl_private.attacking.scoring.token_scoring import common_texts
from dtfl_private.data.tokenizers import train_tokenizer
from dtfl_private.protocol.vocabulary import Vocabulary

PAD = 3
VOCABULARY = Vocabulary(size=3, padding=PAD)
TRUTH = torch.tensor([[1, PAD], [PAD, PAD], [0, 2]])


def read(guess, truth=TRUTH, padding=PAD):
    read_back = ReadBack(
        truth=truth,
        guesses=[guess],
        baseline=truth,
        baseline_name="unigram",
        scores={"token-accuracy": ((guess == truth).double().mean(dim=1)[None]).numpy()},
        padding=padding,
    )
    chosen = SimpleNamespace(name="reads")
    return SimpleNamespace(read_back=read_back, job=SimpleNamespace(tier=2, chosen=chosen))


def test_of_empty_texts_there_is_nothing_to_read():
    victims = SimpleNamespace(records=torch.tensor([7, 5, 6]), truth=TRUTH)
    places, (guess,) = common_texts([Repetition(victims=victims, tampering=None, guess=TRUTH + 1)], VOCABULARY)
    assert places.tolist() == [2, 0]  # by their records
    assert guess.tolist() == (TRUTH + 1)[[2, 0]].tolist()
    scored = read(TRUTH).read_back.score(TRUTH, TRUTH)["token-accuracy"]
    assert scored.tolist() == [1, 1]


def test_tokens_are_shown_as_text_that_steers_no_terminal_or_as_numbers():
    assert [pieces_of(VOCABULARY)(token) for token in (0, 2, PAD)] == ["0", "2", ""]
    tokenizer = train_tokenizer(["a\x1b[31mb\n"] * 3, "bpe", 300)
    piece = pieces_of(Vocabulary(size=tokenizer.vocabulary, padding=tokenizer.padding, tokenizer=tokenizer.document))
    (tokens,) = tokenizer.tokens(["a\x1b[31mb\n"])
    shown = "".join(piece(token) for token in tokens.tolist())
    assert shown == "a\\x1b[31mb\\n"
    assert piece(tokenizer.padding) == ""


def test_two_lines_show_a_text_of_middling_luck_and_what_was_read_of_it():
    truth = torch.tensor([[0, 1], [1, 2], [2, 0]])
    guess = torch.tensor([[0, 1], [1, 0], [0, 1]])  # right, half right, wrong
    lines = text_lines([read(guess, truth, None)], Vocabulary(size=3))
    assert lines == ["tier 2, a text as half are read better: 1 2", "reads reads: 1 0"]
    long = torch.zeros(1, 500, dtype=torch.int64)
    assert all(len(line) < LONGEST_TEXT + 60 for line in text_lines([read(long, long, None)], Vocabulary(size=3)))
    assert text_lines([SimpleNamespace(read_back=None)], Vocabulary(size=3)) == []

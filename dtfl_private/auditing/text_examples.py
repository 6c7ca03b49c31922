"""Texts that a report shows: at each tier some victims, what the attacks read of them, and a guess."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dtfl_private.attacking.scoring.rebuilt import ReadBack
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.attacking.scoring.token_pieces import Piece, pieces_of
from dtfl_private.auditing.examples import short_label
from dtfl_private.leakage.token_metrics import real_tokens, token_accuracy
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.report.pictures.gallery import choose_victims
from dtfl_private.verdicts.text_example import LONGEST_PIECE, MOST_PIECES, TextExample, TextGuess

# Victims of a tier, the best and the worst read among them.
SHOWN = 3
# Attacks that are shown, the strongest first: a text for each.
MOST_ATTACKS = 6


def text_examples(
    verdicts: Sequence[Verdict], vocabulary: Vocabulary, labels: Tensor, classes: Sequence[str]
) -> list[TextExample]:
    """Return examples of every tier whose texts were read back, with the guesses of first repetitions.

    Args:
        verdicts: of the attacks on the run, with guesses.
        vocabulary: of the tokens.
        labels: (N,) of the training set.
        classes: names of the classes, by label.
    """
    piece, found = pieces_of(vocabulary), []
    for tier in sorted({one.job.tier for one in verdicts if one.read_back is not None}):
        own = [one for one in verdicts if one.job.tier == tier and one.read_back is not None]
        own.sort(key=lambda one: -_reached(one))
        found += list(_of_tier(own, piece, labels, classes))
    return found


def _shown(piece: Piece, tokens: Tensor) -> tuple[str, ...]:
    """Return tokens' texts, of long ones the beginning."""
    return tuple(_cut_short(piece(token)) for token in tokens.tolist())


def _cut_short(text: str) -> str:
    return text if len(text) <= LONGEST_PIECE else f"{text[: LONGEST_PIECE - 1]}…"


def _reached(verdict: Verdict) -> float:
    assert verdict.read_back is not None
    return float(verdict.read_back.reached.mean())


def _of_tier(
    verdicts: Sequence[Verdict], piece: Piece, labels: Tensor, classes: Sequence[str]
) -> Iterator[TextExample]:
    """Yield examples of one tier, chosen by the strongest attack: of the others, those of the same victims."""
    first, scored = verdicts[0].read_back, verdicts[0].scored
    assert first is not None
    assert scored is not None
    guesses: list[tuple[str, bool, Tensor]] = []
    for verdict in verdicts[:MOST_ATTACKS]:
        other = verdict.read_back
        if other is not None and other.truth.shape == first.truth.shape and torch.equal(other.truth, first.truth):
            name = verdict.job.chosen.name + ("" if verdict.job.chosen.attack.adaptive else ", not adaptive")
            guesses.append((name, False, other.guesses[0]))
    guesses.append((first.baseline_name, True, first.baseline))
    for place, victim in enumerate(choose_victims(first.reached[0], SHOWN).tolist(), start=1):
        yield _example(
            first,
            victim,
            [(name, trivial, guess[victim]) for name, trivial, guess in guesses],
            piece,
            tier=verdicts[0].job.tier,
            place=place,
            label=short_label(classes, int(labels[int(scored.records[victim])])),
        )


def _example(
    read: ReadBack,
    victim: int,
    guesses: Sequence[tuple[str, bool, Tensor]],
    piece: Piece,
    *,
    tier: int,
    place: int,
    label: str | None,
) -> TextExample:
    truth = read.truth[victim]
    real = real_tokens(truth, read.padding)
    true = truth[real][:MOST_PIECES]
    shown = [(name, trivial, guess[real][:MOST_PIECES], guess) for name, trivial, guess in guesses]
    return TextExample(
        tier=tier,
        place=place,
        label=label,
        victims=len(read.truth),
        pieces=_shown(piece, true),
        left_out=int(real.sum()) - len(true),
        guesses=tuple(
            TextGuess(
                source=name,
                trivial=trivial,
                pieces=_shown(piece, tokens),
                accuracy=float(token_accuracy(whole[None], truth[None], real[None])[0]),
            )
            for name, trivial, tokens, whole in shown
        ),
        wrong=tuple(tuple((tokens != true).nonzero().flatten().tolist()) for _, _, tokens, _ in shown),
    )

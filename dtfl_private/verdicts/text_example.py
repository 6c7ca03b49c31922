"""One text of an audit's victims as its report shows it: the true text, what attacks read, and a guess."""

from typing import Annotated

from pydantic import Field, model_validator

from dtfl_private.leakage.results.result import Finite, Name, Positive
from dtfl_private.verdicts.strict import Strict

MOST_PIECES = 400
"""Tokens of a text that are shown; of a longer one, the first."""

LONGEST_PIECE = 80
"""Characters of a token."""

Pieces = Annotated[
    tuple[Annotated[str, Field(max_length=LONGEST_PIECE)], ...], Field(max_length=MOST_PIECES, strict=False)
]


class TextGuess(Strict):
    """What an attack read, or what was guessed without what clients sent.

    Attributes:
        source: the attack, or the trivial guess.
        trivial: whether it is one.
        pieces: its tokens, at the places of the true ones.
        accuracy: share of all of the text's tokens that are right.
    """

    source: Name
    trivial: bool = False
    pieces: Pieces
    accuracy: Finite


class TextExample(Strict):
    """A victim that is shown: tokens as text, without places that are filled up.

    Attributes:
        tier: client modules m.
        place: in the list, from 1 on; the first is the victim that was read best.
        label: name of its class; None where the data set names none.
        victims: among how many it was chosen.
        pieces: the true tokens.
        left_out: how many more there are.
        wrong: of each guess, the places of the tokens shown that are not the true ones, whatever their texts are.
        guesses: the strongest attack first, the trivial guess last.
    """

    tier: Positive
    place: Annotated[int, Field(ge=1, le=100)]
    label: Name | None = None
    victims: Positive
    pieces: Pieces
    left_out: Annotated[int, Field(ge=0)] = 0
    guesses: Annotated[tuple[TextGuess, ...], Field(max_length=50, strict=False)]
    wrong: Annotated[
        tuple[Annotated[tuple[int, ...], Field(max_length=MOST_PIECES, strict=False)], ...],
        Field(max_length=50, strict=False),
    ]

    @model_validator(mode="after")
    def _alike(self) -> "TextExample":
        if len(self.wrong) != len(self.guesses):
            raise ValueError(f"{len(self.guesses)} guesses, mistakes of {len(self.wrong)}")
        if any(len(guess.pieces) != len(self.pieces) for guess in self.guesses):
            raise ValueError("a guess has another number of tokens than the text")
        return self

"""Which numbers are tokens, and which of them only fills a sequence up: what data and networks must agree on."""

from dataclasses import dataclass

# The most tokens that a vocabulary may have: several times those of the largest in use.
MOST_TOKENS = 2**20

BYTES = 256


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The tokens of a data set.

    Attributes:
        size: the tokens are the numbers 0..size-1.
        padding: the number that fills up sequences; one of the tokens, or the number after the last. None: there is
            none, and every place counts.
        tokenizer: tokenizer.json, as text, of what made the tokens; None where they are not made of texts.
    """

    size: int = BYTES
    padding: int | None = None
    tokenizer: str | None = None

    @property
    def numbers(self) -> int:
        """How many numbers can occur, the padding among them."""
        return self.size + (self.padding == self.size)

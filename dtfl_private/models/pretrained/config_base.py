"""What config.json of any checkpoint says of its network, each value within bounds.

The names of fields are those of config.json; properties give them one name each.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dtfl_private.protocol.vocabulary import MOST_TOKENS

Vocabulary = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Positions = Annotated[int, Field(ge=1, le=2**20)]
Layers = Annotated[int, Field(ge=1, le=256)]
Heads = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[int, Field(ge=1, le=2**15)]
Inner = Annotated[int, Field(ge=1, le=2**18)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=1)]
Factor = Annotated[float, Field(gt=0, le=1e9)]
Activation = Literal["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish"]


class CheckpointConfig(BaseModel):
    """What all types say."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    # What base networks are called in the names of weights of networks with a head.
    PREFIX: ClassVar[str]
    # What most types call what the properties give.
    FIELDS: ClassVar[Mapping[str, str]] = {
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "positions": "max_position_embeddings",
    }

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return self._number("layers")

    @property
    def width(self) -> int:
        """Values of a token."""
        return self._number("width")

    @property
    def heads(self) -> int:
        """Heads of the attention."""
        return self._number("heads")

    def _number(self, what: str) -> int:
        return int(getattr(self, self.FIELDS[what]))

    def library_settings(self) -> dict[str, Any]:
        """Return the arguments of the library's own class."""
        return self.model_dump()

    @model_validator(mode="after")
    def _heads_divide(self) -> "CheckpointConfig":
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        return self


class TextConfig(CheckpointConfig):
    """What all types say that take tokens."""

    vocab_size: Vocabulary

    @property
    def positions(self) -> int:
        """Tokens of the longest sequence."""
        return self._number("positions")


class DecoderConfig(TextConfig):
    """What all types say in which a token sees itself and those before it only."""

    # The weights of the embedding by name, which may be those of a language model's head too.
    EMBEDDING: ClassVar[str]

    tie_word_embeddings: bool = True

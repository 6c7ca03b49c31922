"""dataset.json: what must be known of a run's data to use its network: classes, normalisation, how images are made."""

import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from dtfl_private.errors import InputError, RunError
from dtfl_private.files import reading
from dtfl_private.printable import printable
from dtfl_private.protocol.vocabulary import BYTES, MOST_TOKENS, Vocabulary

# The most that a description may hold, whoever wrote it: of classes, of characters of a name, of values of one input.
MOST_CLASSES = 100_000
LONGEST_CLASS = 300
LONGEST_TEXT = 1000
LARGEST_INPUT = 2**24
LARGEST_DESCRIPTION_BYTES = 2**27

# What float32 holds: images are normalised in it.
LARGEST_FLOAT32 = 3.4e38

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
ClassName = Annotated[str, Field(max_length=LONGEST_CLASS)]
Positive = Annotated[int, Field(ge=1)]
Channels = Annotated[tuple[FiniteFloat, ...], Field(max_length=LARGEST_INPUT)]


class ImageFileDescription(BaseModel):
    """How an image file becomes an input.

    Attributes:
        colour: what its pixels are turned into: grey (ITU-R 601 luma) or red, green, blue; 8 bits each.
        resized: images of any size were resized in training; otherwise they had the size of the inputs as they were.
        interpolation: by which they are resized to the height and width of the inputs; the aspect ratio is not kept.
        background: what transparent images are put on; None refuses them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    colour: Literal["grey", "rgb"]
    resized: bool
    interpolation: Literal["bilinear, antialiased"] = "bilinear, antialiased"
    background: Literal["white"] | None = None


class DataDescription(BaseModel):
    """What must be known of the data of a run to use its network; the contents of dataset.json.

    Attributes:
        schema_version: of this layout.
        name: of the data set.
        kind: images, or sequences of tokens.
        classes: their names, by number.
        input_shape: of one input: (channels, height, width), or (length,) for tokens.
        mean, std: per channel, by which images scaled to [0, 1] are normalised; empty for tokens.
        image_files: how image files are treated; None where no image file can be an input.
        vocabulary: how many tokens there are; None for images, and for tokens that are bytes.
        padding: the number that fills up sequences; None where none does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: Text
    kind: Literal["images", "tokens"]
    classes: Annotated[tuple[ClassName, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    input_shape: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)]
    mean: Channels = ()
    std: Channels = ()
    image_files: ImageFileDescription | None = None
    vocabulary: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    padding: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        (often, times), *_ = Counter(self.classes).most_common(1)
        if times > 1:
            raise ValueError(f"{times} classes are named '{often}': give each a name of its own")
        if len(self.input_shape) != (3 if self.kind == "images" else 1):
            raise ValueError(f"{self.kind} of shape {self.input_shape}")
        if math.prod(self.input_shape) > LARGEST_INPUT:
            raise ValueError(f"inputs of shape {self.input_shape} have more than {LARGEST_INPUT:,} values")
        channels = self.input_shape[0] if self.kind == "images" else 0
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} deviations for {channels} channels")
        for mean, std in zip(self.mean, self.std, strict=True):
            if not (std > 0 and 1 / std <= LARGEST_FLOAT32 and abs(mean) <= std * LARGEST_FLOAT32):
                raise ValueError(f"images cannot be normalised by mean {mean:g} and deviation {std:g}")
        if self.kind == "images" and (self.vocabulary, self.padding) != (None, None):
            raise ValueError("images have no vocabulary and no padding")
        if self.padding is not None and self.padding > (self.vocabulary or BYTES):
            raise ValueError(f"padding {self.padding} is none of the {self.vocabulary or BYTES} tokens")
        if self.image_files is not None and channels != {"grey": 1, "rgb": 3}[self.image_files.colour]:
            raise ValueError(f"{self.image_files.colour} image files for inputs of shape {self.input_shape}")
        return self

    @property
    def tokens(self) -> Vocabulary | None:
        """Which numbers are tokens; None of images."""
        return None if self.kind == "images" else Vocabulary(size=self.vocabulary or BYTES, padding=self.padding)

    def document(self) -> bytes:
        """Return the text of dataset.json."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    def require_image_files(self) -> ImageFileDescription:
        """Return how image files are treated.

        Raises:
            InputError: no image file can be an input.
        """
        if self.image_files is not None:
            return self.image_files
        if self.kind == "tokens":
            raise InputError(f"the network takes sequences of {self.input_shape[0]} tokens, not images: pass a tensor")
        raise InputError(f"the network takes images of {self.input_shape[0]} channels, not image files: pass a tensor")


def class_name(text: str) -> str:
    """Return the name of a class as a description holds it: text that any file can hold, whatever a folder's name."""
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")


def read_description(path: Path) -> DataDescription:
    """Return what a dataset.json holds, which may come from anybody.

    Raises:
        FileNotFoundError: there is none.
        RunError: it is damaged.
    """
    try:
        return DataDescription.model_validate_json(reading.read_bytes(path, most_bytes=LARGEST_DESCRIPTION_BYTES))
    except FileNotFoundError:
        raise
    except ValidationError as error:
        reason = first_fault(error)
    except (OSError, ValueError) as error:
        reason = reading.reason(error)
    raise RunError(f"{path} is damaged ({reason}): `dtfl-private train --resume --out {path.parent}` writes it again")


def first_fault(error: ValidationError) -> str:
    """Return where the first fault of a document is and what it is."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = printable(first["msg"].removeprefix("Value error, "))
    return f"{where}: {reason}" if where else reason

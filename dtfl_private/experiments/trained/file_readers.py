"""Files of images or texts, made the inputs of a trained network as the run made those that it was trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from dtfl_private.data.description import DataDescription
from dtfl_private.data.files.found_files import FileKind
from dtfl_private.data.files.image_files import IMAGES
from dtfl_private.data.files.pixels import PixelFormat, decode_noting
from dtfl_private.data.text_sets import TEXTS, read_text, sequences
from dtfl_private.data.tokenizers import TextTokenizer, read_tokenizer
from dtfl_private.errors import RunError


class FileReader(Protocol):
    """Makes inputs of files of one kind."""

    kind: ClassVar[FileKind]

    def read(self, paths: Sequence[Path]) -> tuple[Tensor, int]:
        """Return inputs (N, *input shape), and how many were resized though none was in training.

        Raises:
            InputError: a file that is no such input.
        """
        ...


class ImageReader:
    """Reads images: resized, grey or in colour, as in training."""

    kind: ClassVar[FileKind] = IMAGES

    def __init__(self, data: DataDescription) -> None:
        treatment = data.require_image_files()
        _, height, width = data.input_shape
        self._shape, self._resized = data.input_shape, treatment.resized
        self._format = PixelFormat(
            size=(width, height), grey=treatment.colour == "grey", background=treatment.background
        )

    def read(self, paths: Sequence[Path]) -> tuple[Tensor, int]:
        """Return images (N, C, H, W), uint8, and how many were resized though none was in training."""
        pixels = np.empty((len(paths), *self._shape), dtype=np.uint8)
        resized = 0
        for place, path in enumerate(paths):
            decoded = decode_noting(path, self._format)
            pixels[place] = decoded.pixels
            resized += decoded.resized and not self._resized
        return torch.from_numpy(pixels), resized


class TextReader:
    """Reads texts: cut into tokens by the run's tokenizer, cut off and padded to its length."""

    kind: ClassVar[FileKind] = TEXTS

    def __init__(self, data: DataDescription, tokenizer: Path) -> None:
        self._tokenizer, self._length = run_tokenizer(data, tokenizer), data.input_shape[0]

    def read(self, paths: Sequence[Path]) -> tuple[Tensor, int]:
        """Return sequences (N, length), and 0: texts of any length are as in training."""
        return sequences(self._tokenizer, [read_text(path) for path in paths], self._length), 0


def run_tokenizer(data: DataDescription, path: Path) -> TextTokenizer:
    """Return the tokenizer that is kept in a run's folder.

    Raises:
        InputError: the run is not on texts, or the file cannot be used.
        RunError: it is not the run's own.
    """
    if data.kind != "tokens" or not path.exists():
        data.require_image_files()  # says what the network takes
    tokenizer, tokens = read_tokenizer(path), data.tokens
    if tokens is None or (tokenizer.vocabulary, tokenizer.padding) != (tokens.size, tokens.padding):
        raise RunError(f"{path} is not the tokenizer that the run was trained with: put back the run's own file")
    return tokenizer


def reader_for(data: DataDescription, tokenizer: Path | None) -> FileReader:
    """Return what reads the files that a network can take.

    Args:
        data: what the network takes.
        tokenizer: where the run keeps its tokenizer.json, if there is a run.

    Raises:
        InputError: it can take no files.
    """
    if data.kind == "tokens" and tokenizer is not None:
        return TextReader(data, tokenizer)
    return ImageReader(data)

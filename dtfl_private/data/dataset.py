"""A data set of images or of token sequences in memory: uint8 (many kinds of tokens: int32), decoded once, held once.

torch is imported where tensors are made or checked: what a data set is, is listed without it. So type hints of these
classes resolve where ``Tensor`` is given: ``typing.get_type_hints(ImageDataset, localns={"Tensor": torch.Tensor})``.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from dtfl_private.data.drawing import NONE_HELD_OUT, drawn_places
from dtfl_private.errors import InputError
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.plugins.registry import create
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.vocabulary import BYTES, MOST_TOKENS, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset:
    """Labelled inputs, split into training and test: an `ImageDataset` or a `TokenDataset`.

    train_images, test_images: the inputs, of a type in ``TYPES`` and the shape that ``LAYOUT`` gives; the first axis
        counts them.
    train_labels, test_labels: int64 (N,), values 0..len(classes)-1.
    source: where the images come from, for people and for the run folder.
    notes: what a user should know of how the data were read, a line each.
    client_ids: int64 (N,), to whom each training input naturally belongs, any numbers; None where the data do not say.
    """

    WORD: ClassVar[str]
    LAYOUT: ClassVar[str]
    TYPES: ClassVar[tuple[str, ...]] = ("uint8",)

    name: str
    source: str
    classes: tuple[str, ...]
    train_images: "Tensor"
    train_labels: "Tensor"
    test_images: "Tensor"
    test_labels: "Tensor"
    client_ids: "Tensor | None" = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        import torch

        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            if not self._fits(images):
                wanted = f"{part} {self.WORD} must be {' or '.join(self.TYPES)} ({self.LAYOUT})"
                raise InputError(f"{self.name}: {wanted}, not {_kind(images)}")
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
                raise InputError(f"{self.name}: {part} labels must be int64 ({len(images)},), not {_kind(labels)}")
            if len(labels) == 0:
                raise InputError(f"{self.name}: no {part} {self.WORD}")
            if int(labels.min()) < 0 or int(labels.max()) >= len(self.classes):
                raise InputError(f"{self.name}: {part} labels must lie in 0..{len(self.classes) - 1}")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise InputError(f"{self.name}: training and test {self.WORD} differ in shape")
        if self.train_images.dtype != self.test_images.dtype:
            raise InputError(f"{self.name}: training and test {self.WORD} differ in type")
        ids = self.client_ids
        if ids is not None and (ids.dtype != torch.int64 or ids.shape != self.train_labels.shape):
            raise InputError(f"{self.name}: client ids must be int64 ({len(self.train_labels)},), not {_kind(ids)}")

    def _fits(self, images: "Tensor") -> bool:
        """Whether inputs have a type and as many axes as they may have."""
        kind = str(images.dtype).removeprefix("torch.")
        return kind in self.TYPES and images.ndim == len(self.LAYOUT.split(", "))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: (channels, height, width), or (length,) for tokens."""
        return tuple(self.train_images.shape[1:])

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} test {self.WORD} of {shape}"
        return f"{type(self).__name__}({self.name}: {counts}, {len(self.classes):,} classes)"

    def fingerprint(self) -> str:
        """Return the SHA-256 of all images and labels, and of the client ids where there are any."""
        digest = hashlib.sha256()
        ids = () if self.client_ids is None else (self.client_ids,)
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels, *ids):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().data)  # the memory itself, not a copy of it
        return digest.hexdigest()

    def with_train_images(self, count: int, rng: np.random.Generator, held_out: IntArray = NONE_HELD_OUT) -> Self:
        """Return the same data set with ``count`` training images, drawn from those whose places are not held out."""
        left = len(self.train_labels) - len(held_out)
        if count > left:
            beside = f" beside {len(held_out)} validation {self.WORD}" if len(held_out) else ""
            have = f"the {left} training {self.WORD} of {self.name}{beside}"
            raise InputError(f"max_train_images {count} is more than {have}")
        import torch

        chosen = torch.from_numpy(drawn_places(len(self.train_labels), count, rng, held_out))
        return replace(
            self,
            train_images=self.train_images[chosen],
            train_labels=self.train_labels[chosen],
            client_ids=None if self.client_ids is None else self.client_ids[chosen],
        )

    def without_training(self) -> Self:
        """Return the same data set as a server has it that holds no training images: an empty one stands in for them.

        Its shape is that of all.
        """
        import torch

        one = torch.zeros((1, *self.input_shape), dtype=self.train_images.dtype)
        label = torch.zeros(1, dtype=torch.int64)
        return replace(self, train_images=one, train_labels=label, client_ids=None)

    def judged_at(self, places: IntArray) -> Self:
        """Return the same data set with the training images at these places as its test images."""
        import torch

        chosen = torch.from_numpy(places)
        return replace(self, test_images=self.train_images[chosen], test_labels=self.train_labels[chosen])


@dataclass(frozen=True, kw_only=True)
class ChannelConstants:
    """Mean and standard deviation per channel of a data set's pixels scaled to [0, 1], and who published them."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class FileTreatment:
    """What was done to image files on their way into a data set, so that new ones can be treated alike.

    resized: images of any size were resized to the data set's; otherwise they had that size as they were.
    background: what transparent images were put on; None where they were refused.
    """

    resized: bool = False
    background: Literal["white"] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class ImageDataset(Dataset):
    """Labelled images: uint8 (N, channels, height, width); the fields are those of `Dataset` and two more.

    constants: to normalise by without asking any client; None where none are published.
    files: how the images were made of files; as they are, where there were none.
    """

    WORD: ClassVar[str] = "images"
    LAYOUT: ClassVar[str] = "N, C, H, W"

    constants: ChannelConstants | None = None
    files: FileTreatment = FileTreatment()


@dataclass(frozen=True, kw_only=True, repr=False)
class TokenDataset(Dataset):
    """Labelled sequences of tokens: uint8 (of many kinds: int32), (N, length); the fields of `Dataset` and three more.

    vocabulary: how many tokens there are: the numbers 0..vocabulary-1.
    padding: the number that fills up sequences, one of the tokens or the number after the last; None: there is none.
    tokenizer: tokenizer.json, as text, of what made the tokens, in Hugging Face's layout; None where nothing is known.
    """

    WORD: ClassVar[str] = "sequences"
    LAYOUT: ClassVar[str] = "N, T"
    TYPES: ClassVar[tuple[str, ...]] = ("uint8", "int32")

    vocabulary: int = BYTES
    padding: int | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.vocabulary <= MOST_TOKENS:
            raise InputError(f"{self.name}: a vocabulary of {self.vocabulary:,}, expected 1 to {MOST_TOKENS:,} tokens")
        if self.padding is not None and not 0 <= self.padding <= self.vocabulary:
            raise InputError(f"{self.name}: padding {self.padding} is none of the tokens 0..{self.vocabulary - 1}")
        for part, tokens in (("train", self.train_images), ("test", self.test_images)):
            least, most = int(tokens.min()), int(tokens.max())
            if least < 0 or most >= self.tokens.numbers:
                wrong = least if least < 0 else most
                raise InputError(f"{self.name}: {part} token {wrong} is none of the tokens 0..{self.vocabulary - 1}")

    @property
    def tokens(self) -> Vocabulary:
        """What a network must know of the tokens."""
        return Vocabulary(size=self.vocabulary, padding=self.padding, tokenizer=self.tokenizer)

    def text_of(self, tokens_T: "Tensor") -> str:
        """Return the text of a sequence, without padding; to be shown, it must pass `dtfl_private.printable`.

        Raises:
            InputError: the data do not say what their tokens are.
        """
        from dtfl_private.data.tokenizers import tokenizer_of

        if self.tokenizer is None:
            raise InputError(f"{self.name} has no tokenizer: its tokens are numbers only")
        return tokenizer_of(self.tokenizer).text_of(tokens_T.tolist())

    def fingerprint(self) -> str:
        """Return the SHA-256 of all sequences, labels and client ids, and of which numbers are tokens."""
        if self.tokens == Vocabulary():
            return super().fingerprint()
        facts = f"{super().fingerprint()} {self.vocabulary} {self.padding} {self.tokenizer}"
        return hashlib.sha256(facts.encode()).hexdigest()


def load_dataset(text: str, *, data_dir: Path | None, download: bool, allowed: Allowed = NOTHING_ALLOWED) -> Dataset:
    """Load the data set that a specification names (``NAME[:key=value,...]``); ``allowed`` is as for `create`."""
    dataset = create("dataset", text, allowed=allowed, data_dir=data_dir, download=download)
    if not isinstance(dataset, ImageDataset | TokenDataset):
        kind = type(dataset).__name__
        raise InputError(f"data set '{text}' returned a {kind} instead of an ImageDataset or a TokenDataset")
    return dataset


def _kind(tensor: "Tensor") -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"

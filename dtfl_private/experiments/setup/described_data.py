"""From a data set and what normalises it to the description that the run folder keeps."""

from pydantic import ValidationError

from dtfl_private.data.dataset import Dataset, ImageDataset, TokenDataset
from dtfl_private.data.description import (
    LONGEST_TEXT,
    DataDescription,
    ImageFileDescription,
    class_name,
    first_fault,
)
from dtfl_private.data.preprocess import Normaliser, Preprocessor
from dtfl_private.errors import InputError
from dtfl_private.printable import cut
from dtfl_private.protocol.vocabulary import Vocabulary


def described(dataset: Dataset, preprocessor: Preprocessor) -> DataDescription:
    """Return what must be known of the data of a run to use its network.

    Raises:
        InputError: the data set's own names or shapes are beyond what a run folder keeps.
    """
    images = isinstance(dataset, ImageDataset)
    normalised = preprocessor if isinstance(preprocessor, Normaliser) else None
    try:
        return DataDescription(
            name=cut(class_name(dataset.name), LONGEST_TEXT // 2),
            kind="images" if images else "tokens",
            classes=tuple(class_name(str(name)) for name in dataset.classes),
            input_shape=dataset.input_shape,
            mean=() if normalised is None else tuple(normalised.mean_C.tolist()),
            std=() if normalised is None else tuple(normalised.deviation_C.tolist()),
            image_files=_image_files(dataset) if isinstance(dataset, ImageDataset) else None,
            **_tokens(dataset),
        )
    except ValidationError as error:
        raise InputError(f"data set {dataset.name} is refused: {first_fault(error)}") from None


def _tokens(dataset: Dataset) -> dict[str, int | None]:
    """Return which numbers are tokens, of data whose tokens are not just bytes."""
    if not isinstance(dataset, TokenDataset) or dataset.tokens == Vocabulary():
        return {}
    return {"vocabulary": dataset.vocabulary, "padding": dataset.padding}


def _image_files(dataset: ImageDataset) -> ImageFileDescription | None:
    """Return how image files are treated; None of images that are neither grey nor red, green, blue."""
    channels = dataset.input_shape[0]
    if channels not in (1, 3):
        return None
    return ImageFileDescription(
        colour="grey" if channels == 1 else "rgb",
        resized=dataset.files.resized,
        background=dataset.files.background,
    )

"""A user's own images: any class-per-folder tree of PNG or JPEG files."""

from pathlib import Path
from typing import Literal

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.files.class_folders import CLASSES_NAMED, Share, listed, some_of
from dtfl_private.data.files.found_files import folders_in
from dtfl_private.data.files.image_files import IMAGES, ImageFiles
from dtfl_private.data.files.pixels import PixelFormat, Side


def _look(data_dir: Path | None) -> str | None:
    if data_dir is None or not data_dir.is_dir():
        return None
    count = len(folders_in(data_dir))
    return f"{data_dir}: {count} folders" if count else None


FACTS = DatasetFacts(
    title="image-folder",
    shape="CxHxW",
    classes="its folders",
    train="80%, or its own split",
    test="20%",
    obtain="name by --data-dir the folder that holds one folder of PNG or JPEG images for each class",
    look=_look,
)


@described_by(FACTS)
def load_image_folder(
    *,
    data_dir: Path | None = None,
    download: bool = False,  # noqa: ARG001 - there is nowhere to download from
    size: Side | None = None,
    grey: bool = False,
    test: Share = 0.2,
    by_client: bool = False,
    valid: Literal["drop", "join"] = "drop",
    background: Literal["none", "white"] = "none",
) -> ImageDataset:
    """Your own PNG or JPEG images, a folder for each class.

    The split is stratified and always the same: of each class the files whose relative paths have the
    smallest SHA-256 are the test images. A tree of folders named ``train`` (``training``), ``val`` (``valid``,
    ``validation``) and ``test`` (``testing``), in any case of letters, each with the same class folders, brings its own
    split, and the setting ``test`` does not matter; without a ``test``, the images of ``val`` are the test images.
    Folders that look like another split (they all hold the same folders) are refused instead of taken for classes.

    Args:
        data_dir: the folder of the class folders.
        download: unused, there is nowhere to download from.
        size: side in pixels of the square that all images are resized to; by default they must agree in size.
        grey: one channel instead of three.
        test: share of each class that becomes the test set.
        by_client: one level more, CLIENT/CLASS/image: whose images they are, for the partition ``natural``.
        valid: what to do with the images of ``val`` where there is a ``test``: leave them out, or train on them too.
        background: what to put transparent images on; ``none`` refuses them.
    """
    if data_dir is None or not data_dir.is_dir():
        raise FACTS.absent(data_dir)
    classes, train, held_out, notes = listed(data_dir, IMAGES, test, valid, by_client=by_client)
    found = ImageFiles(
        name="image-folder",
        source=f"images in {data_dir}",
        root=data_dir,
        variant=f"test={test},by_client={by_client}" + (f",valid={valid}" if notes else ""),
        classes=classes,
        train=train,
        test=held_out,
        notes=[f"{len(classes)} classes: {some_of(classes, CLASSES_NAMED)}", *notes],
    )
    return found.load(PixelFormat(size=size, grey=grey, background=None if background == "none" else background))

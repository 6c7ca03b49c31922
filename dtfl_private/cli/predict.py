"""The predict command."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.shared_options import plugin_option, which_option
from dtfl_private.errors import DtflError, InputError

if TYPE_CHECKING:
    from dtfl_private.data.description import DataDescription
    from dtfl_private.experiments.run import Run, Which
    from dtfl_private.experiments.trained.predictions import Judgement
    from dtfl_private.numerics import DeviceName
    from dtfl_private.report.tables.predictions import PredictedImage
    from dtfl_private.runtime.callback import Callback

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg"}


class InterruptedPredictionError(DtflError):
    """The user stopped it."""


@click.command(cls=DocumentedCommand)
@click.argument("run")
@click.argument("images", nargs=-1, metavar="IMAGES...")
@click.option("--top", default=1, show_default=True, type=click.IntRange(min=1), metavar="K", help="classes per image")
@click.option(
    "--csv",
    "csv_file",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="write CSV instead of a table, to a file or, as the last option, to standard output",
)
@click.option(
    "--json", "json_file", is_flag=False, flag_value="-", metavar="[FILE]", help="write JSON instead, likewise"
)
@which_option
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True, help="to use"
)
@plugin_option
def predict(
    run: str,
    images: tuple[str, ...],
    top: int,
    csv_file: str | None,
    json_file: str | None,
    which: "Which",
    device: "DeviceName",
    allow_plugins: tuple[str, ...],
) -> None:
    """Predict the classes of images by a run's trained network.

    IMAGES are PNG or JPEG files, and folders that are searched through. They are turned into what the network takes as
    in training. Where folders are named as the classes, the accuracy and each class's recall are shown too.

    \b
    Examples:
      dtfl-private predict runs/mine photos
      dtfl-private predict runs/mine one.png two.jpg --top 3
      dtfl-private predict runs/mine photos --csv predictions.csv
      dtfl-private predict runs/mine photos --csv > predictions.csv
    """
    from dtfl_private.cli.targets import check_targets
    from dtfl_private.cli.terminal import open_console
    from dtfl_private.experiments.load_run import load_run
    from dtfl_private.report.live.predicting import PredictionDisplay

    if not images:
        raise InputError("no images are named: dtfl-private predict RUN IMAGES..., files or folders")
    for option, target in (("--csv", csv_file), ("--json", json_file)):
        _require_no_image(option, target)
    if csv_file == json_file == "-":
        raise InputError("--csv and --json both go to standard output: give one of them a file")
    check_targets(csv_file, json_file)
    opened = load_run(run, allow_plugins=allow_plugins)
    with PredictionDisplay(open_console(stderr=True)) as display:
        try:
            shown, judgement, counts, resized = _predicted(opened, images, which, device, top, display)
        except KeyboardInterrupt:
            raise InterruptedPredictionError("interrupted; nothing was written") from None
    remarks = _resized_line(resized, len(shown), opened.data)
    if csv_file is not None or json_file is not None:
        _write(shown, judgement, csv_file, json_file, min(top, len(opened.classes)))
    else:
        _show(shown)
    _show_judgement(judgement, counts, len(shown), remarks, to_error="-" in (csv_file, json_file))


def _require_no_image(option: str, target: str | None) -> None:
    """Refuse to write results over an image: ``--csv`` takes the word behind it for the name of a file."""
    if target is not None and PurePath(target).suffix.lower() in IMAGE_ENDINGS:
        raise InputError(f"{option} '{target}' is refused: that names an image; put {option} last, or {option}=FILE")


def _predicted(
    run: "Run", images: Sequence[str], which: "Which", device: "DeviceName", top: int, display: "Callback"
) -> "tuple[list[PredictedImage], Judgement | None, dict[str, int], int]":
    """Return what the network says, batch by batch: of each image only the classes that are shown are kept."""
    import numpy as np

    from dtfl_private.experiments.trained.found_images import find_images
    from dtfl_private.experiments.trained.predict import predict_files, true_labels
    from dtfl_private.experiments.trained.predictions import Predictions, judged
    from dtfl_private.report.tables.predictions import PredictedImage
    from dtfl_private.runtime.device import choose_device

    run.data.require_image_files()
    found = find_images(images, run.classes)
    model = run.model(which).to(choose_device(device))
    classes, shown, labels, resized = model.classes, [], [], 0
    for batch, probabilities, batch_resized in predict_files(model, found, display):
        made = Predictions(classes=classes, probabilities=probabilities, files=None, true_labels=true_labels(batch))
        labels.append(made.labels)
        resized += batch_resized
        for image, ranked in zip(batch, made.top(top), strict=True):
            true = None if image.label is None else classes[image.label]
            shown.append(PredictedImage(file=image.path, top=ranked, true=true))
    true = true_labels(found)
    counts = {name: int((true == number).sum()) for number, name in enumerate(classes)}
    return shown, judged(np.concatenate(labels), true, classes), counts, resized


def _write(
    shown: "Sequence[PredictedImage]",
    judgement: "Judgement | None",
    csv_file: str | None,
    json_file: str | None,
    columns: int,
) -> None:
    from dtfl_private.cli.targets import write_file, write_json
    from dtfl_private.files.writing import path_text
    from dtfl_private.report.tables.predictions import predictions_csv

    if csv_file is not None:
        text = predictions_csv(shown, columns)
        if csv_file == "-":
            click.echo(text, nl=False)
        else:
            write_file(csv_file, text.encode())
    if json_file is not None:
        images = [
            {
                "file": path_text(image.file),
                "top": [{"class": name, "probability": probability} for name, probability in image.top],
                "true_class": image.true,
            }
            for image in shown
        ]
        known = None if judgement is None else {"images": judgement.images, "accuracy": judgement.accuracy}
        recall = {} if judgement is None else dict(judgement.recall)
        write_json(json_file, {"images": images, "judged": known, "recall": recall})


def _show(shown: "Sequence[PredictedImage]") -> None:
    from dtfl_private.cli.terminal import open_console
    from dtfl_private.report.tables.predictions import predictions_table

    open_console().print(predictions_table(shown))


def _show_judgement(
    judgement: "Judgement | None", counts: dict[str, int], images: int, remarks: Sequence[str], *, to_error: bool
) -> None:
    from dtfl_private.cli.terminal import open_console
    from dtfl_private.report.tables.predictions import recall_table

    console = open_console(stderr=to_error)
    for line in remarks:
        console.print(f"note: {line}", soft_wrap=True, highlight=False)
    if judgement is None:
        return
    console.print(recall_table(judgement.recall, counts))
    of = "" if judgement.images == images else f" of the {images:,}"
    line = f"accuracy {judgement.accuracy:.4f} over the {judgement.images:,} images{of} in folders named as classes"
    console.print(line, soft_wrap=True, highlight=False)


def _resized_line(resized: int, images: int, data: "DataDescription") -> list[str]:
    """Return what to say where images had to be resized, and those of the training had not."""
    if not resized:
        return []
    _, height, width = data.input_shape
    return [
        f"{resized:,} of {images:,} images were resized to {width}x{height} pixels, the size that all training images "
        "had as they were"
    ]

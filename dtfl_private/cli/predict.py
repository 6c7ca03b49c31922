"""The predict command."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_files, of_runs
from dtfl_private.cli.shared_options import plugin_option, which_option
from dtfl_private.errors import DtflError, InputError

if TYPE_CHECKING:
    from dtfl_private.cli.output import Output
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
@click.argument("run", shell_complete=of_runs)
@click.argument("images", nargs=-1, metavar="IMAGES...", shell_complete=of_files)
@click.option("--top", default=1, show_default=True, type=click.IntRange(min=1), metavar="K", help="classes per image")
@click.option(
    "--csv",
    "csv_file",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    shell_complete=of_files,
    help="write CSV instead of a table, to a file or, as the last option, to standard output",
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
    from dtfl_private.cli.output import Output, output
    from dtfl_private.cli.targets import check_targets, write_file
    from dtfl_private.experiments.load_run import load_run
    from dtfl_private.report.live.predicting import PredictionDisplay
    from dtfl_private.report.tables.predictions import predictions_csv, predictions_table

    if not images:
        raise InputError("no images are named: dtfl-private predict RUN IMAGES..., files or folders")
    answer = output()
    answer.require_stdout_free(csv_file)
    _require_no_image("--csv", csv_file)
    check_targets(csv_file)
    opened = load_run(run, allow_plugins=allow_plugins)
    with PredictionDisplay(answer.progress, quiet=answer.quiet) as display:
        try:
            shown, judgement, counts, resized = _predicted(opened, images, which, device, top, display)
        except KeyboardInterrupt:
            raise InterruptedPredictionError("interrupted; nothing was written") from None
    table = None if csv_file is None else predictions_csv(shown, min(top, len(opened.classes)))
    if table is None:
        answer.show(predictions_table(shown))
    elif csv_file == "-":
        click.echo(table, nl=False)
        answer = Output(quiet=answer.quiet, apart=True)  # nothing else may stand among its lines
    else:
        write_file(str(csv_file), table.encode())
    _show_judgement(answer, judgement, counts, len(shown))
    for line in _resized_line(resized, len(shown), opened.data):
        answer.warn(f"note: {line}")
    answer.document(_document(shown, judgement))


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
            named = None if image.label is None else classes[image.label]
            shown.append(PredictedImage(file=image.path, top=ranked, true=named))
    true = true_labels(found)
    counts = {name: int((true == number).sum()) for number, name in enumerate(classes)}
    return shown, judged(np.concatenate(labels), true, classes), counts, resized


def _document(shown: "Sequence[PredictedImage]", judgement: "Judgement | None") -> dict[str, object]:
    """Return the predictions for programs."""
    from dtfl_private.files.writing import path_text

    images = [
        {
            "file": path_text(image.file),
            "top": [{"class": name, "probability": probability} for name, probability in image.top],
            "true_class": image.true,
        }
        for image in shown
    ]
    known = None if judgement is None else {"images": judgement.images, "accuracy": judgement.accuracy}
    return {"images": images, "judged": known, "recall": {} if judgement is None else dict(judgement.recall)}


def _show_judgement(answer: "Output", judgement: "Judgement | None", counts: dict[str, int], images: int) -> None:
    """Show how right the network is, where the folders say what is right."""
    from dtfl_private.report.tables.predictions import recall_table

    if judgement is None:
        return
    answer.show(recall_table(judgement.recall, counts))
    of = "" if judgement.images == images else f" of the {images:,}"
    answer.show_line(
        f"accuracy {judgement.accuracy:.4f} over the {judgement.images:,} images{of} in folders named as classes"
    )


def _resized_line(resized: int, images: int, data: "DataDescription") -> list[str]:
    """Return what to say where images had to be resized, and those of the training had not."""
    if not resized:
        return []
    _, height, width = data.input_shape
    return [
        f"{resized:,} of {images:,} images were resized to {width}x{height} pixels, the size that all training images "
        "had as they were"
    ]

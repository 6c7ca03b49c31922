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
    from dtfl_private.data.files.found_files import FileKind
    from dtfl_private.experiments.run import Run, Which
    from dtfl_private.experiments.trained.predictions import Judgement
    from dtfl_private.numerics import DeviceName
    from dtfl_private.report.tables.predictions import PredictedFile
    from dtfl_private.runtime.callback import Callback

INPUT_ENDINGS = {".png", ".jpg", ".jpeg", ".txt"}


class InterruptedPredictionError(DtflError):
    """The user stopped it."""


@click.command(cls=DocumentedCommand)
@click.argument("run", shell_complete=of_runs)
@click.argument("files", nargs=-1, metavar="FILES...", shell_complete=of_files)
@click.option("--top", default=1, show_default=True, type=click.IntRange(min=1), metavar="K", help="classes per file")
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
    files: tuple[str, ...],
    top: int,
    csv_file: str | None,
    which: "Which",
    device: "DeviceName",
    allow_plugins: tuple[str, ...],
) -> None:
    """Predict the classes of images or texts by a run's trained network.

    FILES are PNG or JPEG files, of a run on texts .txt files, and folders that are searched through. They are turned
    into what the network takes as in training. Where folders are named as the classes, the accuracy and each class's
    recall are shown too.

    \b
    Examples:
      dtfl-private predict runs/mine photos
      dtfl-private predict runs/mine one.png two.jpg --top 3
      dtfl-private predict runs/mine photos --csv predictions.csv
      dtfl-private predict runs/mine photos --csv > predictions.csv
      dtfl-private predict runs/letters new/letter.txt
    """
    from dtfl_private.cli.output import Output, output
    from dtfl_private.cli.targets import check_targets, write_file
    from dtfl_private.experiments.load_run import load_run
    from dtfl_private.report.live.predicting import PredictionDisplay
    from dtfl_private.report.tables.predictions import predictions_csv, predictions_table

    if not files:
        raise InputError("no files are named: dtfl-private predict RUN FILES..., files or folders")
    answer = output()
    answer.require_stdout_free(csv_file)
    _require_no_input("--csv", csv_file)
    check_targets(csv_file)
    opened = load_run(run, allow_plugins=allow_plugins)
    with PredictionDisplay(answer.progress, quiet=answer.quiet) as display:
        try:
            kind, shown, judgement, counts, resized = _predicted(opened, files, which, device, top, display)
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
    _show_judgement(answer, kind, judgement, counts, len(shown))
    for line in _resized_line(resized, len(shown), opened.data):
        answer.warn(f"note: {line}")
    answer.document(_document(kind, shown, judgement))


def _require_no_input(option: str, target: str | None) -> None:
    """Refuse to write results over an image or a text: ``--csv`` takes the word behind it for the name of a file."""
    if target is not None and PurePath(target).suffix.lower() in INPUT_ENDINGS:
        raise InputError(
            f"{option} '{target}' is refused: that names an image or a text; put {option} last, or {option}=FILE"
        )


def _predicted(
    run: "Run", files: Sequence[str], which: "Which", device: "DeviceName", top: int, display: "Callback"
) -> "tuple[FileKind, list[PredictedFile], Judgement | None, dict[str, int], int]":
    """Return what the network says, batch by batch: of each file only the classes that are shown are kept."""
    import numpy as np

    from dtfl_private.experiments.trained.file_readers import reader_for
    from dtfl_private.experiments.trained.found_files import find_files
    from dtfl_private.experiments.trained.predict import predict_files, true_labels
    from dtfl_private.experiments.trained.predictions import Predictions, judged
    from dtfl_private.report.tables.predictions import PredictedFile
    from dtfl_private.runtime.device import choose_device

    reader = reader_for(run.data, run.folder.tokenizer)
    found = find_files(files, run.classes, reader.kind)
    model = run.model(which).to(choose_device(device))
    classes, shown, labels, resized = model.classes, [], [], 0
    for batch, probabilities, batch_resized in predict_files(model, reader, found, display):
        made = Predictions(classes=classes, probabilities=probabilities, files=None, true_labels=true_labels(batch))
        labels.append(made.labels)
        resized += batch_resized
        for one, ranked in zip(batch, made.top(top), strict=True):
            named = None if one.label is None else classes[one.label]
            shown.append(PredictedFile(file=one.path, top=ranked, true=named))
    true = true_labels(found)
    counts = {name: int((true == number).sum()) for number, name in enumerate(classes)}
    return reader.kind, shown, judged(np.concatenate(labels), true, classes), counts, resized


def _document(kind: "FileKind", shown: "Sequence[PredictedFile]", judgement: "Judgement | None") -> dict[str, object]:
    """Return the predictions for programs; under ``images``, or ``texts``."""
    from dtfl_private.files.writing import path_text

    files = [
        {
            "file": path_text(one.file),
            "top": [{"class": name, "probability": probability} for name, probability in one.top],
            "true_class": one.true,
        }
        for one in shown
    ]
    known = None if judgement is None else {kind.many: judgement.images, "accuracy": judgement.accuracy}
    return {kind.many: files, "judged": known, "recall": {} if judgement is None else dict(judgement.recall)}


def _show_judgement(
    answer: "Output", kind: "FileKind", judgement: "Judgement | None", counts: dict[str, int], files: int
) -> None:
    """Show how right the network is, where the folders say what is right."""
    from dtfl_private.report.tables.predictions import recall_table

    if judgement is None:
        return
    answer.show(recall_table(judgement.recall, counts, kind.many))
    of = "" if judgement.images == files else f" of the {files:,}"
    answer.show_line(
        f"accuracy {judgement.accuracy:.4f} over the {judgement.images:,} {kind.many}{of} in folders named as classes"
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

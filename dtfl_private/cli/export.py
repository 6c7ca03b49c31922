"""The export command."""

from typing import TYPE_CHECKING

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_files, of_runs
from dtfl_private.cli.shared_options import plugin_option, which_option
from dtfl_private.files.writing import path_text

if TYPE_CHECKING:
    from dtfl_private.experiments.run import Which
    from dtfl_private.experiments.trained.export import ExportFormat


@click.command(cls=DocumentedCommand)
@click.argument("run", shell_complete=of_runs)
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "torchscript", "state-dict"]),
    required=True,
    help="ONNX (needs the extra onnx), TorchScript, or the weights alone as safetensors",
)
@click.option("--out", metavar="FILE", shell_complete=of_files, help="file to write  [default: one in the run folder]")
@which_option
@plugin_option
def export(run: str, form: "ExportFormat", out: str | None, which: "Which", allow_plugins: tuple[str, ...]) -> None:
    """Export a run's trained network to a file for use elsewhere.

    ONNX and TorchScript files take images in [0, 1], float32 (N, C, H, W) with any N, and return logits: normalisation
    is in the graph. The names of the classes are in the file. How to use it is printed.

    \b
    Examples:
      dtfl-private export runs/mine --format onnx
      dtfl-private export runs/mine --format state-dict --out mine.safetensors
    """
    from dtfl_private.cli.output import output
    from dtfl_private.experiments.load_run import load_run
    from dtfl_private.experiments.trained.export import how_to_use, remarks

    opened, answer = load_run(run, allow_plugins=allow_plugins), output()
    path = opened.export(form, out=out, which=which)
    answer.show_line(f"written: {path}")
    for line in remarks(form, opened.config):
        answer.warn(f"note: {line}")
    answer.say("to use it:")
    for line in how_to_use(path, form, opened.data):
        answer.say(f"  {line}")
    answer.document({"file": path_text(path), "format": form})

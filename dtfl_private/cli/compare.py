"""The compare command."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_runs
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import form_option
from dtfl_private.cli.targets import check_targets
from dtfl_private.files.writing import require_usable

if TYPE_CHECKING:
    from dtfl_private.report.pictures.saving import PictureForm

DEFAULT_OUT = "comparison"


@click.command(cls=DocumentedCommand)
@click.argument("runs", nargs=-1, metavar="RUN RUN...", shell_complete=of_runs)
@click.option(
    "--target",
    type=click.FloatRange(min=0, max=1, min_open=True),
    metavar="A",
    help="test accuracy to reach (0..1); by default the runs' own target_accuracy",
)
@click.option(
    "--baseline", metavar="NAME", help="what speed-ups refer to: a method, or a name in the table  [default: fedavg]"
)
@click.option("--apart", is_flag=True, help="set runs of different data, environments or targets apart")
@click.option(
    "--out",
    default=DEFAULT_OUT,
    show_default=True,
    metavar="DIR",
    help="folder for compare.json and the pictures; its files of the same names are replaced",
)
@form_option
@click.option("--markdown", metavar="FILE", help="also write the table as Markdown; - for standard output")
@click.option("--latex", metavar="FILE", help="also write the table as LaTeX; - for standard output")
def compare(
    runs: tuple[str, ...],
    target: float | None,
    baseline: str | None,
    apart: bool,
    out: str,
    form: "PictureForm",
    markdown: str | None,
    latex: str | None,
) -> None:
    """Compare runs: accuracy, and what it took to reach a target.

    Runs that differ by their seeds alone make one row: means with 95 % intervals. Runs on different footings (data,
    environment, target) are refused, or set apart with --apart. A run that never reached the target counts as such:
    its row has a bound instead of a mean.

    \b
    Examples:
      dtfl-private compare runs/a runs/b
      dtfl-private compare runs/a runs/b --target 0.8 --baseline static --markdown table.md
      dtfl-private compare runs/a runs/b --apart --out runs/ab
    """
    from dtfl_private.cli.comparison_output import show_comparison
    from dtfl_private.experiments.comparing.compare import compare as compare_runs

    check_targets(markdown, latex)
    output().require_stdout_free(markdown, latex)
    require_usable(Path(out))
    comparison = compare_runs(runs, target=target, baseline=baseline, apart=apart)
    show_comparison(comparison, out, form=form, markdown=markdown, latex=latex)

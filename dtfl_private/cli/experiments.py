"""The commands about several runs: each reads options, calls a function and shows the result."""

from pathlib import Path

import click

from dtfl_private.cli.options import DocumentedCommand, plugin_option
from dtfl_private.cli.terminal import check_targets, open_console, write_file
from dtfl_private.errors import DtflError, InputError
from dtfl_private.experiments.compare import compare as compare_runs
from dtfl_private.experiments.preset import Preset, load_preset
from dtfl_private.experiments.sweep import sweep as run_sweep
from dtfl_private.files.writing import output_path, require_usable
from dtfl_private.report.comparison.files import comparison_files
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.live.sweep import SweepDisplay
from dtfl_private.report.pictures.saving import PictureForm
from dtfl_private.report.tables.comparison import latex as latex_tables
from dtfl_private.report.tables.comparison import legend, terminal_tables
from dtfl_private.report.tables.comparison import markdown as markdown_tables
from dtfl_private.report.tables.plain import plain_table

DEFAULT_OUT = "comparison"
DEFAULT_SWEEPS = Path("runs")

FORM = click.option(
    "--form", type=click.Choice(["png", "svg"]), default="png", show_default=True, help="of the pictures"
)


@click.command(cls=DocumentedCommand)
@click.argument("runs", nargs=-1, metavar="RUN RUN...")
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
@FORM
@click.option("--markdown", metavar="FILE", help="also write the table as Markdown; - for standard output")
@click.option("--latex", metavar="FILE", help="also write the table as LaTeX; - for standard output")
def compare(
    runs: tuple[str, ...],
    target: float | None,
    baseline: str | None,
    apart: bool,
    out: str,
    form: PictureForm,
    markdown: str | None,
    latex: str | None,
) -> None:
    """Show runs side by side: accuracy, and what it took to reach a target.

    Runs that differ by their seeds alone make one row: means with 95 % intervals. Runs on different footings (data,
    environment, target) are refused, or set apart with --apart. A run that never reached the target counts as such:
    its row has a bound instead of a mean.

    \b
    Examples:
      dtfl-private compare runs/a runs/b
      dtfl-private compare runs/a runs/b --target 0.8 --baseline static --markdown table.md
      dtfl-private compare runs/a runs/b --apart --out runs/ab
    """
    check_targets(markdown, latex)
    require_usable(Path(out))
    comparison = compare_runs(runs, target=target, baseline=baseline, apart=apart)
    show_comparison(comparison, out, form=form, markdown=markdown, latex=latex)


def show_comparison(
    comparison: Comparison,
    out: str,
    *,
    form: PictureForm = "png",
    markdown: str | None = None,
    latex: str | None = None,
) -> None:
    """Write a comparison's files, and show its tables unless one of them goes to standard output."""
    folder = output_path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"folder '{out}' cannot be made: {error}") from None
    written = []
    for name, data in comparison_files(comparison, form).items():
        write_file(str(folder / name), data)
        written.append(str(folder / name))
    for target, text in ((markdown, markdown_tables), (latex, latex_tables)):
        if target == "-":
            click.echo(text(comparison), nl=False)
        elif target is not None:
            write_file(target, text(comparison).encode())
            written.append(target)
    if "-" not in (markdown, latex):
        console = open_console()
        for table in terminal_tables(comparison, console.width):
            console.print(table)
        for sentence in legend(comparison):
            console.print(sentence, highlight=False)
        console.print(f"written: {', '.join(written)}", soft_wrap=True, highlight=False)


@click.command(cls=DocumentedCommand)
@click.argument("preset", metavar="PRESET.toml")
@click.option("--size", default="small", show_default=True, metavar="NAME", help="which of the preset's sizes")
@click.option("--out", metavar="DIR", help="folder of the sweep  [default: runs/PRESET-SIZE]")
@click.option(
    "--parallel",
    type=click.IntRange(min=1),
    metavar="N",
    help="runs at once, each in a one-thread process  [default: one per core; one on a GPU]",
)
@click.option("--data-dir", metavar="DIR", help="folder of the data set's files on this machine")
@FORM
@plugin_option
@click.option("--dry-run", is_flag=True, help="show the runs and leave it at that")
def sweep(
    preset: str,
    size: str,
    out: str | None,
    parallel: int | None,
    data_dir: str | None,
    form: PictureForm,
    allow_plugins: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Train all runs of a preset, over several seeds, and compare them.

    The same command goes on with an interrupted sweep: runs that have ended are not repeated, others are resumed.
    Nothing depends on the number of processes.

    \b
    Examples:
      dtfl-private sweep benchmarks/presets/headline.toml
      dtfl-private sweep benchmarks/presets/headline.toml --size full --data-dir cifar --out runs/paper
      dtfl-private sweep benchmarks/presets/tiers.toml --dry-run
    """
    overrides = {} if data_dir is None else {"data_dir": str(Path(data_dir).absolute())}
    loaded = load_preset(Path(preset), size, allow_plugins=allow_plugins, **overrides)
    console = open_console()
    console.print(_preset_line(loaded), soft_wrap=True, highlight=False)
    if dry_run:
        table = plain_table("", "run", "rounds", "method", "scheduler", "partition", right=False)
        for run in loaded.runs:
            config = run.config
            table.add_row(run.name, str(config.rounds), config.method, config.scheduler, config.partition)
        console.print(table)
        return
    folder = str(DEFAULT_SWEEPS / loaded.name if out is None else output_path(out))
    try:
        with SweepDisplay(console) as display:
            done = run_sweep(loaded, folder, parallel=parallel, listener=display)
    except KeyboardInterrupt:
        raise InterruptedSweepError(f"interrupted: the same command goes on with the sweep in {folder}") from None
    if done.comparison is not None:
        show_comparison(done.comparison, folder, form=form)
    done.require_whole()


class InterruptedSweepError(DtflError):
    """The user stopped a sweep."""


def _preset_line(preset: Preset) -> str:
    seeds = len({run.config.seed for run in preset.runs})
    return f"{preset.title}: {len(preset.runs)} runs over {seeds} seed{'s' if seeds != 1 else ''}"

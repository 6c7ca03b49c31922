"""The sweep command."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_files
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import form_option, plugin_option
from dtfl_private.cli.targets import check_targets, write_file
from dtfl_private.errors import DtflError, InputError
from dtfl_private.files.writing import output_path
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.executor_choice import LOCAL

if TYPE_CHECKING:
    from rich.table import Table

    from dtfl_private.experiments.planned_run import PlannedRun
    from dtfl_private.experiments.preset import Preset
    from dtfl_private.report.comparison.groups import Comparison
    from dtfl_private.report.pictures.saving import PictureForm

DEFAULT_SWEEPS = Path("runs")


@click.command(cls=DocumentedCommand)
@click.argument("preset", metavar="PRESET.toml", shell_complete=of_files)
@click.option("--size", default="small", show_default=True, metavar="NAME", help="which of the preset's sizes")
@click.option("--out", metavar="DIR", help="folder of the sweep  [default: runs/PRESET-SIZE]")
@click.option(
    "--parallel",
    type=click.IntRange(min=1),
    metavar="N",
    help="runs at once, each in a one-thread process  [default: one per core; one on a GPU]",
)
@click.option(
    "--executor",
    default=LOCAL,
    show_default=True,
    metavar="local|ray[:key=value,...]",
    help="who trains: this machine, or a Ray cluster whose nodes all see the folder of the sweep: "
    "ray[:address=ADDRESS,gpus=SHARE,actors=N]",
)
@click.option("--data-dir", metavar="DIR", help="folder of the data set's files on this machine")
@form_option
@click.option("--markdown", metavar="FILE", help="also write the tables as Markdown")
@click.option("--latex", metavar="FILE", help="also write the tables as LaTeX")
@plugin_option
@click.option("--dry-run", is_flag=True, help="show the runs and leave it at that")
def sweep(
    preset: str,
    size: str,
    out: str | None,
    parallel: int | None,
    executor: str,
    data_dir: str | None,
    form: "PictureForm",
    markdown: str | None,
    latex: str | None,
    allow_plugins: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Train all runs of a preset, over several seeds, and compare them.

    The same command goes on with an interrupted sweep: runs that have ended are not repeated, others are resumed.
    Nothing depends on the number of processes.

    A preset with a table [tuning] has its methods' settings chosen first: equally many trials for each method, judged
    on images that no other run trains on. Trials are in DIR/tuning, what they chose is in DIR/tuning.json; the tables
    show runs with the preset's own settings, runs with the chosen ones, and which these are.

    A preset with tables [[attack]] has its runs attacked when they have ended, client by client; what is shown is how
    leakage goes with the variety of a client's labels, its number of images, and how odd they are, and --markdown has
    these tables.

    A preset with a table [plan] trains nothing: its runs are planned, as by `plan`, and what is shown is regret against
    the oracle and how often clients are in the oracle's tier.

    \b
    Examples:
      dtfl-private sweep benchmarks/presets/headline.toml
      dtfl-private sweep benchmarks/presets/headline.toml --size full --data-dir cifar --out runs/paper
      dtfl-private sweep benchmarks/presets/tiers.toml --dry-run
      dtfl-private sweep benchmarks/presets/ema-factor.toml --form svg
      dtfl-private sweep benchmarks/presets/fastest-tuned.toml --markdown tables.md
      dtfl-private sweep benchmarks/presets/non-iid-leakage.toml --markdown clients.md
    """
    from dtfl_private.cli.comparison_output import show_comparison
    from dtfl_private.experiments.preset import load_preset
    from dtfl_private.experiments.sweep import sweep as run_sweep
    from dtfl_private.report.live.sweep import SweepDisplay

    check_targets(markdown, latex)
    output().require_stdout_free(markdown, latex)
    overrides = {} if data_dir is None else {"data_dir": str(Path(data_dir).absolute())}
    loaded = load_preset(Path(preset), size, allow_plugins=allow_plugins, **overrides)
    answer = output()
    answer.say(_preset_line(loaded))
    if dry_run:
        answer.show(runs_table(loaded))
        answer.document(_planned_runs(loaded))
        return
    folder = str(DEFAULT_SWEEPS / loaded.name if out is None else output_path(out))
    if loaded.attack:
        require_attacks(loaded, executor)
    if loaded.plan is not None:
        if latex is not None:
            raise InputError("--latex is of trained sweeps: a planned one has --markdown")
        _sweep_plans(loaded, folder, parallel, form, markdown)
        return
    try:
        with SweepDisplay(answer.progress, quiet=answer.quiet) as display:
            done = run_sweep(loaded, folder, parallel=parallel, executor=executor, callbacks=[display])
    except KeyboardInterrupt:
        raise InterruptedSweepError(f"interrupted: the same command goes on with the sweep in {folder}") from None
    # With attacks the tables that are asked for as Markdown are those of leakage.
    tables = markdown if not loaded.attack else None
    if done.comparison is not None:
        show_comparison(done.comparison, folder, form=form, markdown=tables, latex=latex)
    done.require_whole()
    if loaded.attack:
        _attack_runs(loaded, done.comparison, folder, parallel, form, markdown)


def _sweep_plans(
    preset: "Preset", folder: str, parallel: int | None, form: "PictureForm", markdown: str | None
) -> None:
    """Plan all runs of a preset that has a table [plan], and write and show their figures."""
    from dtfl_private.experiments.plan_sweep import sweep_plans
    from dtfl_private.report.live.sweep import SweepDisplay
    from dtfl_private.report.pictures.plan_sweep import plan_sweep_picture
    from dtfl_private.report.plan_sweep import Figure
    from dtfl_private.report.tables.plan_sweep import plan_sweep_markdown, plan_sweep_tables

    assert preset.plan is not None
    answer = output()
    try:
        with SweepDisplay(answer.progress, quiet=answer.quiet) as display:
            done = sweep_plans(preset.title, preset.runs, preset.plan, folder, parallel=parallel, callbacks=[display])
    except KeyboardInterrupt:
        raise InterruptedSweepError(f"interrupted: the same command goes on with the sweep in {folder}") from None
    drawn: tuple[Figure, Figure] = (done.main, "tier_accuracy")
    files = {f"{figure.replace('_', '-')}.{form}": plan_sweep_picture(done, figure, form=form) for figure in drawn}
    files["plans.json"] = (json.dumps(done.document(), indent=1) + "\n").encode()
    for name, data in files.items():
        write_file(str(Path(folder) / name), data)
    text = plan_sweep_markdown(done)
    if markdown == "-":
        click.echo(text, nl=False)
    else:
        if markdown is not None:
            write_file(markdown, text.encode())
        answer.show(*plan_sweep_tables(done))
    answer.say(f"written: {', '.join(str(Path(folder) / name) for name in files)}")
    answer.document(done.document())


def require_attacks(preset: "Preset", executor: str) -> None:
    """Refuse, before anything is trained, attacks that there are not, or that a cluster would have to mount."""
    from dtfl_private.auditing.client_leakage import require_names

    require_names(preset.attack)
    if executor != LOCAL:
        raise InputError("--executor is of presets without [[attack]]: attacks of a sweep are mounted on this machine")


def _attack_runs(
    preset: "Preset",
    comparison: "Comparison | None",
    folder: str,
    parallel: int | None,
    form: "PictureForm",
    markdown: str | None,
) -> None:
    """Attack all runs of a preset that has tables [[attack]], and write and show what leaks, by client and by tier."""
    from dtfl_private.auditing.client_sweep import attack_sweep
    from dtfl_private.report.live.sweep import SweepDisplay
    from dtfl_private.report.pictures.client_sweep import correlations_picture, leakage_picture
    from dtfl_private.report.pictures.side_by_side import side_by_side_picture
    from dtfl_private.report.side_by_side import side_by_side, tier_leakage
    from dtfl_private.report.tables.client_sweep import client_sweep_markdown, client_sweep_tables
    from dtfl_private.report.tables.side_by_side import side_by_side_markdown, side_by_side_tables

    answer, place = output(), Path(folder)
    try:
        with SweepDisplay(answer.progress, quiet=answer.quiet) as display:
            done = attack_sweep(preset.title, preset.runs, preset.attack, place, parallel=parallel, callbacks=[display])
    except KeyboardInterrupt:
        raise InterruptedSweepError(f"interrupted: the same command goes on with the sweep in {folder}") from None
    files = {
        f"client-correlations.{form}": correlations_picture(done, form=form),
        f"client-leakage.{form}": leakage_picture(done, form=form),
        "clients.json": (json.dumps(done.document(), indent=1, allow_nan=False) + "\n").encode(),
    }
    beside = [] if comparison is None else side_by_side(comparison, tier_leakage(done.points))
    for number, one in enumerate(beside, start=1):
        name = "side-by-side" if len(beside) == 1 else f"side-by-side-{number}"
        files[f"{name}.{form}"] = side_by_side_picture(one, form=form)
    for name, data in files.items():
        write_file(str(place / name), data)
    text = side_by_side_markdown(beside) + client_sweep_markdown(done)
    if markdown == "-":
        click.echo(text, nl=False)
    else:
        if markdown is not None:
            write_file(markdown, text.encode())
        answer.show(*side_by_side_tables(beside), *client_sweep_tables(done))
    for line in done.left_out:
        answer.say(f"left out: {line}")
    answer.say(f"written: {', '.join(str(place / name) for name in files)}")


class InterruptedSweepError(DtflError):
    """The user stopped a sweep."""


def _preset_line(preset: "Preset") -> str:
    seeds = {run.config.seed for run in preset.runs}
    line = f"{preset.title}: {number_of(len(preset.runs), 'run')} over {number_of(len(seeds), 'seed')}"
    if preset.tuning is None:
        return line
    trials = number_of(len(preset.tuning.combinations[0].trials), "trial")
    times = "untuned and tuned" if preset.tuning.untuned else "tuned"
    return f"{line}, {times}, after {trials} of each method ({number_of(len(preset.tuning.runs), 'run')})"


def runs_table(preset: "Preset") -> "Table":
    """Return the table of a preset's runs."""
    from dtfl_private.report.tables.plain import plain_table

    table = plain_table("", "run", "rounds", "method", "scheduler", "partition", right=False)
    for run in _all_runs(preset):
        config = run.config
        table.add_row(run.name, str(config.rounds), config.method, config.scheduler, config.partition)
    return table


def _all_runs(preset: "Preset") -> "Sequence[PlannedRun]":
    """Return trials and other runs, in the order in which they are trained."""
    return [*([] if preset.tuning is None else preset.tuning.runs), *preset.runs]


def _planned_runs(preset: "Preset") -> list[dict[str, Any]]:
    """Return a preset's runs for programs: names and configurations."""
    return [{"name": run.name, "config": run.config.model_dump(mode="json")} for run in _all_runs(preset)]

"""The tune command."""

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_files, of_folders
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import plugin_option, require_only
from dtfl_private.errors import DtflError, InputError

# What --resume goes with: the folder says all else.
OF_A_RESUME = ("resume", "workers", "allow_plugins", "verbose", "quiet", "as_json")


@click.command(cls=DocumentedCommand)
@click.argument("source", required=False, metavar="RUN|CONFIG.toml", shell_complete=of_files)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="LIMIT",
    help='what may leak at most, as "ssim<=0.4" or "membership-auc<=0.6@tier<=2"; repeat for several',
)
@click.option(
    "--max-accuracy-loss",
    default=0.02,
    show_default=True,
    type=click.FloatRange(0, 1),
    metavar="X",
    help="accuracy (0..1) that may be lost to the untouched configuration",
)
@click.option(
    "--max-time-ratio",
    default=1.5,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="simulated time that may be taken, in times of the untouched configuration's",
)
@click.option("--trials", type=click.IntRange(min=2), metavar="N", help="trials on the first rung  [default: 40]")
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    metavar="H",
    help="as many trials as fit into this time, by what the untouched configuration takes",
)
@click.option("--space", metavar="SPACE.toml", shell_complete=of_files, help="what may be chosen  [default: built in]")
@click.option("--show-space", is_flag=True, help="print the built-in space for this configuration and leave")
@click.option(
    "--audits",
    default=3,
    show_default=True,
    type=click.IntRange(1, 20),
    metavar="N",
    help="points that are audited afresh at most, until one is confirmed",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), metavar="N", help="of the search"
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="trials at once, each in a one-thread process  [default: one per core; one on a GPU]",
)
@click.option(
    "--out", metavar="DIR", shell_complete=of_folders, help="folder to make  [default: a fresh one below runs/]"
)
@click.option(
    "--resume", metavar="DIR", shell_complete=of_folders, help="go on with an interrupted search in its folder"
)
@plugin_option
def tune(
    source: str | None,
    limits: tuple[str, ...],
    max_accuracy_loss: float,
    max_time_ratio: float,
    trials: int | None,
    hours: float | None,
    space: str | None,
    show_space: bool,
    audits: int,
    seed: int,
    workers: int | None,
    out: str | None,
    resume: str | None,
    allow_plugins: tuple[str, ...],
) -> None:
    """Search for the configuration within limits on leakage, accuracy and time.

    Tries defenses and their strengths, tiers, wire formats and methods on short trainings with quick attacks, promotes
    the most promising to whole ones, and audits the best afresh: trained anew, on images that no trial has had, and
    attacked by stronger means. Only what that audit confirms is recommended. Writes tune.json, report.html, a picture,
    recommended.toml, which `train` takes, and the audit. Needs Optuna (the extra ``tune``).

    \b
    Examples:
      dtfl-private tune runs/mine --limit "ssim<=0.4" --limit "membership-auc<=0.6"
      dtfl-private tune mine.toml --limit "ssim<=0.5@tier<=2" --max-accuracy-loss 0.05 --hours 2
      dtfl-private tune runs/mine --limit "ssim<=0.4" --show-space
      dtfl-private tune --resume runs/tune-digits-001
    """
    from dtfl_private.choosing.tables import tuning_output
    from dtfl_private.choosing.tuning import TuningInterrupted, resume_tuning, shown_space
    from dtfl_private.choosing.tuning import tune as search
    from dtfl_private.report.live.tune import TuneDisplay

    answer = output()
    if resume is not None:
        require_only(OF_A_RESUME, "says what to search for, and --resume goes on with what was asked")
    elif source is None:
        raise InputError("RUN or CONFIG.toml is missing: name what is to be changed, or --resume DIR")
    if show_space:
        click.echo(shown_space(str(source), limits, allow_plugins), nl=False)
        return
    with TuneDisplay(answer.progress, quiet=answer.quiet) as display:
        try:
            if resume is not None:
                done = resume_tuning(resume, workers=workers, allow_plugins=allow_plugins, callbacks=[display])
            else:
                done = search(
                    str(source),
                    limits,
                    max_accuracy_loss=max_accuracy_loss,
                    max_time_ratio=max_time_ratio,
                    trials=trials,
                    hours=hours,
                    space=space,
                    audits=audits,
                    seed=seed,
                    workers=workers,
                    out=out,
                    allow_plugins=allow_plugins,
                    callbacks=[display],
                )
        except TuningInterrupted as stop:
            raise InterruptedTuningError(
                f"interrupted; what was tried is kept: --resume {stop.folder} goes on"
            ) from None
    answer.show(*tuning_output(done))
    for line in (f"picture: {done.picture}", f"results: {done.path}", f"report: {done.report}"):
        answer.say(line)
    if done.config is not None:
        answer.say(f"configuration: {done.folder / 'recommended.toml'}")
    answer.document(done.path)


class InterruptedTuningError(DtflError):
    """The user stopped a search."""

"""The train command."""

from pathlib import Path
from typing import Any

import click

from dtfl_private.cli.command import GroupedCommand
from dtfl_private.cli.completion import of_files, of_runs
from dtfl_private.cli.config_options import COMMAND_LINE_DEFAULTS, config_options, require_data_named, typed_layers
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import plugin_option, set_option
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import file_layers, flattened
from dtfl_private.experiments.config.field_kinds import NOTHING
from dtfl_private.experiments.config.plugin_fields import named_objects
from dtfl_private.experiments.config.train_config import TrainConfig, make_config, plugin_options
from dtfl_private.files.writing import output_path
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed, allowance


@click.command(cls=GroupedCommand)
@click.argument("config_file", required=False, metavar="[CONFIG.toml]", shell_complete=of_files)
@config_options(tuple(TrainConfig.model_fields))
@set_option
@click.option(
    "--out", metavar="RUN", shell_complete=of_runs, help="run folder to make; by default a fresh one below runs/"
)
@click.option(
    "--resume", is_flag=True, help="go on with the run in --out, by its own configuration; start it if there is none"
)
@plugin_option
def train(
    config_file: str | None,
    settings: tuple[str, ...],
    out: str | None,
    resume: bool,
    allow_plugins: tuple[str, ...],
    **options: Any,
) -> None:
    """Train a network federatedly; leave a run folder.

    Without any option: DTFL with dynamic tiers, ten uneven clients, the digits images that scikit-learn ships, about
    a minute on two cores. Every option under a heading from Data to Machine is also a key of CONFIG.toml; an option
    wins over the file, and so does --set KEY=VALUE. A file may extend others: extends = "base.toml".

    \b
    Examples:
      dtfl-private train
      dtfl-private train --dataset fashion-mnist --max-train-images 10000 --rounds 30
      dtfl-private train --partition dirichlet:0.5 --scheduler static:2 --noise 0.2 --out runs/mine
      dtfl-private train mine.toml --set rounds=30 --set defense=gaussian-noise
      dtfl-private train --resume --out runs/mine
    """
    from dtfl_private.cli.interrupted_run import InterruptedRunError, how_to_go_on
    from dtfl_private.experiments.setup.exposure_by_audit import exposure_line
    from dtfl_private.experiments.setup.tiers_allowed_by_audit import allowed_line
    from dtfl_private.experiments.train import train as run_training
    from dtfl_private.report.live.training import TrainingDisplay
    from dtfl_private.report.tables.judged import class_table
    from dtfl_private.report.tables.privacy import sentences
    from dtfl_private.report.tables.summary import summary_table

    out = None if out is None else str(output_path(out))
    given = flattened(typed_layers(settings, options))
    config = train_config(config_file, out, resume, given, allowance(allow_plugins))
    answer = output()
    with TrainingDisplay(answer.progress, config.rounds, quiet=answer.quiet) as display:
        try:
            run = run_training(config, out=out, resume=resume, callbacks=[display])
        except KeyboardInterrupt:
            done = how_to_go_on(display.folder, display.finished_rounds, plugin_options(config))
            raise InterruptedRunError(done) from None
    answer.show(summary_table(run.summary, str(run.folder.path)))
    told_apart = "test" in run.summary  # classes, which next-token training has none of
    if told_apart:
        answer.show(class_table(run.summary))
    for line in (allowed_line(run.config), exposure_line(run.config)):
        if line is not None:
            answer.show_line(line)
    for sentence in sentences(run.summary["privacy"]):
        answer.show_line(f"privacy: {sentence}")
    for picture in (run.folder.plot, *[run.folder.test_plot] * told_apart):
        answer.say(f"picture: {picture}")
    answer.document(run.folder.summary)


def train_config(
    config_file: str | None,
    out: str | None,
    resume: bool,
    given: dict[str, object],
    allowed: Allowed = NOTHING_ALLOWED,
) -> TrainConfig:
    """Return the configuration: the file's, or on resume the run's own, with the given options on top.

    It may name by its module what is ``allowed``, and what the options name.
    """
    from dtfl_private.experiments.config.toml_files import read_run_config
    from dtfl_private.experiments.run_folder.folder import RunFolder

    base: dict[str, object] = {}
    source = "CONFIG.toml"
    if config_file is not None:
        base, source = flattened(file_layers(Path(config_file))), config_file
    elif resume and out is not None and RunFolder(path=Path(out)).config.is_file():
        base = read_run_config(RunFolder(path=Path(out))).model_dump()
    values = {**COMMAND_LINE_DEFAULTS, **_without_old_tiers(base, given), **given}
    require_data_named(values)
    return make_config(values, source, allowed=allowed | named_objects(given))


def _without_old_tiers(base: dict[str, object], given: dict[str, object]) -> dict[str, object]:
    """Return a file's keys without what no longer follows from its audits and the options.

    Raises:
        InputError: both ways to say which tiers are allowed, or what they leak, are given as options.
    """
    from dtfl_private.experiments.setup.tiers_allowed_by_audit import DEPENDS_ON, ON_RECORD

    about = {"leakage_budget": "which tiers are allowed", "leakage_from": "what tiers leak"}
    stale = set()
    for key, record in ON_RECORD.items():
        if key in given and record in given:
            options = " and ".join("--" + name.replace("_", "-") for name in (key, record))
            raise InputError(f"{options} both say {about[key]}: give one of them")
        if record in given:
            stale.add(key)
        elif key in given or (base.get(key) not in (None, NOTHING) and {*DEPENDS_ON} & {*given}):
            stale.add(record)  # the audit is asked anew
    return {key: value for key, value in base.items() if key not in stale}

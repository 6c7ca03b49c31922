"""The attack command."""

import click

from dtfl_private.attacking.attack_config import AttackConfig, make_attack_config
from dtfl_private.cli.attack_options import attacked_tiers, model_options
from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_folders, of_runs
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import plugin_option
from dtfl_private.errors import DtflError

OPTIONS = tuple(name for name in AttackConfig.model_fields if name != "where_applicable")

# In words, of the fields whose default is no plain value.
DEFAULTS = {
    "attacks": "hybrid, or what stands in for it: by what the method hides; token-lookup and token-inverter on texts",
    "tiers": "those in use",
    "clients": "all of the round",
    "adversary": "the weakest that can",
    "threads": "all cores; one in each worker",
}


class InterruptedAttackError(DtflError):
    """The user stopped an attack."""


@click.command(cls=DocumentedCommand)
@click.argument("run", shell_complete=of_runs)
@model_options(AttackConfig, OPTIONS, defaults=DEFAULTS, metavars={"undefended": "train|RUN"})
@click.option(
    "--data-dir", metavar="DIR", shell_complete=of_folders, help="where the run's data are now, if they have moved"
)
@click.option(
    "--out", metavar="DIR", shell_complete=of_folders, help="where to write  [default: attacks in the run folder]"
)
@plugin_option
def attack(
    run: str,
    attacks: tuple[str, ...],
    tiers: tuple[str, ...],
    clients: tuple[str, ...],
    data_dir: str | None,
    out: str | None,
    allow_plugins: tuple[str, ...],
    **options: object,
) -> None:
    """Attack a finished run: what the server, or another party, can reconstruct.

    Results go to attack.json, with 95 % intervals and next to trivial guesses; reconstructions to PNG pictures. The
    attacker trains on the defenses' own samplers; `:adaptive=false` shows what an attacker gets who does not know them.
    Interrupted attacks go on where they were when the command is repeated.

    \b
    Examples:
      dtfl-private attack runs/mine --attack decoder --tier 2
      dtfl-private attack runs/mine --attack decoder --attack hybrid --tier all
      dtfl-private attack runs/defended --attack hybrid --undefended train
      dtfl-private attack runs/mine --attack lira --adversary model-recipient
      dtfl-private attack runs/mine --attack decoder --client 3 --aux mixture
    """
    from dtfl_private.attacking.runner import attack as attack_run
    from dtfl_private.report.live.attacks import AttackDisplay
    from dtfl_private.report.tables.leakage import leakage_table

    given = {name: value for name, value in (("attacks", attacks), ("clients", clients)) if value}
    config = make_attack_config(**given, tiers=attacked_tiers(tiers), **options)
    answer = output()
    with AttackDisplay(answer.progress, quiet=answer.quiet) as display:
        try:
            report = attack_run(
                run, config, out=out, data_dir=data_dir, allow_plugins=allow_plugins, callbacks=[display]
            )
        except KeyboardInterrupt:
            raise InterruptedAttackError(
                "interrupted; finished guesses are kept: repeat the command to go on"
            ) from None
    answer.show(leakage_table(report.results, title=f"what leaks: {run}"))
    for line in report.remarks:
        answer.show_line(line)
    for line in (*(f"picture: {path}" for path in report.pictures), f"results: {report.path}"):
        answer.say(line)
    answer.document(report.path)

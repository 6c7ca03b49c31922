"""The audit command."""

import click

from dtfl_private.auditing.audit_config import AuditConfig, make_audit_config
from dtfl_private.cli.attack_options import attacked_tiers, model_options
from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_folders, of_runs
from dtfl_private.cli.output import output
from dtfl_private.cli.shared_options import plugin_option, require_only
from dtfl_private.errors import DtflError

# Before and after the options that are no fields.
FIRST = (
    *(
        "preset",
        "tiers",
        "recorded",
        "attacks",
        "assume",
        "victims",
        "aux",
        "aux_dir",
        "aux_images",
        "aux_curve",
        "by_client",
        "seeds",
        "training_seeds",
        "effort",
        "undefended",
    ),
)
LAST = ("measured", "device", "workers", "executor")

# In words, of the fields whose default is no plain value.
DEFAULTS = {
    "tiers": "all",
    "victims": "the preset's",
    "aux_images": "the preset's",
    "aux_curve": "the preset's: on for thorough, off for quick",
    "by_client": "on",
    "seeds": "3",
    "training_seeds": "the preset's",
    "effort": "the preset's",
    "workers": "one per core",
}


# What --report-only goes with: all else is about what is measured.
OF_THE_REPORT = (
    *("run", "title", "organisation", "fail_if", "out", "report_only"),
    *("verbose", "quiet", "as_json"),
)


class InterruptedAuditError(DtflError):
    """The user stopped an audit."""


def _show_schema(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    from dtfl_private.verdicts.findings_file import findings_schema

    if wanted:
        click.echo(findings_schema(), nl=False)
        context.exit()


@click.command(cls=DocumentedCommand)
@click.argument("run", shell_complete=of_runs)
@model_options(AuditConfig, FIRST, defaults=DEFAULTS, metavars={"undefended": "train|RUN|none"})
@click.option(
    "--fail-if",
    multiple=True,
    metavar="GATE",
    help='leave with exit status 3 if a limit is crossed, as "ssim>0.5@tier<=2"; repeat for several',
)
@click.option(
    "--compare",
    shell_complete=of_runs,
    metavar="RUN",
    help="another run to compare with; it is audited too if it has not been",
)
@model_options(AuditConfig, LAST, defaults=DEFAULTS)
@click.option(
    "--data-dir", metavar="DIR", shell_complete=of_folders, help="where the run's data are now, if they have moved"
)
@click.option(
    "--out", metavar="DIR", shell_complete=of_folders, help="where to write  [default: audit in the run folder]"
)
@click.option("--title", metavar="TEXT", help="heading of the report  [default: made of data set, network and method]")
@click.option("--organisation", metavar="TEXT", help="who runs the audit, for the report")
@click.option(
    "--report-only",
    is_flag=True,
    help="attack nothing: write report.html and the plots of a finished audit anew, from audit.json and its pictures",
)
@plugin_option
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_schema,
    help="print the JSON Schema of audit.json and leave",
)
def audit(
    run: str,
    attacks: tuple[str, ...],
    tiers: tuple[str, ...],
    fail_if: tuple[str, ...],
    compare: str | None,
    data_dir: str | None,
    out: str | None,
    title: str | None,
    organisation: str | None,
    report_only: bool,
    allow_plugins: tuple[str, ...],
    **options: object,
) -> None:
    """Audit a finished run: what leaks at each tier, in one page to show to others.

    Mounts every applicable attack at every tier, from the same weights, and on clients in the tiers that they really
    were in; compares with trivial guesses and with the same run without defenses; takes measures that need no attack;
    checks that the attacks work where nothing is hidden. Writes audit.json, report.html (one file, no network) and
    pictures. An interrupted audit goes on where it was, and a second one reuses what the first has done.

    \b
    Examples:
      dtfl-private audit runs/mine
      dtfl-private audit runs/defended --fail-if "ssim>0.5@tier<=2"
      dtfl-private audit runs/defended --compare runs/mine
      dtfl-private audit runs/mine --preset thorough --device cuda
      dtfl-private audit runs/mine --report-only --title Pilot
    """
    from dtfl_private.auditing.gate import parse_gate, require_gates
    from dtfl_private.auditing.runner import audit as audit_run
    from dtfl_private.auditing.written_audit import write_report_again
    from dtfl_private.report.live.attacks import AttackDisplay
    from dtfl_private.report.tables.audit import audit_output

    gates = [parse_gate(text) for text in fail_if]
    given = {"attacks": attacks} if attacks else {}
    config = make_audit_config(**given, tiers=attacked_tiers(tiers) or "all", **options)
    answer = output()
    if report_only:
        require_only(OF_THE_REPORT, "changes what is measured, and --report-only measures nothing")
        again = write_report_again(run, out=out, title=title, organisation=organisation)
        answer.show_line(f"report: {again.report}")
        answer.document(again.path)
        require_gates(gates, again.findings)
        return
    with AttackDisplay(answer.progress, quiet=answer.quiet) as display:
        try:
            done = audit_run(
                run,
                config,
                compare=compare,
                title=title,
                organisation=organisation,
                out=out,
                data_dir=data_dir,
                allow_plugins=allow_plugins,
                callbacks=[display],
            )
        except KeyboardInterrupt:
            raise InterruptedAuditError("interrupted; what was finished is kept: repeat the command to go on") from None
    answer.show(*audit_output(done.findings))
    for line in (*(f"picture: {path}" for path in done.pictures), f"results: {done.path}", f"report: {done.report}"):
        answer.say(line)
    answer.document(done.path)
    require_gates(gates, done.findings)  # last, so that what crossed them has been shown

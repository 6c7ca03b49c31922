"""The audit command: reads options, calls the function, shows the result."""

import click

from dtfl_private.auditing.audit_config import PRESETS, make_audit_config
from dtfl_private.auditing.gate import parse_gate, require_gates
from dtfl_private.auditing.runner import audit as audit_run
from dtfl_private.cli.attack import attacked_tiers
from dtfl_private.cli.options import DocumentedCommand, plugin_option
from dtfl_private.cli.terminal import open_console
from dtfl_private.errors import DtflError
from dtfl_private.leakage.findings import findings_schema
from dtfl_private.report.live.attacks import AttackDisplay
from dtfl_private.report.tables.audit import audit_output


class InterruptedAuditError(DtflError):
    """The user stopped an audit."""


def _show_schema(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(findings_schema(), nl=False)
        context.exit()


@click.command(cls=DocumentedCommand)
@click.argument("run")
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    metavar="|".join(PRESETS),
    help="quick takes minutes on two cores; thorough mounts every attack on three trainings, and is for a GPU",
)
@click.option(
    "--tier", "tiers", multiple=True, metavar="M|all", help="tier to audit; repeat for several  [default: all]"
)
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="attack instead of the preset's; repeat for several",
)
@click.option("--victims", type=click.IntRange(min=1), help="images to attack at each tier  [default: the preset's]")
@click.option(
    "--aux",
    default="same",
    show_default=True,
    metavar="same|shifted:DATASET|architecture|none",
    help="the adversary's auxiliary knowledge, as for `attack`",
)
@click.option("--aux-dir", metavar="DIR", help="folder of the files of --aux shifted:DATASET")
@click.option("--aux-images", type=click.IntRange(min=12), help="auxiliary images  [default: the preset's]")
@click.option("--seeds", type=click.IntRange(min=1), help="repetitions of each attack  [default: 3]")
@click.option(
    "--training-seeds",
    type=click.IntRange(min=1),
    help="trainings to attack: the run, and others of further seeds, which are trained once  [default: the preset's]",
)
@click.option(
    "--undefended",
    default="train",
    show_default=True,
    metavar="train|RUN|none",
    help="what stands beside a run with defenses: the same without them, trained once, or a run folder that has it",
)
@click.option(
    "--fail-if",
    multiple=True,
    metavar="GATE",
    help='leave with exit status 3 if a limit is crossed, as "ssim>0.5@tier<=2"; repeat for several',
)
@click.option("--compare", metavar="RUN", help="another run to set beside; it is audited too if it has not been")
@click.option(
    "--measured",
    default=512,
    show_default=True,
    type=click.IntRange(min=100),
    help="records at most that measures without attacks look at",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|mps", help="where attacks compute")
@click.option("--workers", type=click.IntRange(min=1), help="processes side by side  [default: one per core]")
@click.option("--data-dir", metavar="DIR", help="where the run's data are now, if they have moved")
@click.option("--out", metavar="DIR", help="where to write  [default: audit in the run folder]")
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
    allow_plugins: tuple[str, ...],
    **options: object,
) -> None:
    """Audit a finished run: what leaks at each tier, in one page to show to others.

    Mounts every applicable attack at every tier, from the same weights, and on clients in the tiers that they really
    were in; sets trivial guesses and the same run without defenses beside; takes measures that need no attack; checks
    that the attacks work where nothing is hidden. Writes audit.json, report.html (one file, no network) and pictures.
    An interrupted audit goes on where it was, and a second one reuses what the first has done.

    \b
    Examples:
      dtfl-private audit runs/mine
      dtfl-private audit runs/defended --fail-if "ssim>0.5@tier<=2" --fail-if "auc>0.9"
      dtfl-private audit runs/defended --compare runs/mine
      dtfl-private audit runs/mine --preset thorough --device cuda
    """
    gates = [parse_gate(text) for text in fail_if]
    given = {"attacks": attacks} if attacks else {}
    config = make_audit_config(**given, tiers=attacked_tiers(tiers) or "all", **options)
    console = open_console()
    with AttackDisplay(console) as display:
        try:
            done = audit_run(
                run,
                config,
                compare=compare,
                out=out,
                data_dir=data_dir,
                allow_plugins=allow_plugins,
                listener=display,
            )
        except KeyboardInterrupt:
            raise InterruptedAuditError("interrupted; what was finished is kept: repeat the command to go on") from None
    console.print(*audit_output(done.findings), sep="\n")
    for line in (*(f"picture: {path}" for path in done.pictures), f"results: {done.path}", f"report: {done.report}"):
        console.print(line, soft_wrap=True, highlight=False)
    require_gates(gates, done.findings)  # last, so that what crossed them has been shown

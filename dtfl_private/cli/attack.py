"""The commands about leakage: each reads options, calls a function and shows the result."""

import click

from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.attacking.runner import attack as attack_run
from dtfl_private.cli.options import DocumentedCommand, plugin_option
from dtfl_private.cli.terminal import open_console
from dtfl_private.errors import DtflError, InputError
from dtfl_private.numerics import DeviceName
from dtfl_private.protocol.threat import ADVERSARIES
from dtfl_private.report.live.attacks import AttackDisplay
from dtfl_private.report.tables.leakage import leakage_table


class InterruptedAttackError(DtflError):
    """The user stopped an attack."""


@click.command(cls=DocumentedCommand)
@click.argument("run")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="attack; repeat for several; see `list attacks`  [default: hybrid]",
)
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    metavar="M|all",
    help="tier to attack; repeat for several  [default: those in use]",
)
@click.option(
    "--as-scheduled",
    is_flag=True,
    help="attack only clients that really were in a tier; otherwise the same clients are placed in each, from the same "
    "weights",
)
@click.option(
    "--replay",
    is_flag=True,
    help="play the run's last round once more although it recorded rounds (--record-rounds), so that clients can be "
    "placed in any tier",
)
@click.option(
    "--adversary",
    metavar="|".join(ADVERSARIES),
    help="who attacks; an attack that this one cannot mount is refused  [default: the weakest that can]",
)
@click.option(
    "--aux",
    default="same",
    show_default=True,
    metavar="same|shifted:DATASET|architecture|none",
    help="the adversary's auxiliary knowledge: images of the same kind (test images, which no client holds), of "
    "another data set, only the network, or nothing",
)
@click.option("--aux-dir", metavar="DIR", help="folder of the files of --aux shifted:DATASET, if it does not find them")
@click.option("--aux-images", default=5000, show_default=True, type=click.IntRange(min=12), help="auxiliary images")
@click.option(
    "--victims",
    default=64,
    show_default=True,
    type=click.IntRange(min=1),
    help="images to attack, in whole batches: first batches of the clients in the last round, then further ones",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="repetitions of each attack")
@click.option(
    "--lpips", is_flag=True, help="judge images by LPIPS too; its weights must be there, nothing is downloaded"
)
@click.option(
    "--undefended",
    metavar="train|RUN",
    help="also attack the same run without its defenses: train it, or take it from a run folder",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|mps", help="where attacks compute")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads  [default: all cores; one in each worker]")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="processes that mount attacks side by side; two one-thread workers beat one process with two threads",
)
@click.option("--data-dir", metavar="DIR", help="where the run's data are now, if they have moved")
@click.option("--out", metavar="DIR", help="where to write  [default: attacks in the run folder]")
@plugin_option
def attack(
    run: str,
    attacks: tuple[str, ...],
    tiers: tuple[str, ...],
    device: DeviceName,
    data_dir: str | None,
    out: str | None,
    allow_plugins: tuple[str, ...],
    **options: object,
) -> None:
    """Attack a finished run: what the server, or another party, can reconstruct.

    Results go to attack.json, with 95 % intervals and beside trivial guesses; reconstructions to PNG pictures. The
    attacker trains on the defenses' own samplers; `:adaptive=false` shows what one would get who does not know them.
    Interrupted attacks go on where they were when the command is repeated.

    \b
    Examples:
      dtfl-private attack runs/mine --attack decoder --tier 2
      dtfl-private attack runs/mine --attack decoder --attack optimization --attack hybrid --tier all
      dtfl-private attack runs/defended --attack hybrid --undefended train
      dtfl-private attack runs/mine --attack lira:shadows=16 --adversary model-recipient
    """
    config = make_attack_config(
        **({"attacks": attacks} if attacks else {}), tiers=attacked_tiers(tiers), device=device, **options
    )
    console = open_console()
    with AttackDisplay(console) as display:
        try:
            report = attack_run(run, config, out=out, data_dir=data_dir, allow_plugins=allow_plugins, listener=display)
        except KeyboardInterrupt:
            raise InterruptedAttackError(
                "interrupted; finished guesses are kept: repeat the command to go on"
            ) from None
    console.print(leakage_table(report.results, title=f"what leaks: {run}"))
    for line in (*report.remarks, *(f"picture: {path}" for path in report.pictures), f"results: {report.path}"):
        console.print(line, soft_wrap=True, highlight=False)


def attacked_tiers(texts: tuple[str, ...]) -> object:
    """Return tier numbers of options like 2, 1,3 or all."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    if not parts:
        return None
    if "all" in parts:
        return "all"
    for part in parts:
        if not (part.isascii() and part.isdigit() and int(part)):
            raise InputError(f"tier '{part}' is refused: expected a number from 1 on, or all")
    return [int(part) for part in parts]

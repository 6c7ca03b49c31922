"""The deploy commands that train: serve, and join."""

import math
from pathlib import Path
from typing import Any

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_configurations, of_folders, of_runs
from dtfl_private.cli.output import output
from dtfl_private.errors import InputError
from dtfl_private.files.writing import output_path

# As in `dtfl_private.deployed.server.serving_client`, which is not imported for the help.
DEADLINE_S = 600.0
# A client tries again after 30 seconds at the latest.
LINGER_S = 60.0
# A server may be away over a night.
PATIENCE_S = 86_400.0
# What the wire has room for.
MOST_SECONDS = 1e9


class _Seconds(click.FloatRange):
    """A time; NaN, which is in every range, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the seconds."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{seconds} is not in the range {self._describe_range()}.", param, ctx)
        return seconds


def _credentials(command: Any) -> Any:
    """Add the options that name a side's credentials."""
    for name, what in (
        ("key", "its private key"),
        ("cert", "certificate of this side"),
        ("ca", "certificate of the authority that issued both sides'"),
    ):
        command = click.option(f"--{name}", required=True, metavar="FILE", shell_complete=of_configurations, help=what)(
            command
        )
    return command


@click.command(cls=DocumentedCommand)
@click.argument("config_file", metavar="CONFIG.toml", shell_complete=of_configurations)
@click.option("--listen", required=True, metavar="HOST:PORT", help="where clients reach it; port 0 takes a free one")
@click.option("--out", metavar="RUN", shell_complete=of_runs, help="run folder; by default a fresh one below runs/")
@click.option("--resume", is_flag=True, help="go on with the run in --out; start it if there is none")
@click.option(
    "--min-clients",
    "minimum",
    type=click.IntRange(min=1),
    metavar="N",
    help="begin as soon as so many clients are connected  [default: all]",
)
@click.option(
    "--round-deadline",
    "deadline_s",
    type=_Seconds(min=0, max=MOST_SECONDS, min_open=True),
    default=DEADLINE_S,
    show_default=True,
    metavar="SECONDS",
    help="then clients are told to finish the round",
)
@click.option(
    "--stragglers",
    type=click.Choice(["average", "drop"]),
    default="average",
    show_default=True,
    help="average what a client has at the deadline, or leave it out of the round",
)
@click.option(
    "--linger",
    "linger_s",
    type=_Seconds(min=0),
    default=LINGER_S,
    show_default=True,
    metavar="SECONDS",
    help="after the end of the run, stay so long for clients that are away, to tell it to them",
)
@_credentials
def serve(
    config_file: str,
    listen: str,
    out: str | None,
    resume: bool,
    minimum: int | None,
    deadline_s: float,
    stragglers: str,
    linger_s: float,
    ca: str,
    cert: str,
    key: str,
) -> None:
    """Serve a run to real clients: wait for them, plan rounds by what is measured, train the server's halves, average.

    It leaves the run folder that `train` leaves, with seconds by the clock on the wall. Clients come and go: a round
    goes on with those that are there. A server that was stopped goes on with --resume, and its clients come back by
    themselves. With record_rounds in CONFIG.toml what was received is kept, for `attack` and `audit`.

    \b
    Examples:
      dtfl-private deploy serve config.toml --listen 0.0.0.0:8443 --out runs/hospitals --resume \\
        --ca server/ca.pem --cert server/server.pem --key server/server.key
    """
    from dtfl_private.cli.deploy_project import utc_now
    from dtfl_private.cli.interrupted_run import InterruptedRunError
    from dtfl_private.cli.train import train_config
    from dtfl_private.deployed.project.credentials import read_server_credentials
    from dtfl_private.deployed.server.entrance import OverTls
    from dtfl_private.deployed.server.serving import Serving
    from dtfl_private.deployed.server.serving import serve as run_server
    from dtfl_private.deployed.server.serving_client import Rules
    from dtfl_private.report.live.training import TrainingDisplay
    from dtfl_private.report.tables.privacy import sentences
    from dtfl_private.report.tables.summary import summary_table

    if resume and out is None:
        raise InputError("--resume needs --out RUN: the run folder to go on with")
    credentials = read_server_credentials(Path(ca), Path(cert), Path(key), now=utc_now())
    config = train_config(config_file, None, resume=False, given={})
    rules = Rules(deadline_s=deadline_s, stragglers="drop" if stragglers == "drop" else "average")
    serving = Serving(
        entrance=OverTls(listen=listen, credentials=credentials),
        rules=rules,
        minimum=minimum,
        out=None if out is None else output_path(out),
        resume=resume,
        linger_s=linger_s,
    )
    answer = output()
    with TrainingDisplay(answer.progress, config.rounds, quiet=answer.quiet) as display:
        try:
            run = run_server(config, serving, callbacks=[display])
        except KeyboardInterrupt:
            where = "nothing was written" if display.folder is None else f"go on with --resume --out {display.folder}"
            done = f"interrupted after {display.finished_rounds} finished rounds: {where}"
            raise InterruptedRunError(done) from None
    answer.show(summary_table(run.summary, str(run.folder.path)))
    for sentence in sentences(run.summary["privacy"]):
        answer.show_line(f"privacy: {sentence}")
    answer.say(f"picture: {run.folder.plot}")
    answer.document(run.folder.summary)


@click.command(cls=DocumentedCommand)
@click.argument("address", metavar="HOST:PORT")
@click.option(
    "--data-dir",
    metavar="DIR",
    shell_complete=of_folders,
    help="folder of this client's own data; without it, it plays a simulation's client, with its part of a data set "
    "that everybody has",
)
@click.option(
    "--dataset", metavar="NAME", help="how the data lie in --data-dir  [default: as in the run's configuration]"
)
@click.option(
    "--checkpoint",
    metavar="DIR",
    shell_complete=of_folders,
    help="folder of the checkpoint that the run's network is from, on this machine  [default: as in the run's "
    "configuration]",
)
@click.option(
    "--store",
    default="store",
    show_default=True,
    metavar="DIR",
    shell_complete=of_folders,
    help="folder in which the client keeps its privacy ledger, its secret and what it has agreed to",
)
@click.option(
    "--defense",
    "defenses",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="defense that acts here besides those of the run; repeat for several",
)
@click.option(
    "--self-audit",
    is_flag=True,
    help="do not take part: attack what this client would send, on this machine, and say what leaks at each tier",
)
@click.option(
    "--keep-truth",
    metavar="DIR",
    shell_complete=of_folders,
    help="keep the images behind what is sent in a folder of this machine, to score attacks on a recording by",
)
@click.option(
    "--chance",
    type=click.Choice(["secret", "seeded"]),
    default="secret",
    show_default=True,
    help="where noise, samples and orders come from: this machine, or the run's seed, which the server knows; with the "
    "latter a deployment repeats a simulation bit for bit, and no guarantee of a defense holds",
)
@click.option(
    "--patience",
    "patience_s",
    type=_Seconds(min=0),
    default=PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="give up once the server has not been there for so long",
)
@click.option("--accept-config", is_flag=True, help="agree to another configuration than the one agreed to before")
@click.option(
    "--device",
    type=click.Choice(["auto", "cuda", "mps", "cpu"]),
    default="auto",
    show_default=True,
    help="to compute on",
)
@_credentials
def join(
    address: str,
    data_dir: str | None,
    dataset: str | None,
    checkpoint: str | None,
    store: str,
    defenses: tuple[str, ...],
    self_audit: bool,
    keep_truth: str | None,
    chance: Any,
    patience_s: float,
    accept_config: bool,
    device: Any,
    ca: str,
    cert: str,
    key: str,
) -> None:
    """Take part in a run as a client, until it ends: images stay here, and what leaves passes the defenses first.

    The server tells its configuration; the first one is kept in --store, and another one later is refused. What leaves
    is charged to the ledger in --store, which refuses to overspend whatever the server asks. A lost connection is made
    again, until the server has not been there for --patience.

    \b
    Examples:
      dtfl-private deploy join fl.example.org:8443 --data-dir images --ca ca.pem --cert client.pem --key client.key
      dtfl-private deploy join fl.example.org:8443 --data-dir images --ca ca.pem --cert client.pem --key client.key \\
        --self-audit
    """
    from functools import partial

    from dtfl_private.cli.deploy_project import utc_now
    from dtfl_private.cli.interrupted_run import InterruptedRunError
    from dtfl_private.deployed.client.joining import Joining
    from dtfl_private.deployed.client.joining import join as run_client
    from dtfl_private.deployed.client.own_data import own_images
    from dtfl_private.deployed.project.credentials import read_client_credentials

    if data_dir is not None and not Path(data_dir).is_dir():  # before anybody is connected to
        raise InputError(f"--data-dir '{data_dir}' is no folder: expected that of this client's images")
    answer = output()
    joining = Joining(
        address=address,
        credentials=read_client_credentials(Path(ca), Path(cert), Path(key), now=utc_now()),
        images=partial(own_images, None if data_dir is None else Path(data_dir), dataset),
        store=output_path(store),
        defenses=defenses,
        accept_config=accept_config,
        patience_s=patience_s,
        device=device,
        chance=chance,
        keep_truth=None if keep_truth is None else output_path(keep_truth),
        checkpoint=None if checkpoint is None else Path(checkpoint),
    )
    try:
        if self_audit:
            from dtfl_private.deployed.client.looking import look
            from dtfl_private.report.live.attacks import AttackDisplay

            with AttackDisplay(answer.progress, quiet=answer.quiet) as display:
                found = look(joining, display.note, [display])
            for line in found.lines:
                answer.show_line(line)
            answer.document({"lines": found.lines})
            return
        why = run_client(joining, answer.say)
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted; what was released is on record in {store}") from None
    answer.show_line(f"the run has ended: {why}")
    answer.document({"ended": why})


@click.command(cls=DocumentedCommand, name="add-truth")
@click.argument("run", shell_complete=of_runs)
@click.argument("client", type=click.IntRange(min=0))
@click.argument("kept", metavar="DIR", shell_complete=of_folders)
def add_truth(run: str, client: int, kept: str) -> None:
    """Add what a client has kept by --keep-truth to a recorded run, to score attacks on what was received.

    For runs on a data set that is on this machine too: CLIENT has its part of it.

    \b
    Examples:
      dtfl-private deploy add-truth runs/digits 0 clients/client-0/truth
    """
    from dtfl_private.deployed.truth import add_truth as add
    from dtfl_private.experiments.run_folder.folder import RunFolder

    rounds, answer = add(RunFolder(path=Path(run)), Path(kept), client), output()
    answer.show_line(f"added: client {client}, round {', '.join(map(str, rounds))}")
    answer.document({"client": client, "rounds": rounds})

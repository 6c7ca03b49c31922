"""The deploy commands: a run over a real network."""

from pathlib import Path

import click

from dtfl_private.cli.command import CommandGroup, DocumentedCommand
from dtfl_private.cli.completion import of_configurations, of_folders, of_runs
from dtfl_private.cli.deploy_run import add_truth, join, serve
from dtfl_private.cli.output import output
from dtfl_private.files.writing import path_text

# As in `dtfl_private.deployed.project.init`, which is not imported for the help.
DEFAULT_PORT, DEFAULT_DAYS, MOST_DAYS, MOST_CLIENTS = 8443, 365, 3650, 1000


@click.group(cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def deploy(context: click.Context) -> None:
    """Train over a real network, between processes that do not trust each other."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@deploy.command(cls=DocumentedCommand)
@click.argument("folder", shell_complete=of_folders)
@click.option(
    "--clients",
    type=click.IntRange(1, MOST_CLIENTS),
    metavar="N",
    help="number of clients  [default: as in --config, else 3]",
)
@click.option(
    "--server-name",
    "names",
    multiple=True,
    metavar="HOST",
    help="name or address under which clients reach the server; repeat for several, the first is the one in their "
    "instructions  [default: localhost]",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="on which it listens"
)
@click.option(
    "--config",
    "config_file",
    metavar="CONFIG.toml",
    shell_complete=of_configurations,
    help="configuration of the run  [default: the digits data set]",
)
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=DEFAULT_DAYS,
    show_default=True,
    metavar="D",
    help="for which certificates are valid",
)
@click.option("--flower", is_flag=True, help="for a federation that runs with Flower: its app, keys of SuperNodes")
def init(
    folder: str,
    clients: int | None,
    names: tuple[str, ...],
    port: int,
    config_file: str | None,
    days: int,
    flower: bool,
) -> None:
    """Write a project: certificates, configuration, and what starts it.

    FOLDER must not be there. Beside the run's configuration it has a certificate authority, a folder for the server and
    one for each client, which is handed over as it is; the authority's key stays with you. Needs the extra deploy; with
    --flower, the extra flower.

    \b
    Examples:
      dtfl-private deploy init hospitals --server-name fl.example.org
      dtfl-private deploy init hospitals --clients 5 --config mine.toml --days 90
      dtfl-private deploy init hospitals --flower --server-name fl.example.org
    """
    from dtfl_private.cli.deploy_project import project_config, project_document, project_lines, utc_now
    from dtfl_private.deployed.project.flower_init import make_flower_project
    from dtfl_private.deployed.project.init import make_project
    from dtfl_private.files.writing import output_path

    config, make = project_config(config_file, clients), make_flower_project if flower else make_project
    made = make(output_path(folder), config, names=names, port=port, days=days, now=utc_now())
    answer = output()
    answer.show_line(f"written: {made.folder.path}")
    for line in project_lines(made):
        answer.say(line)
    answer.document(project_document(made))


@deploy.command(name="add-client", cls=DocumentedCommand)
@click.argument("folder", shell_complete=of_folders)
def add_client_(folder: str) -> None:
    """Add a client to a project.

    It gets the next number, a certificate, and a folder to hand over.

    \b
    Examples:
      dtfl-private deploy add-client hospitals
    """
    from dtfl_private.cli.deploy_project import utc_now
    from dtfl_private.deployed.project.enrolment import add_client

    added, answer = add_client(Path(folder), now=utc_now()), output()
    answer.show_line(f"written: {added.folder.path}")
    if added.configured is not None and added.client >= added.configured:
        answer.warn(
            f"note: config.toml has clients = {added.configured}: client {added.client} takes part in a run only once "
            f"it has clients = {added.client + 1}"
        )
    answer.document({"client": added.client, "folder": path_text(added.folder.path)})


@deploy.command(name="renew", cls=DocumentedCommand)
@click.argument("folder", shell_complete=of_folders)
@click.argument("name", metavar="server|client-K")
@click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), metavar="D", help="for which it is valid  [default: as at the start]"
)
def renew_(folder: str, name: str, days: int | None) -> None:
    """Renew a certificate of a project, for the same key.

    Hand over the new certificate alone, which is no secret: it takes the place of the old one, beside the key that is
    already there.

    \b
    Examples:
      dtfl-private deploy renew hospitals client-2
      dtfl-private deploy renew hospitals server --days 90
    """
    from dtfl_private.cli.deploy_project import utc_now
    from dtfl_private.deployed.project.enrolment import renew

    renewed, answer = renew(Path(folder), name, now=utc_now(), days=days), output()
    answer.show_line(f"written: {renewed.certificate}, valid until {renewed.expires:%Y-%m-%d}")
    answer.document({"file": path_text(renewed.certificate), "expires": renewed.expires.isoformat()})


@deploy.command(cls=DocumentedCommand)
@click.argument("run", shell_complete=of_runs)
def status(run: str) -> None:
    """Show how a deployed run stands, client by client.

    Its progress, and of each client whether it is connected; of the last round that it was given its tier, the seconds
    until its update, and those that it says it computed; the measured link; refused frames and the last error.

    RUN is the folder that the server writes, on the server's machine or a copy of it. It is only read.

    \b
    Examples:
      dtfl-private deploy status runs/hospitals
      dtfl-private deploy status runs/hospitals --json
    """
    from dtfl_private.cli import deploy_output as words
    from dtfl_private.cli.deploy_project import utc_now
    from dtfl_private.deployed.status import read_status, status_document

    found, now, answer = read_status(Path(run)), utc_now(), output()
    answer.show_line(words.progress_line(found))
    answer.show_line(words.server_line(found, now))
    answer.show(*filter(None, (words.clients_table(found, now), words.errors_table(found))))
    for line in words.warnings(found, now):
        answer.warn(line)
    answer.document(status_document(found))


deploy.add_command(serve)
deploy.add_command(join)
deploy.add_command(add_truth)

"""The help command: topics of the documentation, without a browser."""

import click

from dtfl_private.cli.command import DocumentedCommand
from dtfl_private.cli.completion import of_topics
from dtfl_private.cli.output import output
from dtfl_private.errors import unknown_name


@click.command(name="help", cls=DocumentedCommand)
@click.argument("topic", required=False, shell_complete=of_topics)
def help_(topic: str | None) -> None:
    """Explain a topic, as adversaries, defenses or tiers; or a command.

    Without one, say which topics there are. They are passages of the documentation.

    \b
    Examples:
      dtfl-private help verdicts
      dtfl-private help train
    """
    from dtfl_private.cli.group import COMMANDS
    from dtfl_private.cli.listed.topics import topics

    if topic is None:
        _show_topics()
    elif topic in topics():
        _show(topic)
    elif topic in COMMANDS:
        _show_command(topic)
    else:
        raise unknown_name("topic", topic, [*topics(), *COMMANDS])


def _show_topics() -> None:
    from dtfl_private.cli.listed.topics import topics
    from dtfl_private.report.tables.facts import columns_table

    found = {name: {"what it is about": topic["heading"], "page": topic["page"]} for name, topic in topics().items()}
    caption = "more with: dtfl-private help TOPIC; of commands with: dtfl-private COMMAND --help"
    answer = output()
    answer.show(columns_table("topics", ("what it is about", "page"), found, caption=caption))
    answer.document([{"name": name, **topic} for name, topic in topics().items()])


def _show(name: str) -> None:
    from rich.text import Text

    from dtfl_private.cli.listed.topics import LISTS, topics
    from dtfl_private.report.markdown_page import markdown_parts

    topic, answer = topics()[name], output()
    answer.show(Text(topic["heading"], style="bold"), Text(""), *markdown_parts(topic["text"]))
    if name in LISTS:
        answer.say(f"all of them: dtfl-private list {LISTS[name]}")
    answer.say(f"the whole page: {topic['page']}")
    answer.document({"name": name, **topic})


def _show_command(name: str) -> None:
    """Show what a command says of itself with --help."""
    from dtfl_private.cli.group import load_command

    # Settings are those of the group, as where the command itself is asked.
    context = click.Context(load_command(name), info_name=name, parent=click.get_current_context().parent)
    answer = output()
    if not answer.as_json:
        click.echo(context.get_help())
    answer.document({"name": name, "help": context.get_help()})

"""A comparison written to its folder and shown: of the commands compare and sweep."""

import click

from dtfl_private.cli.output import output
from dtfl_private.cli.targets import write_file
from dtfl_private.errors import InputError
from dtfl_private.files.writing import output_path
from dtfl_private.report.comparison.document import as_json
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.comparison.written_files import comparison_files
from dtfl_private.report.pictures.saving import PictureForm
from dtfl_private.report.tables.comparison import legend, terminal_tables
from dtfl_private.report.tables.comparison_markup import latex as latex_tables
from dtfl_private.report.tables.comparison_markup import markdown as markdown_tables
from dtfl_private.report.tables.method_leakage import method_leakage_legend, method_leakage_tables
from dtfl_private.report.tables.tuned_settings import tuned_settings_legend, tuned_settings_tables


def show_comparison(
    comparison: Comparison,
    out: str,
    *,
    form: PictureForm = "png",
    markdown: str | None = None,
    latex: str | None = None,
) -> None:
    """Write a comparison's files, and show its tables unless one of them goes to standard output."""
    folder = output_path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"folder '{out}' cannot be made: {error}") from None
    written = []
    for name, data in comparison_files(comparison, form).items():
        write_file(str(folder / name), data)
        written.append(str(folder / name))
    for target, text in ((markdown, markdown_tables), (latex, latex_tables)):
        if target == "-":
            click.echo(text(comparison), nl=False)
        elif target is not None:
            write_file(target, text(comparison).encode())
            written.append(target)
    answer = output()
    if "-" not in (markdown, latex):
        answer.show(
            *terminal_tables(comparison), *method_leakage_tables(comparison), *tuned_settings_tables(comparison)
        )
        for sentence in (*legend(comparison), *method_leakage_legend(comparison), *tuned_settings_legend(comparison)):
            (answer.warn if sentence.startswith("WARNING") else answer.say)(sentence)
        answer.say(f"written: {', '.join(written)}")
    answer.document(as_json(comparison))

"""The table of a comparison as Markdown and as LaTeX."""

from collections.abc import Sequence

from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting
from dtfl_private.report.tables.comparison import COLUMNS, cells, legend, title_of
from dtfl_private.report.tables.markdown import markdown_cell, markdown_table
from dtfl_private.report.tables.method_leakage import COLUMNS as LEAKAGE_COLUMNS
from dtfl_private.report.tables.method_leakage import leakage_cells, method_leakage_legend
from dtfl_private.report.tables.tuned_settings import COLUMNS as TUNED_COLUMNS
from dtfl_private.report.tables.tuned_settings import tuned_cells, tuned_settings_legend

LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    ">": "$>$",
    "<": "$<$",
}


def markdown(comparison: Comparison) -> str:
    """Return the tables as Markdown."""
    lines: list[str] = []
    for setting in comparison.settings:
        lines += [f"**{markdown_cell(title_of(setting))}**", ""]
        lines += markdown_table(COLUMNS, [cells(group, setting) for group in setting.groups])
        lines += method_leakage_markdown(setting)
        lines += _tuned_settings_markdown(setting)
    sentences = (*legend(comparison), *method_leakage_legend(comparison), *tuned_settings_legend(comparison))
    return "\n".join([*lines, *(f"- {markdown_cell(sentence)}" for sentence in sentences), ""])


def method_leakage_markdown(setting: ComparisonSetting) -> list[str]:
    """Return the lines of the Markdown table of what each audited group leaks; none if no run was audited."""
    audited = [group for group in setting.groups if group.exposures]
    if not audited:
        return []
    return markdown_table(LEAKAGE_COLUMNS, [leakage_cells(group) for group in audited])


def _tuned_settings_markdown(setting: ComparisonSetting) -> list[str]:
    tuned = [group for group in setting.groups if group.tuned is not None]
    return markdown_table(TUNED_COLUMNS, [tuned_cells(group) for group in tuned]) if tuned else []


def latex(comparison: Comparison) -> str:
    """Return the tables as LaTeX; they need the package booktabs."""
    lines = ["% needs \\usepackage{booktabs}"]
    for setting in comparison.settings:
        title, right = title_of(setting), "r" * (len(COLUMNS) - 1)
        lines += _latex_table(title, f"l{right}", COLUMNS, [cells(group, setting) for group in setting.groups])
        if audited := [group for group in setting.groups if group.exposures]:
            rows = [leakage_cells(group) for group in audited]
            lines += _latex_table(f"what each method leaks: {title}", "l" * len(LEAKAGE_COLUMNS), LEAKAGE_COLUMNS, rows)
        if tuned := [group for group in setting.groups if group.tuned is not None]:
            rows = [tuned_cells(group) for group in tuned]
            lines += _latex_table(f"chosen by trials: {title}", "l" * len(TUNED_COLUMNS), TUNED_COLUMNS, rows)
    sentences = (*legend(comparison), *method_leakage_legend(comparison), *tuned_settings_legend(comparison))
    return "\n".join([*lines, *(f"% {sentence}" for sentence in sentences), ""])


def _latex_table(title: str, layout: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        r"\begin{table}",
        rf"  \caption{{{_latex_text(title)}}}",
        rf"  \begin{{tabular}}{{{layout}}}",
        r"    \toprule",
        _latex_row(columns),
        r"    \midrule",
        *map(_latex_row, rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def _latex_row(texts: Sequence[str]) -> str:
    return "    " + " & ".join(map(_latex_text, texts)) + r" \\"


def _latex_text(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)

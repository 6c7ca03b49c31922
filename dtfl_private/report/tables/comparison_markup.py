"""The table of a comparison as Markdown and as LaTeX."""

import re
from collections.abc import Sequence

from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting
from dtfl_private.report.tables.comparison import COLUMNS, cells, legend, title_of
from dtfl_private.report.tables.method_leakage import COLUMNS as LEAKAGE_COLUMNS
from dtfl_private.report.tables.method_leakage import leakage_cells, method_leakage_legend

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
        lines += [f"**{_markdown_cell(title_of(setting))}**", "", _markdown_row(COLUMNS), "|--" * len(COLUMNS) + "|"]
        lines += [_markdown_row(cells(group, setting)) for group in setting.groups]
        lines.append("")
        lines += method_leakage_markdown(setting)
    sentences = (*legend(comparison), *method_leakage_legend(comparison))
    return "\n".join([*lines, *(f"- {_markdown_cell(sentence)}" for sentence in sentences), ""])


def method_leakage_markdown(setting: ComparisonSetting) -> list[str]:
    """Return the lines of the Markdown table of what each audited group leaks; none if no run was audited."""
    audited = [group for group in setting.groups if group.exposures]
    if not audited:
        return []
    rows = [_markdown_row(leakage_cells(group)) for group in audited]
    return [_markdown_row(LEAKAGE_COLUMNS), "|--" * len(LEAKAGE_COLUMNS) + "|", *rows, ""]


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(_markdown_cell, texts)) + " |"


def _markdown_cell(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def latex(comparison: Comparison) -> str:
    """Return the tables as LaTeX; they need the package booktabs."""
    lines = ["% needs \\usepackage{booktabs}"]
    for setting in comparison.settings:
        lines += [
            r"\begin{table}",
            rf"  \caption{{{_latex_text(title_of(setting))}}}",
            rf"  \begin{{tabular}}{{l{'r' * (len(COLUMNS) - 1)}}}",
            r"    \toprule",
            _latex_row(COLUMNS),
            r"    \midrule",
            *(_latex_row(cells(group, setting)) for group in setting.groups),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            *_method_leakage_latex(setting),
        ]
    sentences = (*legend(comparison), *method_leakage_legend(comparison))
    return "\n".join([*lines, *(f"% {sentence}" for sentence in sentences), ""])


def _method_leakage_latex(setting: ComparisonSetting) -> list[str]:
    audited = [group for group in setting.groups if group.exposures]
    if not audited:
        return []
    return [
        r"\begin{table}",
        rf"  \caption{{{_latex_text(f'what each method leaks: {title_of(setting)}')}}}",
        rf"  \begin{{tabular}}{{{'l' * len(LEAKAGE_COLUMNS)}}}",
        r"    \toprule",
        _latex_row(LEAKAGE_COLUMNS),
        r"    \midrule",
        *(_latex_row(leakage_cells(group)) for group in audited),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def _latex_row(texts: Sequence[str]) -> str:
    return "    " + " & ".join(map(_latex_text, texts)) + r" \\"


def _latex_text(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)

"""The table of a comparison as Markdown and as LaTeX."""

import re
from collections.abc import Sequence

from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.tables.comparison import COLUMNS, cells, legend, title_of

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
    return "\n".join([*lines, *(f"- {_markdown_cell(sentence)}" for sentence in legend(comparison)), ""])


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
        ]
    return "\n".join([*lines, *(f"% {sentence}" for sentence in legend(comparison)), ""])


def _latex_row(texts: Sequence[str]) -> str:
    return "    " + " & ".join(map(_latex_text, texts)) + r" \\"


def _latex_text(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)

"""Docstrings of plug-ins and commands, also where python -OO has stripped them."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any


def summary(thing: Callable[..., Any]) -> str:
    """Return the first line of a function's or class's docstring, or nothing."""
    return documentation(thing).partition("\n")[0]


def documentation(thing: Callable[..., Any]) -> str:
    """Return the docstring of a function or class, or nothing.

    ``python -OO`` strips docstrings from what it runs: there it is read from the source, and where that is not to be
    had, the text says so.
    """
    if sys.flags.optimize > 1:
        return _written_documentation(thing)
    text = inspect.getdoc(thing) or ""
    made_up = is_dataclass(thing) and text.startswith(f"{getattr(thing, '__name__', '')}(")  # of the fields
    return "" if made_up else text


def _written_documentation(thing: Callable[..., Any]) -> str:
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return "python -OO has stripped this description: run python without it"
    return (ast.get_docstring(definition) or "") if isinstance(definition, ast.FunctionDef | ast.ClassDef) else ""

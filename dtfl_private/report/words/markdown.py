"""Texts of unknown origin as text of Markdown and as values of YAML: neither markup nor structure comes of them."""

import json
import re

from dtfl_private.printable import LONGEST_WORD, cut, printable

# What begins markup inside a line: links, images, entities, emphasis, code, table cells, mathematics, autolinks and
# shortcodes. Any of them may be escaped by a backslash (CommonMark 2.4).
_MARKUP = re.compile(r"([\\`*_{}\[\]#|~&$:@!]|(?<=www)\.)", re.IGNORECASE)

# What begins a list or a rule, at the start of a line, a cell or an item of a list.
_BLOCK = re.compile(r"^(\d*)([-+=.)])")


def markdown_text(text: str, most: int = LONGEST_WORD) -> str:
    """Return a text that Markdown shows as it is, in a line or an item of a list: printable, cut after ``most``."""
    escaped = _BLOCK.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", cut(printable(text).strip(), most)))
    # Entities, because some renderers look for tags before they look for escapes.
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def yaml_text(text: str, most: int = LONGEST_WORD) -> str:
    """Return a text as a double-quoted scalar of YAML, which is one of JSON."""
    return json.dumps(cut(printable(text), most), ensure_ascii=False)

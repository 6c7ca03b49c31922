"""What a tokenizer.json from anybody must not say: rules of which the library dies, or comes to no end.

The library reads such files as if they were its own. It is asked only about those that pass here.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from dtfl_private.errors import InputError

# Of one character that rules replace, one after the other: those in use make 4 of it at most.
MOST_GROWTH = 256
# Of any text in the rules, such as what joins words; those in use have a few, patterns some hundred.
MOST_CHARACTERS, MOST_PATTERN_CHARACTERS = 100, 10_000
RULES = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def require_harmless_rules(parsed: object, name: str) -> None:
    """Refuse a tokenizer.json that the library must not read.

    Args:
        parsed: its content, nested as `reading.parse_json` permits.
        name: what errors call it.

    Raises:
        InputError: it would make texts grow without bounds, take each text several times, cut them by chance, or ask
            for memory by a number that it merely states.
        ValueError: a map of characters is not base64.
    """
    if not isinstance(parsed, Mapping):
        return  # the library says what is wrong
    for kind in RULES:
        _require_short_texts(parsed.get(kind), f"{name}: its {kind}")
        _require_little_growth(parsed.get(kind), f"{name}: its {kind}")
    model = parsed.get("model")
    if isinstance(model, Mapping):
        _require_short_texts({key: text for key, text in model.items() if isinstance(text, str)}, f"{name}: its model")
        if model.get("dropout"):
            raise InputError(
                f"{name} cuts texts by chance (dropout {str(model['dropout'])[:20]}): set its model's dropout to null"
            )
    for part in _parts(parsed):
        if isinstance(text := part.get("precompiled_charsmap"), str):
            _require_whole(text, name)
        if part.get("type") == "TemplateProcessing":
            _require_each_text_once(part, name)


def _parts(parsed: object) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping in a document."""
    parts = [parsed]
    while parts:
        part = parts.pop()
        parts += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
        if isinstance(part, Mapping):
            yield part


def _require_short_texts(rules: object, whose: str) -> None:
    for part in _parts(rules):
        for key, text in part.items():
            most = MOST_PATTERN_CHARACTERS if key == "Regex" else MOST_CHARACTERS
            if isinstance(text, str) and key != "precompiled_charsmap" and len(text) > most:
                raise InputError(
                    f"{whose} holds a text of {len(text):,} characters ({key[:20]}), expected {most:,} at most: take "
                    "the file from its source again"
                )


def _require_little_growth(rules: object, whose: str) -> None:
    """Refuse rules that make a long text of a short one: they act one after the other, so that growths multiply."""
    growth = 1
    for part in _parts(rules):
        if part.get("type") == "Replace" and isinstance(text := part.get("content"), str):
            pattern = part.get("pattern")
            # A pattern may be found between any two characters, which then stay.
            between = not (isinstance(pattern, Mapping) and pattern.get("String"))
            growth *= max(1, len(text) + between)
        elif part.get("type") == "Prepend" and isinstance(text := part.get("prepend"), str):
            growth *= 1 + len(text)
    if growth > MOST_GROWTH:
        raise InputError(
            f"{whose} may make {growth:,} characters of one, expected {MOST_GROWTH} at most: take the file from its "
            "source again"
        )


def _require_whole(text: str, name: str) -> None:
    """Refuse one of SentencePiece's maps of characters that says it is longer than it is.

    The library asks for as much memory as the first four bytes say, gigabytes at most, and ends the process without it.
    """
    held = base64.b64decode(text)
    said = int.from_bytes(held[:4], "little")
    if said > len(held) - 4:
        raise InputError(
            f"{name} has a precompiled_charsmap that says it is of {said:,} bytes, and is of "
            f"{max(len(held) - 4, 0):,}: take the file from its source again"
        )


def _require_each_text_once(template: Mapping[str, Any], name: str) -> None:
    """Refuse a template that repeats the text: what is cut off of each time is combined with that of all others."""
    pieces = template.get("single")
    if not isinstance(pieces, list):
        return  # the library says what is wrong
    texts = [piece["Sequence"] for piece in pieces if isinstance(piece, Mapping) and "Sequence" in piece]
    if len(texts) != 1 or not isinstance(texts[0], Mapping) or texts[0].get("id") != "A":
        raise InputError(
            f"{name} has a template that does not put each text once: it names {len(texts)} sequences; take the file "
            "from its source again"
        )

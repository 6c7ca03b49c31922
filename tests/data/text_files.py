"""Small texts in folders and tables."""

import json
from pathlib import Path

ANIMALS = ("cat", "dog")


def sentences(label: int) -> list[str]:
    return [
        f"the {ANIMALS[label]} {verb} the {thing}" for verb in ("saw", "met", "ate") for thing in ("fox", "owl", "hen")
    ]


def tree(root: Path, *parts: str) -> Path:
    """Write a folder for each class, in each part of a split if there are any."""
    for part in parts or ("",):
        for label, name in enumerate(ANIMALS):
            (root / part / name).mkdir(parents=True)
            for number, text in enumerate(sentences(label)):
                (root / part / name / f"{number}.txt").write_text(f"{part} {text}\n", "utf-8")
    return root


def rows() -> list[tuple[str, str, str]]:
    """Texts, labels and clients."""
    return [(text, ANIMALS[label], f"client {n % 3}") for label in (0, 1) for n, text in enumerate(sentences(label))]


def table(path: Path, names: tuple[str, ...] = ("text", "label", "who")) -> Path:
    if path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows()]
    else:
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [mark.join(row) for row in [names, *rows()]]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path

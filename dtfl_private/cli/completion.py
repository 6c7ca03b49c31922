"""What a shell may complete an option's value or an argument to. Nothing is imported for it that needs torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from click.shell_completion import CompletionItem

Completer = Callable[..., list[CompletionItem]]
"""What click asks for completions: from its context, the parameter and the word that stands there to the items."""

# Folders that are looked through for run folders: where the word leads, and the folders in it.
MOST_FOLDERS = 500

# What a defense's rule is made of.
CONDITIONS = {
    "tier=": "in one tier, as tier=3, or in several, as tier=2-4",
    "tier<=": "in this tier and all that are shallower",
    "tier>=": "in this tier and all that are deeper",
    "profile=": "at clients of a resource profile, by its name",
}


def _completer(find: Callable[[str], list[CompletionItem]]) -> Completer:
    """Return what click asks, of a function of the word alone."""
    return lambda *asked: find(asked[-1])


def of_words(words: Iterable[str] | Mapping[str, str]) -> Completer:
    """Return what completes to words, which may have a line of help each."""
    helps = words if isinstance(words, Mapping) else dict.fromkeys(words, "")
    return _completer(lambda incomplete: _items(helps, incomplete))


def of_plugins(kind: str) -> Completer:
    """Return what completes to the names of installed plug-ins of a kind."""
    return _completer(lambda incomplete: _items(_plugins(kind), incomplete))


@_completer
def of_defenses(incomplete: str) -> list[CompletionItem]:
    """Complete to the names of defenses, and after an ``@`` to the conditions of a rule."""
    spec, at, rule = incomplete.rpartition("@")
    if not at:
        return _items(_plugins("defense"), incomplete)
    before, joint, last = rule.rpartition("&")
    start = spec + at + before + joint
    return [CompletionItem(start + word, help=line) for word, line in CONDITIONS.items() if word.startswith(last)]


def of_parts(words: Iterable[str]) -> Completer:
    """Return what completes the last of several comma-separated words."""

    def find(incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + word) for word in words if word.startswith(last)]

    return _completer(find)


@_completer
def of_keys(incomplete: str) -> list[CompletionItem]:
    """Complete to ``key=`` for the keys of a configuration."""
    from dtfl_private.experiments.config.train_config import TrainConfig

    fields = TrainConfig.model_fields.items()
    return _items({f"{name}=": str(field.description) for name, field in fields}, incomplete)


@_completer
def of_adversaries(incomplete: str) -> list[CompletionItem]:
    """Complete to the names of adversaries."""
    from dtfl_private.protocol.adversaries import ADVERSARIES

    return _items({name: one.who for name, one in ADVERSARIES.items()}, incomplete)


@_completer
def of_topics(incomplete: str) -> list[CompletionItem]:
    """Complete to the topics of `help`, and to the commands."""
    from dtfl_private.cli.group import COMMANDS
    from dtfl_private.cli.listed.topics import topics

    return _items({**{name: topic["heading"] for name, topic in topics().items()}, **COMMANDS}, incomplete)


@_completer
def of_runs(incomplete: str) -> list[CompletionItem]:
    """Complete to run folders; where none is near, the shell completes to folders."""
    return [CompletionItem(path) for path in sorted(_runs(incomplete))] or [CompletionItem(incomplete, type="dir")]


@_completer
def of_files(incomplete: str) -> list[CompletionItem]:
    """Let the shell complete to files."""
    return [CompletionItem(incomplete, type="file")]


@_completer
def of_folders(incomplete: str) -> list[CompletionItem]:
    """Let the shell complete to folders."""
    return [CompletionItem(incomplete, type="dir")]


@_completer
def of_configurations(incomplete: str) -> list[CompletionItem]:
    """Complete to run folders and to files."""
    return [*of_runs(incomplete), *of_files(incomplete)]


def _items(helps: Mapping[str, str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word, help=line or None) for word, line in helps.items() if word.startswith(incomplete)]


def _plugins(kind: str) -> dict[str, str]:
    """Return the names of installed plug-ins, with what is recorded of the built-in ones."""
    from dtfl_private.cli.listed.built_in import built_in
    from dtfl_private.plugins.installed import installed

    recorded = built_in(kind)
    facts = {name: recorded.get(point.value, {}) for name, point in installed(kind).items()}
    return {name: one.get("what it is") or one.get("what it does", "") for name, one in facts.items()}


def _runs(incomplete: str) -> Iterator[str]:
    """Yield the run folders whose path begins like this: in the folder that it leads to, and one folder deeper."""
    folder, _, start = incomplete.rpartition("/")
    within = Path(f"{folder}/" if incomplete.startswith("/") or folder else ".")
    for path in _folders(within):
        if path.name.startswith(start):
            yield from (str(run) for run in (path, *_folders(path)) if (run / "config.toml").is_file())


def _folders(path: Path) -> list[Path]:
    """Return folders in a folder; those whose names would not fit in a line are left out."""
    try:
        return [one for one in islice(path.iterdir(), MOST_FOLDERS) if str(one).isprintable() and one.is_dir()]
    except OSError:
        return []

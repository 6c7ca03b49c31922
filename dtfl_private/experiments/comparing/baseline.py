"""The group of runs that speed-ups refer to."""

import re
from collections.abc import Sequence

from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.experiments.config.value_words import base_name
from dtfl_private.printable import printable
from dtfl_private.report.comparison.groups import ComparisonSetting, Group

DEFAULT_BASELINE = "fedavg"


def find_baseline(groups: Sequence[Group], name: str | None) -> Group | None:
    """Return the group that is meant by its name, method or scheduler, or None if it is not there.

    Raises:
        InputError: several are meant.
    """
    wanted = comparable(name or DEFAULT_BASELINE)
    for names_of in (_own_name, _method_names, _scheduler_names):
        found = [group for group in groups if wanted in map(comparable, names_of(group))]
        if len(found) > 1 and name is not None:
            meant = " or ".join(f"'{group.name}'" for group in found)
            raise InputError(f"baseline '{name}' is not one group but {len(found)}: give {meant}")
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _own_name(group: Group) -> list[str]:
    return [group.name]


def _method_names(group: Group) -> list[str]:
    return [group.settings["method"], base_name(group.settings["method"])]


def _scheduler_names(group: Group) -> list[str]:
    """Return "static:m=2", "static:2" and "static" of a group that is told apart by its scheduler."""
    scheduler: str = group.settings["scheduler"]
    if printable(base_name(scheduler)) not in group.name:
        return []
    return [scheduler, re.sub(r":\w+=", ":", scheduler, count=1), base_name(scheduler)]


def require_baseline(settings: Sequence[ComparisonSetting], name: str | None) -> None:
    """Raise `InputError` if a baseline is named that is in no setting."""
    if name is not None and all(setting.baseline is None for setting in settings):
        raise unknown_name("baseline", name, {group.name for setting in settings for group in setting.groups})

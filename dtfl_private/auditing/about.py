"""What stands at the head of a report: title and organisation as the user gave them, the day, the data set."""

from datetime import UTC, datetime
from pathlib import Path

from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.errors import InputError
from dtfl_private.printable import short_name
from dtfl_private.report.words.names import dataset_name
from dtfl_private.verdicts.about import LONGEST_ORGANISATION, LONGEST_TITLE, About

LONGEST = {"title": LONGEST_TITLE, "organisation": LONGEST_ORGANISATION}


def headed(title: str | None, organisation: str | None) -> dict[str, str]:
    """Return what the user wants to stand at the head of a report, by field of `About`, without space around it.

    Raises:
        InputError: a text is empty or too long.
    """
    given = {"title": title, "organisation": organisation}
    found = {name: " ".join(text.split()) for name, text in given.items() if text is not None}
    for name, text in found.items():
        if not 1 <= len(text) <= LONGEST[name]:
            raise InputError(
                f"--{name} of {len(text)} characters is refused: expected 1 to {LONGEST[name]}; "
                "leave it out for the usual one"
            )
    return found


def about_run(opened: OpenedRun, given: dict[str, str]) -> About:
    """Return what an audit that is made today says of itself; ``given`` is what the user gave."""
    config = opened.prepared.config
    folder = None if config.data_dir is None else Path(config.data_dir).name
    return About(
        title=given.get("title"),
        organisation=given.get("organisation"),
        date=datetime.now(UTC).date().isoformat(),
        dataset=short_name(dataset_name(config.dataset, folder)),
        inputs="images" if opened.prepared.worker.train_images.ndim == 4 else "sequences",
    )

"""What tests leave out in processes that they begin, as `shared_fixtures.py` does in the process of the tests."""

import os
from pathlib import Path

from dtfl_private.attacking import attack_plan
from dtfl_private.auditing import identity_check, update_check
from dtfl_private.experiments import train_loop


def without_waiting_and_pictures() -> None:
    """Leave written files to the system, and write the title of a training's picture in its place."""

    def written(_: object, path: Path, *, title: str) -> None:
        path.write_text(title)

    changes = [
        (os, "fsync", lambda _: None),
        (train_loop, "plot_training", written),
        (train_loop, "plot_judged", written),
    ]
    for module, name, value in changes:
        setattr(module, name, value)


def with_one_thread() -> None:
    """Let attacks use one CPU thread: more wait for each other where other tests run at the same time."""
    for module in (attack_plan, identity_check, update_check):
        vars(module)["available_cores"] = lambda: 1

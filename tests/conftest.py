"""In which order tests are read and run; their fixtures are in `shared_fixtures.py`."""

import gc
import os
from collections.abc import Generator

import pytest

# Files whose few tests take long: the last one of a run would leave all workers but its own without work. Those that
# wait much, for processes of their own and deadlines, take turns with those that compute.
FIRST = [
    f"test_{name}.py"
    for name in (
        *("flower_processes", "every_model", "federation", "unshuffle", "ray", "reconstruction", "churn"),
        *("planted_modules", "notebooks", "adaptive_search", "flower_federation", "every_export", "real_time"),
        *("tune_command", "kill_and_resume_tune", "work_ahead", "kill_and_resume", "parallel"),
    )
]


def pytest_configure(config: pytest.Config) -> None:
    """Let workers take files in the order above; by default those of most tests come first, whatever these take.

    The process that hands out the tests runs none: it need not load the fixtures, and torch with them, before the
    workers begin.
    """
    config.option.loadscopereorder = False
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("tests.shared_fixtures")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let every second worker read the tests from the last to the first: what one has compiled the others need not."""
    report = yield
    if isinstance(collector, pytest.Directory) and os.environ.get("PYTEST_XDIST_WORKER", "gw0")[-1] in "13579":
        report.result.reverse()
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long; all workers need one order."""
    items.sort(
        key=lambda item: (FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST), item.path.as_posix())
    )


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass by what stays: it looks through all tests and modules time and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

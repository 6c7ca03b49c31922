import pytest

from dtfl_private.runtime import jobs, worker_pool
from dtfl_private.runtime.processes import spawn_context


@pytest.fixture(autouse=True)
def processes_begun_anew(monkeypatch) -> None:
    """Begin processes as runs do."""
    for module in (jobs, worker_pool):
        monkeypatch.setattr(module, "spawn_context", spawn_context)

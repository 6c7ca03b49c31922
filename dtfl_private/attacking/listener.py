"""Who hears how attacks proceed: a progress display, or nobody."""

from collections.abc import Sequence
from typing import Protocol


class AttackListener(Protocol):
    """Hears how attacks proceed, for a progress display."""

    def started(self, jobs: Sequence[str]) -> None:
        """Called with a label of each job to come: an attack at a tier with a seed."""
        ...

    def job(self, label: str) -> None:
        """Called when a job begins."""
        ...

    def progress(self, label: str, done: int, total: int) -> None:
        """Called while a job runs; several may run side by side."""
        ...

    def finished(self, label: str, *, kept: bool) -> None:
        """Called when a job is done; ``kept``: its guess was there from before."""
        ...

    def note(self, text: str) -> None:
        """Called with a line that the user should see."""
        ...


class SilentAttack:
    """A listener that shows nothing."""

    def started(self, jobs: Sequence[str]) -> None:
        """Do nothing."""

    def job(self, label: str) -> None:
        """Do nothing."""

    def progress(self, label: str, done: int, total: int) -> None:
        """Do nothing."""

    def finished(self, label: str, *, kept: bool) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

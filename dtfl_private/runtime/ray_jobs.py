"""Independent jobs in actors of a Ray cluster; one that fails does not end the others."""

import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.jobs import Ended, OnEvent, Report, Reported
from dtfl_private.runtime.ray_clients import MOST_DEATHS
from dtfl_private.runtime.ray_cluster import connected
from dtfl_private.runtime.ray_crew import Crew


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A job that an actor is at."""

    number: int
    actor: Any


def run_on_ray(
    function: Callable[[Any, Report], None], jobs: Sequence[Any], choice: RayChoice, folder: Path, on_event: OnEvent
) -> None:
    """Call ``function(job, report)`` for each job, in actors of a cluster.

    A job whose actor dies is begun again in another one; it must go on where it was, or start anew.

    Args:
        function: a function of a module that all nodes have.
        jobs: what it is called with.
        choice: which cluster, and what of it.
        folder: where jobs write; all nodes must see it, and the current folder too.
        on_event: called with each report and each end.

    Raises:
        InputError: Ray is not installed, there is no such cluster, or it has no such GPUs.
        WorkerError: no actor could be started, or all have died.
    """
    with connected(choice) as cluster, tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-by-all-nodes-") as token:
        crew = Crew(cluster, choice, len(jobs))
        try:
            crew.start()
            _Jobs(cluster.ray, crew, function, jobs, token.name, on_event).carry_out()
        finally:
            crew.stop()


class _Jobs:
    """Jobs that wait, and those that actors are at."""

    def __init__(
        self, ray: Any, crew: Crew, function: Callable[..., None], jobs: Sequence[Any], token: str, on_event: OnEvent
    ) -> None:
        self._ray, self._crew, self._on_event = ray, crew, on_event
        self._function, self._jobs = function, jobs
        self._files = str(Path.cwd()), str(Path(token).absolute())
        self._waiting = deque(range(len(jobs)))
        self._busy: dict[Any, _Begun] = {}
        self._deaths = [0] * len(jobs)

    def carry_out(self) -> None:
        """Do all of them."""
        while self._waiting or self._busy:
            self._crew.refresh()
            at_work = [begun.actor for begun in self._busy.values()]
            for actor in [one for one in self._crew.alive if one not in at_work][: len(self._waiting)]:
                number = self._waiting.popleft()
                stream = actor.work.options(num_returns="streaming").remote(
                    self._function, self._jobs[number], *self._files
                )
                self._busy[stream] = _Begun(number=number, actor=actor)
            # A replacement that is ready meanwhile is taken in at the next event.
            for stream in self._ray.wait([*self._busy], num_returns=1)[0]:
                self._hear(stream)

    def _hear(self, stream: Any) -> None:
        """Take the next thing that a job says, or that its actor has died."""
        try:
            over, what = self._ray.get(next(stream))
        except StopIteration:
            over, what = None, None
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError:
            over, what = None, None
        begun = self._busy[stream] if over is False else self._busy.pop(stream)
        if over is None:
            self._lost(begun)
        elif over:
            self._on_event(Ended(job=begun.number, error=what))
        else:
            self._on_event(Reported(job=begun.number, what=what))

    def _lost(self, begun: _Begun) -> None:
        """Let another actor do the job of one that has died, unless it is what actors die of."""
        self._crew.lose(begun.actor)
        self._deaths[begun.number] += 1
        if self._deaths[begun.number] < MOST_DEATHS:
            self._waiting.appendleft(begun.number)
            return
        error = f"{MOST_DEATHS} Ray actors died at it; a guess: their nodes ran out of memory, or somebody ended them"
        self._on_event(Ended(job=begun.number, error=error))

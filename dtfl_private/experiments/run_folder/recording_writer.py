"""Which rounds of a run are recorded for later attacks, and when."""

from pathlib import Path

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.recordings import save_recording
from dtfl_private.report.words.numbers import number_of
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.method import Method
from dtfl_private.training.recording import Recorder
from dtfl_private.training.state import FederatedState
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import WorkerSetup

LAST = "last"


def check_recording(config: TrainConfig, method: Method) -> None:
    """Refuse to record what will not be.

    Raises:
        InputError: a round or a client that the run does not have, clients but no rounds, or a method whose rounds no
            attack can read.
    """
    if config.record_rounds and "smashed" not in method.sends:
        raise InputError(
            f"record_rounds keeps what clients send of single records, and those of {config.method} send nothing of "
            "the kind: leave it out, or use --method dtfl"
        )
    numbers = [number for number in config.record_rounds if isinstance(number, int)]
    if numbers and max(numbers) > config.rounds:
        of = number_of(config.rounds, "round")
        raise InputError(f"record_rounds {max(numbers)} is after the last of {of}: write last")
    if config.record_clients and max(config.record_clients) >= config.clients:
        raise InputError(
            f"record_clients {max(config.record_clients)} does not exist: clients are 0..{config.clients - 1}"
        )
    if config.record_clients and not config.record_rounds:
        raise InputError("record_clients says whom to record, but record_rounds not when: add --record-rounds last")


class TranscriptWriter:
    """Record the clients and rounds that a configuration names, by playing them once more.

    That costs a second pass over these clients' rounds, and works the same with worker processes.

    Args:
        setup: of the run's workers.
        config: says which rounds, clients and how many images.
        method: of the run.
        folder: where to write.
    """

    def __init__(self, setup: WorkerSetup, config: TrainConfig, method: Method, folder: Path) -> None:
        self._setup = setup
        self._folder, self._method = folder, method
        self._rounds = {config.rounds if number == LAST else number for number in config.record_rounds}
        self._clients = frozenset(config.record_clients)
        self._batches = -(-config.record_images // config.batch_size)
        self._recorder: Recorder | None = None

    def record(self, before: FederatedState, plan: RoundPlan) -> None:
        """Record the round that was just finished, if it is one to record.

        Args:
            before: the state that the round began with.
            plan: its schedule.
        """
        if plan.round not in self._rounds:
            return
        if self._recorder is None:
            self._recorder = Recorder(self._setup, sends_weights=self._method.sends_weights)
        tasks, recorder = self._method.tasks(plan, before), self._recorder
        if self._method.together:
            kept = [(task, self._batches) for task in tasks]
            for task, recording in zip(tasks, recorder.record_together(kept, before.weights, whole=True), strict=True):
                if self._wants(task):
                    save_recording(self._folder, recording)
            return
        for task in filter(self._wants, tasks):
            recording = recorder.record(task, before.weights, batches=self._batches, whole=task.completes)
            save_recording(self._folder, recording)

    def _wants(self, task: ClientTask) -> bool:
        """Whether a client is one to record; who keeps the whole network sends nothing to record."""
        sends = task.tier < len(self._setup.model)
        return sends and (not self._clients or task.client in self._clients)

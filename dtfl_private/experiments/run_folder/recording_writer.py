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
from dtfl_private.training.tasks import tasks_of
from dtfl_private.training.worker import WorkerSetup

LAST = "last"


def check_recording(config: TrainConfig, method: Method) -> None:
    """Refuse to record what will not be.

    Raises:
        InputError: a round or a client that the run does not have, clients but no rounds, or a method whose rounds no
            attack can read.
    """
    if config.record_rounds and not method.local_loss:
        raise InputError(
            f"record_rounds keeps what clients of local-loss methods send, method is {config.method}: leave it out, "
            "or use --method dtfl"
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
        folder: where to write.
    """

    def __init__(self, setup: WorkerSetup, config: TrainConfig, folder: Path) -> None:
        self._setup = setup
        self._folder = folder
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
            self._recorder = Recorder(self._setup)
        for task in tasks_of(plan, before):
            sends = task.tier in self._setup.heads  # not who keeps the whole network
            if sends and (not self._clients or task.client in self._clients):
                recording = self._recorder.record(task, before.weights, batches=self._batches, whole=task.completes)
                save_recording(self._folder, recording)

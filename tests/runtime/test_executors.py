import pytest

from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Transcript
from dtfl_private.runtime.executors import open_executor
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.tasks import ClientTask


def test_one_worker_works_in_this_process_and_lets_observers_see(prepare_tiny):
    prepared = prepare_tiny()
    transcript = Transcript()
    executor = open_executor(prepared.worker, 1, [transcript.record])
    assert isinstance(executor, InProcess)
    tasks = [ClientTask(client=k, round=1, tier=2, lr=0.01, batches=1, completes=True) for k in (2, 0)]
    assert [result.client for result in executor.train(tasks, prepared.initial.weights)] == [2, 0]
    assert [message.client for message in transcript.messages] == [2, 2, 0, 0]
    executor.close()


def test_observers_of_several_workers_are_refused(prepare_tiny):
    with pytest.raises(InputError, match=r"observers see messages .*workers=1"):
        open_executor(prepare_tiny().worker, 2, [print])

import pytest

from dtfl_private.runtime import evaluation
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.tasks import ALL_TEST_IMAGES, Evaluation
from dtfl_private.training.worker import Worker


@pytest.mark.parametrize("chunk", [1, 5, 12, 500])
def test_an_evaluation_covers_every_test_image_once_whatever_the_chunks(prepare_tiny, monkeypatch, chunk):
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", chunk)
    prepared = prepare_tiny(precision="fp64")
    model = prepared.initial.weights.model
    whole = Worker(prepared.worker).evaluate(model, ALL_TEST_IMAGES)
    judged = InProcess(prepared.worker).evaluate(model)
    assert (judged.images, judged.correct) == (12, whole.correct)
    assert judged.loss_sum == pytest.approx(whole.loss_sum, rel=1e-12)
    assert isinstance(judged, Evaluation)

import numpy as np
import pytest
from PIL import Image

from dtfl_private.data.digits import load_digits
from dtfl_private.data.files.pixels import PixelFormat, decode
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.load_run import load_run
from dtfl_private.experiments.trained import predict as predicting
from dtfl_private.experiments.trained.predictions import judged
from dtfl_private.runtime.callback import Callback


def test_digits_are_predicted_with_the_accuracy_that_the_run_reported(digits_run):
    test = load_digits(size=8)
    predictions = load_run(digits_run.folder.path).predict(test.test_images.numpy())
    assert float((predictions.labels == test.test_labels.numpy()).mean()) == digits_run.records[-1]["test_accuracy"]
    assert predictions.probabilities.shape == (360, 10)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1)
    assert predictions.accuracy is None
    assert predictions.recall == {}
    assert repr(predictions) == "Predictions(360 images, 10 classes)"


def test_a_folder_of_images_of_any_size_is_predicted_with_the_accuracy_that_the_run_reported(tree_run, tree):
    predictions = tree_run.predict(tree / "test")
    reported = tree_run.records[-1]["test_accuracy"]
    assert 0 < reported < 1
    assert predictions.accuracy == reported
    assert predictions.files[0] == tree / "test" / "cat" / "0.png"
    right = predictions.labels == predictions.true_labels
    assert predictions.recall == {
        name: float(right[15 * n : 15 * n + 15].mean()) for n, name in enumerate(("cat", "dog", "emu"))
    }
    assert predictions.resized == 0  # as in training
    assert "45 images, 3 classes, accuracy" in repr(predictions)


def test_it_does_not_matter_in_which_batches_or_how_the_images_are_named(tree_run, tree, monkeypatch):
    whole = tree_run.predict(tree / "test")
    monkeypatch.setattr(predicting, "BATCH_VALUES", 7 * 3 * 8 * 8)
    heard = []

    class Listener(Callback):
        def job_advanced(self, job, done, total, reached=""):
            heard.append((done, total))

    by_file = tree_run.predict([str(path) for path in whole.files], callbacks=[Listener()])
    np.testing.assert_allclose(by_file.probabilities, whole.probabilities, atol=1e-6)
    assert by_file.accuracy == whole.accuracy
    assert heard == [*((n, 45) for n in range(7, 45, 7)), (45, 45)]


def test_a_single_file_and_a_single_image_are_predicted_alike(tree_run, tree):
    path = tree / "test" / "dog" / "3.png"
    of_file = tree_run.predict(path)
    of_image = tree_run.predict(decode(path, PixelFormat(size=8, grey=False)))
    np.testing.assert_array_equal(of_file.probabilities, of_image.probabilities)
    ((first, second),) = of_file.top(2)
    assert first[0] == of_file.names[0]
    assert first[1] == of_file.probabilities.max() > second[1]
    assert len(of_file.top(99)[0]) == 3


def test_images_of_another_size_than_those_of_the_training_are_resized_and_counted(digits_run, tmp_path):
    test = load_digits(size=8)
    Image.fromarray(test.test_images[0, 0].numpy()).save(tmp_path / "as-it-is.png")
    Image.fromarray(test.test_images[0, 0].numpy()).resize((80, 50)).convert("RGB").save(tmp_path / "larger.png")
    predictions = digits_run.predict(tmp_path)
    assert predictions.resized == 1
    alone = digits_run.predict(test.test_images[0])
    np.testing.assert_allclose(predictions.probabilities[:1], alone.probabilities, atol=1e-6)


def test_images_that_are_not_square_are_taken_as_they_are(run_tiny, tmp_path, patterns):
    from dataclasses import replace

    narrow = replace(patterns, train_images=patterns.train_images[..., :6], test_images=patterns.test_images[..., :6])
    run = run_tiny("run", rounds=1, objects={"dataset": narrow})
    pixels = narrow.test_images[0, 0].numpy()
    assert pixels.shape == (8, 6)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    of_file = run.predict(tmp_path / "a.png")
    assert of_file.resized == 0
    np.testing.assert_array_equal(of_file.probabilities, run.predict(narrow.test_images[0]).probabilities)


def test_a_bad_image_among_many_is_named(tree_run, tree, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(InputError, match=r"bad\.png cannot be read as a PNG or JPEG image"):
        tree_run.predict([tree / "test", tmp_path / "bad.png"])
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    with pytest.raises(InputError, match=r"clear\.png has transparent pixels"):
        tree_run.predict(tmp_path / "clear.png")
    with pytest.raises(InputError, match="images are a list with a int, expected"):
        tree_run.predict([1])


def test_outputs_that_are_no_numbers_are_no_predictions(tree_run, tree):
    model = tree_run.model()
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(RunError, match=r"outputs for .*test.* are no finite numbers"):
        predicting.predict(model, tree / "test")


def test_only_images_of_known_class_are_judged():
    labels, true = np.array([0, 1, 1, 2]), np.array([0, 0, -1, 2])
    found = judged(labels, true, ("a", "b", "c"))
    assert (found.images, found.accuracy, found.recall) == (3, 2 / 3, {"a": 0.5, "c": 1.0})
    assert judged(labels, np.full(4, -1), ("a", "b", "c")) is None

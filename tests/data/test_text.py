import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dtfl_private.data.dataset import TokenDataset, load_dataset
from dtfl_private.data.preprocess import AsTheyAre, require_augmentable
from dtfl_private.data.text import ANIMALS, LENGTH, VOCABULARY, load_sentences, words_of
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.executors import open_executor
from dtfl_private.training.round import run_round


@pytest.fixture(scope="module")
def sentences() -> TokenDataset:
    return load_sentences()


def who_acts(words: str) -> str:
    """Parse a sentence: the first animal, unless it suffers."""
    first, second = (word for word in words.split() if word in ANIMALS)
    return second if " was " in words else first


def test_the_class_of_every_sentence_is_who_acts(sentences):
    for tokens, label in zip(sentences.train_images, sentences.train_labels.tolist(), strict=True):
        assert who_acts(words_of(tokens)) == sentences.classes[label]


def test_shapes_sizes_and_vocabulary(sentences):
    assert sentences.train_images.shape == (4000, LENGTH)
    assert sentences.test_images.shape == (1000, LENGTH)
    assert sentences.input_shape == (LENGTH,)
    assert int(sentences.train_images.max()) == len(VOCABULARY) - 1
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert torch.bincount(sentences.train_labels).min() > 400


def test_the_words_alone_leave_an_even_choice_between_the_two_animals(sentences):
    # The best that bags of words allow is 0.5; four standard deviations of 1,000 sentences are 0.063.
    bags = [
        np.stack([np.bincount(row, minlength=len(VOCABULARY)) for row in tokens.numpy()])
        for tokens in (sentences.train_images, sentences.test_images)
    ]
    fitted = LogisticRegression(max_iter=300).fit(bags[0], sentences.train_labels.numpy())
    assert abs(fitted.score(bags[1], sentences.test_labels.numpy()) - 0.5) < 0.063


def test_it_is_always_the_same_and_its_sizes_can_be_set(sentences):
    assert load_sentences().fingerprint() == sentences.fingerprint()
    small = load_dataset("sentences:train=30,test=8", data_dir=None, download=False)
    assert torch.equal(small.train_images, sentences.train_images[:30])
    assert len(small.test_labels) == 8


def test_tokens_reach_the_network_as_whole_numbers(sentences):
    inputs = AsTheyAre().to("cpu")(sentences.train_images[:3])
    assert inputs.dtype == torch.int64
    assert torch.equal(inputs, sentences.train_images[:3].long())


def test_augmentations_are_for_images(sentences, patterns):
    require_augmentable(sentences, [])
    require_augmentable(patterns, ["flip"])
    with pytest.raises(InputError, match="augment crop,flip changes images; sentences holds sequences: leave it out"):
        require_augmentable(sentences, ["crop", "flip"])


def test_a_network_for_images_does_not_take_them():
    config = TrainConfig(dataset="sentences:train=30,test=8", model="resnet-8", clients=2, device="cpu")
    with pytest.raises(InputError, match=r"takes images \(channels, height, width\), not inputs of shape \(16,\)"):
        prepare(config)


@pytest.mark.parametrize("tokens", [torch.zeros(4, 3), torch.zeros(4, 3, 2, dtype=torch.uint8)])
def test_what_is_no_sequence_of_tokens_is_refused(tokens):
    labels = torch.zeros(4, dtype=torch.int64)
    parts = {"train_images": tokens, "train_labels": labels, "test_images": tokens, "test_labels": labels}
    with pytest.raises(InputError, match=r"mine: train sequences must be uint8 or int32 \(N, T\), not torch"):
        TokenDataset(name="mine", source="made up", classes=("a",), **parts)


def test_worker_processes_train_a_traced_network_and_tokens_as_this_process_does(play):
    # A stage made by tracing has to find its way into another process.
    small = {"clients": 2, "rounds": 1, "batch_size": 8, "scheduler": "random", "device": "cpu"}
    for data in (
        {"dataset": "sentences:train=16,test=8", "model": "transformer:depth=1,width=8,heads=2"},
        {"dataset": "digits:size=8", "max_train_images": 16, "model": "vit:depth=2,width=8,heads=2"},
    ):
        prepared = prepare(TrainConfig.model_validate({**small, **data, "workers": 2}))
        ((alone, _),) = play(prepared)
        executor = open_executor(prepared.worker, 2)
        try:
            together = run_round(prepared.method, prepared.initial, prepared.settings, executor, Callback())[0]
        finally:
            executor.close()
        assert alone.weights.model.keys() == together.weights.model.keys()
        assert all(torch.equal(alone.weights.model[name], t) for name, t in together.weights.model.items())

import numpy as np
import pytest
import torch

from dtfl_private.data.dataset import load_dataset
from dtfl_private.data.normalization import Normalization
from dtfl_private.data.pixel_sums import clients_sums
from dtfl_private.data.preprocess import Normaliser
from dtfl_private.data.registration import NO_TRAFFIC, planned_traffic, register, resolved_normalization

PARTS = [np.arange(25), np.arange(25, 40)]
ENDS = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)


def registered(dataset, text="client-sums", **values):
    return register(dataset, PARTS, resolved_normalization(Normalization.parse(text), dataset), **values)


def test_every_client_sends_its_sums_and_is_told_what_all_of_them_come_to(patterns):
    found = registered(patterns)
    assert found.statistics == "client-sums"
    for own, expected in zip(found.sums, clients_sums(patterns.train_images, PARTS), strict=True):
        assert (own.client, own.pixels) == (expected.client, expected.pixels)
        assert torch.equal(own.sums, expected.sums)
    assert [answer.client for answer in found.scales] == [0, 1]
    assert torch.equal(found.preprocessor(ENDS), Normaliser(found.scales[1].mean, found.scales[1].deviation)(ENDS))
    assert found.traffic == {"up_statistics": 2 * 24, "down_statistics": 2 * 16}
    assert found.note is None


def test_pooled_gives_the_same_inputs_and_sends_nothing(patterns):
    found = registered(patterns, "pooled")
    assert torch.equal(found.preprocessor(ENDS), registered(patterns).preprocessor(ENDS))
    assert (found.statistics, found.sums, found.traffic) == ("pooled", (), NO_TRAFFIC)


def test_constants_give_their_own_inputs_and_there_is_nothing_to_disclose(patterns):
    found = registered(patterns, "constants:mean=0.25,std=0.5")
    assert found.preprocessor(ENDS).flatten().tolist() == pytest.approx([-0.5, 1.5])
    assert (found.statistics, found.sums, found.traffic) == (None, (), NO_TRAFFIC)
    assert registered(patterns, "constants:mean=0.25,std=0.5", apart=["dp-weights"]).note is None


@pytest.mark.parametrize("text", ["client-sums", "pooled"])
def test_where_no_input_may_depend_on_another_record_nothing_is_asked_of_the_clients(patterns, text):
    found = registered(patterns, text, apart=["dp-weights"])
    assert found.preprocessor(ENDS).flatten().tolist() == pytest.approx([-1, 1])
    assert (found.statistics, found.sums, found.traffic) == (None, (), NO_TRAFFIC)
    assert found.note is not None
    assert found.note.startswith(f"normalization {text} is not used under dp-weights")


def test_where_all_images_are_at_one_place_nothing_needs_to_be_sent(patterns):
    found = registered(patterns, central=True)
    assert torch.equal(found.preprocessor(ENDS), registered(patterns).preprocessor(ENDS))
    assert (found.statistics, found.sums, found.traffic) == (None, (), NO_TRAFFIC)


@pytest.mark.parametrize("text", ["client-sums", "pooled"])
def test_of_tokens_there_is_nothing_to_say(text):
    sentences = load_dataset("sentences:train=40,test=8", data_dir=None, download=False)
    found = registered(sentences, text)
    assert found.preprocessor(sentences.train_images[:1]).dtype == torch.int64
    assert (found.statistics, found.sums, found.traffic) == (None, (), NO_TRAFFIC)


def test_the_planned_bytes_are_those_of_the_messages(patterns):
    assert planned_traffic(Normalization.parse("client-sums"), 2, patterns.input_shape) == registered(patterns).traffic
    assert planned_traffic(Normalization.parse("client-sums"), 2, (16,)) == NO_TRAFFIC  # tokens
    for text in ("pooled", "constants"):
        assert planned_traffic(Normalization.parse(text), 2, patterns.input_shape) == NO_TRAFFIC

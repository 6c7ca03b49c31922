"""Sequences of tokens that are more than bytes, and of different lengths: what the data set says and keeps."""

import pytest
import torch

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.data.preprocess import AsTheyAre
from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.described_data import described
from dtfl_private.models.build import build_model
from dtfl_private.protocol.vocabulary import Vocabulary

TOKENS = torch.tensor([[5, 999, 0], [1, 2, 3]], dtype=torch.int32)


def dataset(**changes: object) -> TokenDataset:
    settings = {"train_images": TOKENS, "test_images": TOKENS, "vocabulary": 1000, "padding": 0} | changes
    labels = {"train_labels": torch.tensor([0, 1]), "test_labels": torch.tensor([1, 0])}
    return TokenDataset(name="mine", source="made up", classes=("a", "b"), **labels, **settings)


def test_tokens_of_a_large_vocabulary_reach_the_network_as_they_are():
    assert AsTheyAre()(dataset().train_images).tolist() == TOKENS.tolist()
    assert dataset().without_training().train_images.dtype == torch.int32
    assert dataset().tokens == Vocabulary(size=1000, padding=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocabulary": 999}, r"mine: train token 999 is none of the tokens 0\.\.998"),
        ({"train_images": -TOKENS}, "mine: train token -999 is none"),
        ({"vocabulary": 0}, "a vocabulary of 0, expected 1 to"),
        ({"padding": 1001}, "padding 1001 is none of the tokens"),
        ({"padding": -1}, "padding -1 is none of the tokens"),
        ({"test_images": (TOKENS % 256).to(torch.uint8)}, "training and test sequences differ in type"),
        ({"train_images": TOKENS.long()}, "must be uint8 or int32"),
    ],
)
def test_numbers_that_are_no_tokens_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataset(**changes)


def test_the_padding_may_be_the_number_after_the_last_token():
    padded = torch.full_like(TOKENS, 1000)
    assert dataset(train_images=padded, padding=1000).tokens.numbers == 1001
    with pytest.raises(InputError, match="token 1000 is none"):
        dataset(train_images=padded)


def test_other_tokens_or_another_padding_are_other_data():
    found = {dataset(**changes).fingerprint() for changes in ({}, {"padding": 1}, {"vocabulary": 1001})}
    assert len(found) == 3


def test_the_run_folder_s_description_says_which_numbers_are_tokens():
    data = described(dataset(), AsTheyAre())
    assert data.tokens == dataset().tokens
    plain = described(dataset(vocabulary=256, padding=None, train_images=TOKENS % 256, test_images=TOKENS % 256), data)
    assert (plain.vocabulary, plain.padding) == (None, None)
    assert plain.tokens == Vocabulary()


def test_a_network_has_vectors_for_the_tokens_of_the_data():
    about = {"input_shape": (3,), "classes": 2, "norm": "batch", "seed": 0}
    model = build_model("transformer:depth=1,width=8,heads=2", tokens=dataset().tokens, **about)
    assert model[0].tokens.weight.shape == (1000, 8)
    with pytest.raises(InputError, match="the data have 30,523 kinds of tokens, this network has vectors for 30,522"):
        build_model("bert-base", tokens=Vocabulary(size=30_523), **about)


def test_a_description_of_images_has_no_vocabulary(patterns):
    from dtfl_private.data.preprocess import Normaliser

    images = described(patterns, Normaliser.constant(patterns))
    assert images.tokens is None
    with pytest.raises(ValueError, match="images have no vocabulary"):
        type(images).model_validate(images.model_dump() | {"vocabulary": 5})
    tokens = described(dataset(), AsTheyAre())
    with pytest.raises(ValueError, match="padding 1001 is none of the 1000 tokens"):
        type(tokens).model_validate(tokens.model_dump() | {"padding": 1001})

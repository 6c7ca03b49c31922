"""Which of the trained networks a decoder is."""

import torch
from torch import nn

from dtfl_private.attacks.shared import decoders_by_download
from dtfl_private.attacks.shared.decoder_training import DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import VALIDATION_ERROR, trained_decoder
from dtfl_private.attacks.shared.inverse_network import InverseNetwork
from dtfl_private.randomness import isolated

# Of squares; below that of trivial guesses.
ERRORS = {"small": 0.002, "medium": 0.001, "large": 0.003}


def test_of_three_sizes_the_one_of_the_least_error_on_validation_images_is_taken(make_view, monkeypatch):
    def train(_, __, shapes, size, ___):
        with isolated(0, "network", size):
            weights = InverseNetwork(shapes, size).state_dict()
        return {**weights, VALIDATION_ERROR: torch.tensor(ERRORS[size])}

    monkeypatch.setattr(decoders_by_download, "_train", train)
    view, truth = make_view(nn.Identity())
    smashed, labels = view.seen[0].batches[0].smashed, view.seen[0].batches[0].labels
    images = {
        size: trained_decoder(view, view.seen, DecoderTraining(size=size)).decode(smashed, labels)
        for size in (*ERRORS, "best")
    }
    assert torch.equal(images["best"], images["medium"])
    assert not torch.equal(images["best"], images["large"])
    assert images["best"].shape == truth.shape

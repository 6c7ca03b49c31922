"""Gradients of single records in the library's own blocks, with and without adapters, against a loop over records."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.defenses.shared.per_record import per_record_gradients
from dtfl_private.models.build import build_model
from tests.checkpoints import SIZE, VOCABULARY, checkpoint, random_adapters


# GPT-2's fully connected layers are of a kind of their own (Conv1D); BERT's keys have a bias without a gradient.
@pytest.mark.parametrize(("kind", "lora"), [("gpt2", ""), ("bert", ""), ("bert", ",lora=2,lora_targets=linear")])
def test_they_are_those_of_a_loop(tmp_path, kind, lora):
    checkpoint(tmp_path, kind)
    about = {"input_shape": (7,), "classes": 3, "norm": "batch", "seed": 0, "tokens": VOCABULARY}
    network = build_model(f"pretrained:path={tmp_path},cuts=all{lora}", **about)
    random_adapters(network)
    for part in network.train().modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    tokens, labels = 3 * torch.arange(28).reshape(4, 7) % SIZE, torch.tensor([0, 1, 2, 0])
    tokens[1, 3:] = SIZE  # padding
    with per_record_gradients(network) as gradients:
        found = gradients.of_batch(F.cross_entropy(network(tokens), labels, reduction="sum"), 4)
    assert gradients.parameters.keys() == dict(network.named_parameters()).keys()
    for record in range(4):
        network.zero_grad()
        F.cross_entropy(network(tokens[record : record + 1]), labels[record : record + 1]).backward()
        for (name, parameter), single in zip(gradients.parameters.items(), found, strict=True):
            assert parameter.grad is not None, name
            torch.testing.assert_close(single[record], parameter.grad, rtol=1e-4, atol=1e-6)

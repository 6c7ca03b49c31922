"""A round of real training on padded texts: what is sent, and what does not depend on how far they are padded."""

from dataclasses import replace

import pytest
import torch

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.protocol.messages import SmashedBatch

PADDING = 300


def texts(length: int) -> TokenDataset:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.full((24, length), PADDING, dtype=torch.int32)
    for row in range(24):
        real = 1 + row % 6
        tokens[row, :real] = torch.randint(PADDING, (real,), generator=generator, dtype=torch.int32)
    labels = torch.arange(24) % 2
    return TokenDataset(
        name="mine",
        source="made up",
        classes=("a", "b"),
        train_images=tokens[:16],
        train_labels=labels[:16],
        test_images=tokens[16:],
        test_labels=labels[16:],
        vocabulary=PADDING,
        padding=PADDING,
    )


def prepared(length: int, **changes: object):
    settings = {"model": "transformer:depth=2,width=8,heads=2,dropout=0,cuts=all", "clients": 2, "batch_size": 8}
    settings |= {"device": "cpu", "scheduler": "static:2", "dataset": "sentences"}
    return prepare(TrainConfig.model_validate(settings | changes), RunObjects(dataset=texts(length)))


@pytest.mark.parametrize(
    ("method", "defense"),
    [
        ("dtfl", "gaussian-noise:sd=0.5"),
        ("dtfl", "laplace-noise"),
        ("dtfl", "dp-activations:unit=token"),
        ("splitfed-v1", "dropout:p=0.1"),
    ],
)
def test_what_leaves_a_client_has_zeros_for_padding_under_noise(play, method, defense):
    seen = []
    run = prepared(9, defense=[defense], method=method)
    play(run, observers=[lambda message: seen.append(message) if isinstance(message, SmashedBatch) else None])
    real = [(message.smashed != 0).any(dim=-1).sum(dim=1) for message in seen]
    expected = sorted(1 + row % 6 for row in range(16))
    assert sorted(torch.cat(real).tolist()) == expected


def test_the_round_is_the_same_however_far_texts_are_padded(play):
    # Adam would make steps of rounding errors where a gradient is zero, as of the bias of keys.
    runs = [prepared(length, optimizer="sgd", lr=0.1) for length in (6, 13)]
    short = runs[0].initial.weights.model
    weights = dict(runs[1].initial.weights.model) | {n: t for n, t in short.items() if n != "md1.places.weight"}
    weights["md1.places.weight"] = torch.cat([short["md1.places.weight"], weights["md1.places.weight"][6:]])
    begun = replace(runs[1].initial, weights=replace(runs[0].initial.weights, model=weights))
    first, second = (play(run)[0] for run in (runs[0], replace(runs[1], initial=begun)))
    for name, tensor in first[0].weights.model.items():
        torch.testing.assert_close(second[0].weights.model[name][: len(tensor)], tensor, rtol=0, atol=1e-5)


def test_defenses_and_networks_that_do_not_keep_padding_are_refused_before_anything_starts():
    with pytest.raises(InputError, match="top-k cannot act on texts that are filled up"):
        prepared(6, defense=["top-k"])
    with pytest.raises(InputError, match=r"wire int8 gives a whole record one range at cuts of shape \(6, 4\)"):
        prepared(6, wire="int8", model="transformer:depth=2,width=4,heads=2")

"""Each kind of built-in network leaves for ONNX and TorchScript, and computes there what it computes here."""

import io
import warnings
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.models import MobileNetV2

from dtfl_private.data.description import DataDescription
from dtfl_private.experiments.run_folder.model_file import ModelDescription
from dtfl_private.experiments.trained.export import DOCUMENTS
from dtfl_private.experiments.trained.trained_model import TrainedModel
from dtfl_private.models import convolutional
from dtfl_private.models.build import build_model

# One of each kind, small enough for seconds: inverted bottlenecks, plain, attention. What is not here differs from one
# of them by its depth and widths, or is residual, as the trained network of `tests/experiments/trained/test_export.py`.
IMAGES = {
    "mobilenet-v2": (3, 8, 8),
    "he-cnn": (1, 16, 16),
    "vit:depth=1,width=16": (3, 8, 8),
}
# Stages of MobileNetV2 that have all that the others have: expansion, channels, blocks, stride of the first.
STAGES = [[1, 16, 1, 1], [6, 24, 2, 2]]
TOKENS = {"transformer:depth=1": (6,)}


@pytest.fixture(autouse=True)
def few_stages(monkeypatch):
    monkeypatch.setattr(convolutional, "MobileNetV2", partial(MobileNetV2, inverted_residual_setting=STAGES))


def trained(name: str, shape: tuple[int, ...]) -> TrainedModel:
    channels = shape[0] if len(shape) == 3 else 0
    data = DataDescription(
        name="made up",
        kind="images" if channels else "tokens",
        classes=("a", "b", "c"),
        input_shape=shape,
        mean=(0.4, 0.5, 0.6)[:channels],
        std=(0.2, 0.3, 0.4)[:channels],
    )
    of = {"model": name, "dataset": "made-up", "norm": "batch", "round": 1}
    description = ModelDescription(**of, precision="fp32", memory_format="channels-last", data=data)
    network = build_model(name, input_shape=shape, classes=3, norm="batch", seed=0)
    network.train()
    inputs = batch(shape, 16)
    for _ in range(3):  # statistics of batch norm, without which logits of deep networks vanish
        network(inputs)
    return TrainedModel(network, description)


def batch(shape: tuple[int, ...], count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    if len(shape) == 3:
        return torch.rand(count, *shape, generator=generator)
    return torch.randint(30, (count, *shape), generator=generator)


def expected(model: TrainedModel, inputs: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        logits = model(inputs).numpy()
    assert np.ptp(logits, axis=1).min() > 1e-3  # so that equality says something
    return logits


@pytest.mark.parametrize(("name", "shape"), [*IMAGES.items(), *TOKENS.items()])
def test_a_network_computes_the_same_as_onnx(name, shape):
    model = trained(name, shape)
    session = onnxruntime.InferenceSession(DOCUMENTS["onnx"](model))
    for count in (1, 3):
        inputs = batch(shape, count)
        (logits,) = session.run(None, {model.data.kind: inputs.numpy()})
        np.testing.assert_allclose(logits, expected(model, inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "shape"), [*IMAGES.items(), *TOKENS.items()])
def test_a_network_computes_the_same_as_torchscript(name, shape):
    model = trained(name, shape)
    document = DOCUMENTS["torchscript"](model)
    for count in (1, 3):
        inputs = batch(shape, count)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", FutureWarning)  # torch.jit's own, of its deprecation
            logits = torch.jit.load(io.BytesIO(document))(inputs).numpy()
        np.testing.assert_allclose(logits, expected(model, inputs), rtol=1e-4, atol=1e-4)

"""The kernel classifier: labels that no line tells apart, from few examples; it says how sure it is."""

import torch

from dtfl_private.attacks.label_inference import better_classifier
from dtfl_private.attacks.shared.kernel_classifier import KernelClassifier
from dtfl_private.attacks.shared.property_classifier import Examples


def rings(count, seed):
    """Return maps of two values whose label is how far from 0 they are."""
    points = torch.randn(count, 2, 1, 1, generator=torch.Generator().manual_seed(seed))
    labels = (points.flatten(1).norm(dim=1) > 1.18).long()  # half of them
    return Examples(smashed=points, sent_labels=torch.zeros_like(labels), values=labels)


def test_labels_that_no_line_tells_apart_are_found():
    classifier = KernelClassifier(rings(200, 0), rings(60, 1), values=3, seed=0)
    checked = rings(400, 2)
    said = classifier.log_probabilities(checked.smashed, checked.sent_labels)
    assert (said.argmax(dim=1) == checked.values).double().mean() > 0.93
    assert (said[:, 2] < -10).all()  # no example has this label
    torch.testing.assert_close(said.exp().sum(dim=1), torch.ones(400).double(), rtol=1e-6, atol=1e-6)


def test_the_surer_classifier_on_validation_examples_is_taken(monkeypatch):
    view = type("Only", (), {"classes": 2, "seed": 0, "device": "cpu", "input_shape": (1, 8, 8)})()
    train, validation = rings(200, 0), rings(60, 1)
    for loss, kernel in ((0.0, True), (9.0, False)):
        monkeypatch.setattr(KernelClassifier, "__init__", lambda self, *_, loss=loss, **__: setattr(self, "loss", loss))
        assert isinstance(better_classifier(view, train, validation), KernelClassifier) == kernel

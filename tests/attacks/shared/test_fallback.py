"""Trivial guesses in place of decoders that are no better: which guess, by which images and labels."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

from dtfl_private.attacks.shared.decoder_training import DecoderTraining, Lessons
from dtfl_private.attacks.shared.fallback import better_guess, errors_of_guesses, guesses_of
from dtfl_private.attacks.shared.releaser import Releaser
from dtfl_private.protection.base import Defense
from dtfl_private.randomness import torch_stream


@dataclass(frozen=True, kw_only=True)
class OtherLabels(Defense):
    """Send the label of the next class."""

    def protect_labels(self, labels, records, at):
        return (labels + 1) % 10


def means_of(data, labels):
    return torch.stack([data.images[data.labels == label].mean(dim=0) for label in labels.tolist()])


@pytest.mark.parametrize("defenses", [(), (OtherLabels(),)])
def test_guesses_are_judged_on_validation_images_by_the_labels_that_were_sent(defenses, make_view):
    view, _ = make_view(nn.Identity(), *defenses)
    lessons = Lessons(
        images=view.auxiliary,
        releaser=Releaser(view, view.seen, True),
        augmentations=(),
        chance=torch_stream(0, "lessons"),
        features=partial(view.program(view.seen[0], adaptive=False).activations, defended=False),
    )
    errors = errors_of_guesses(lessons, DecoderTraining())
    data = view.auxiliary
    sent = (data.validation_labels + len(defenses)) % 10
    for name, guess in {"class-mean": means_of(data, sent), "mean-image": data.images.mean(dim=0)}.items():
        expected = (guess - data.validation_images).square().mean()
        assert float(errors[name]) == pytest.approx(float(expected), rel=1e-4)
    assert min(errors, key=errors.get) == ("mean-image" if defenses else "class-mean")


def test_a_decoder_that_is_no_better_makes_room_for_the_best_guess(make_view):
    data, labels = make_view(nn.Identity())[0].auxiliary, torch.tensor([3, 0, 3])
    errors = {"mean-image": torch.tensor(0.5), "class-mean": torch.tensor(0.25)}
    assert better_guess(0.2, errors, data) is None
    for error in (0.25, 0.3, torch.inf):
        assert torch.equal(better_guess(error, errors, data)(labels), means_of(data, labels))
    worse = {**errors, "class-mean": torch.tensor(0.75)}
    assert torch.equal(better_guess(0.6, worse, data)(labels), guesses_of(data)["mean-image"](labels))
    assert better_guess(0.4, worse, data) is None

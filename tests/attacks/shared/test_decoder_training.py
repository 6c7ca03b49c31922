"""How decoders are trained: steps, averages, and the step that served best."""

from functools import partial
from itertools import islice

import pytest
import torch
from torch import nn

from dtfl_private.attacks.shared import decoder_training
from dtfl_private.attacks.shared.decoder_training import (
    FEWEST_RELEASED,
    PASSES,
    STEP,
    DecoderTraining,
    Lessons,
    error_on,
    losses,
    train_decoder,
)
from dtfl_private.attacks.shared.inverse_network import InverseNetwork, Shapes
from dtfl_private.attacks.shared.releaser import Releaser
from dtfl_private.randomness import isolated, torch_stream

SHAPES = Shapes(cut=(1, 8, 8), image=(1, 8, 8), classes=10)


@pytest.fixture
def lessons(make_view, small_digits):
    """Make lessons of what a client half that changes nothing sends of few images."""
    view, _ = make_view(nn.Identity(), images=small_digits, auxiliary=48)

    def make() -> Lessons:
        return Lessons(
            images=view.auxiliary,
            releaser=Releaser(view, view.seen, True),
            augmentations=(),
            chance=torch_stream(0, "lessons"),
            features=partial(view.program(view.seen[0], adaptive=False).activations, defended=False),
        )

    return make


def network() -> InverseNetwork:
    with isolated(0, "network"):
        return InverseNetwork(SHAPES, "small")


def test_few_images_are_released_often_enough_for_many_steps(lessons):
    batches = list(islice(lessons().batches(vary=False), PASSES * FEWEST_RELEASED // STEP))
    assert {len(batch.labels) for batch in batches} == {STEP}
    images = {tuple(image.flatten().tolist()) for batch in batches for image in batch.images}
    assert len(images) == len(lessons().images.images)


def test_variations_are_new_in_every_release(lessons):
    steps = PASSES * FEWEST_RELEASED // STEP
    batches = list(islice(lessons().batches(vary=True), 2 * steps))
    parts = [
        {tuple(image.flatten().tolist()) for batch in half for image in batch.images}
        for half in (batches[:steps], batches[steps:])
    ]
    assert len(parts[1] - parts[0]) > len(parts[1]) / 2


def test_the_best_average_is_returned_with_its_error_and_the_steps_are_told(lessons, monkeypatch):
    looks: list[float] = []

    def noted(*parts) -> float:
        looks.append(error_on(*parts))
        return looks[-1]

    monkeypatch.setattr(decoder_training, "error_on", noted)
    told, trained = [], DecoderTraining(size="small", steps=40)
    own = lessons()
    best, error = train_decoder(network(), own, trained, lambda done, total: told.append((done, total)))
    assert told == [(step, 40) for step in range(1, 41)]
    assert len(looks) == 10
    assert error == min(looks) < max(looks)
    known = own.images
    validation = own.releaser.release(known.validation_images, known.validation_labels, "validate")
    assert error == pytest.approx(error_on(best, validation, trained, own.features))
    assert error < error_on(network(), validation, trained, own.features)


def test_weights_are_averaged_up_to_the_step_that_served_best(lessons, monkeypatch):
    errors = iter([5.0, 4.0, 1.0, 2.0, 3.0, *[6.0] * 5])
    monkeypatch.setattr(decoder_training, "error_on", lambda *_: next(errors))
    trained, weights = network(), []
    best, error = train_decoder(
        trained,
        lessons(),
        DecoderTraining(size="small", steps=10),
        lambda *_: weights.append(trained.paint.weight.detach().clone()),
    )
    assert error == 1.0
    average = weights[0]
    for count, latest in enumerate(weights[1:3], start=1):
        average = torch.lerp(average, latest, 1 - (1 + count) / (10 + count))
    torch.testing.assert_close(best.paint.weight, average)
    assert not torch.allclose(average, weights[2], rtol=1e-4, atol=0)


def test_the_perceptual_term_is_the_relative_distance_of_activations(lessons):
    own, released = lessons(), lessons().first()
    plain, weighed = (DecoderTraining(size="small", perceptual=weight) for weight in (0.0, 2.0))
    with torch.no_grad():
        guess = network()(released.smashed, released.labels)
        wanted, had = (own.features(images).flatten(1) for images in (released.images, guess))
        term = losses(network(), released, weighed, own.features) - losses(network(), released, plain, own.features)
    expected = 2 * (had - wanted).square().sum(dim=1) / wanted.square().sum(dim=1)
    # The guess is in bfloat16 within the loss.
    torch.testing.assert_close(term, expected, rtol=0.02, atol=1e-3)


def test_more_steps_serve_better(lessons):
    errors = [
        train_decoder(network(), lessons(), DecoderTraining(size="small", steps=steps), lambda *_: None)[1]
        for steps in (10, 60)
    ]
    assert errors[1] < errors[0] / 2

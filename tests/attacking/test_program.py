"""What the adversary computes with a client's program, against what the client really did."""

import pytest
import torch
from torch.nn import functional as F

from dtfl_private.attacking.program import batches_of
from dtfl_private.plugins.registry import create

# The tiny network has dropout in its third stage, whose masks the adversary does not know.
TIERS_WITHOUT_DROPOUT = (1, 2)


def unit(truth):
    return truth.images.float() / 255


@pytest.mark.parametrize("tier", TIERS_WITHOUT_DROPOUT)
def test_activations_of_the_true_images_are_the_smashed_data(record_tiny, program_of, tier):
    prepared, recording = record_tiny(tier=tier, batches=1)
    program = program_of(prepared, recording)
    smashed = recording.seen.batches[0].smashed
    torch.testing.assert_close(program.activations(unit(recording.truth)), smashed, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        program.release(unit(recording.truth), recording.truth.labels), smashed, rtol=1e-4, atol=1e-5
    )


def test_one_image_alone_is_another_thing_than_in_its_batch(record_tiny, program_of):
    prepared, recording = record_tiny(tier=1, batches=1)
    alone = program_of(prepared, recording).activations(unit(recording.truth)[:1])
    assert not torch.allclose(alone[0], recording.seen.batches[0].smashed[0], atol=1e-3)


def test_use_changes_neither_weights_nor_statistics(record_tiny, program_of):
    prepared, recording = record_tiny(tier=2, batches=1)
    program = program_of(prepared, recording)
    images, labels = unit(recording.truth), recording.truth.labels
    first = program.release(images, labels)
    program.activations(images)
    program.local_loss(program.parameters(), images, labels)
    for name, tensor in program.modules.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(tensor, recording.seen.download.weights[name]), name
    assert torch.equal(program.release(images, labels), first)


def test_the_sampler_is_the_clients_and_the_draws_are_not(record_tiny, program_of):
    shuffle = [create("defense", "channel-shuffle")]
    prepared, recording = record_tiny(tier=2, batches=1, defenses=shuffle)
    program = program_of(prepared, recording)
    images, labels = unit(recording.truth), recording.truth.labels
    sent, mine = recording.seen.batches[0].smashed, program.release(images, labels)
    per_channel = (sent.sum(dim=(2, 3)).sort(dim=1).values, mine.sum(dim=(2, 3)).sort(dim=1).values)
    torch.testing.assert_close(*per_channel, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(sent, mine, atol=1e-3)
    assert not torch.equal(mine, program.release(images, labels))
    plain = program_of(prepared, recording, adaptive=False).release(images, labels)
    torch.testing.assert_close(plain, program.activations(images), rtol=1e-4, atol=1e-5)


def test_activations_can_be_differentiated_in_the_images(record_tiny, program_of):
    prepared, recording = record_tiny(tier=2, batches=1)
    images = unit(recording.truth).requires_grad_()
    program_of(prepared, recording).activations(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_the_gradient_of_the_local_loss_is_the_clients_step(record_tiny, program_of):
    # One batch and plain SGD: the update is -lr times the gradient.
    prepared, recording = record_tiny(
        tier=2, batches=1, whole=True, optimizer="sgd", batch_size=32, local_epochs=1, precision="fp64"
    )
    program = program_of(prepared, recording)
    parameters = {name: tensor.requires_grad_() for name, tensor in program.parameters().items()}
    loss = program.local_loss(parameters, unit(recording.truth), recording.truth.labels)
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    update, download = recording.seen.update, recording.seen.download
    assert update is not None
    for name, gradient in gradients.items():
        part, _, own = name.partition(".")
        before, after = (download.weights, update.weights) if part == "client_half" else (download.head, update.head)
        torch.testing.assert_close((before[own] - after[own]) / 0.01, gradient, rtol=1e-5, atol=1e-7)


def test_the_local_loss_takes_probabilities_too(record_tiny, program_of):
    prepared, recording = record_tiny(tier=2, batches=1)
    program = program_of(prepared, recording)
    images, labels = unit(recording.truth), recording.truth.labels
    soft = F.one_hot(labels, prepared.worker.classes).float()
    hard = program.local_loss(program.parameters(), images, labels)
    torch.testing.assert_close(program.local_loss(program.parameters(), images, soft), hard)


def test_batches_have_one_size_and_share_nothing():
    found = list(batches_of(10, 4, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in found] == [4, 4]
    assert len(torch.cat(found).unique()) == 8
    assert [len(batch) for batch in batches_of(3, 4, torch.Generator().manual_seed(0))] == [3]

"""Defenses as a user might write them, under names that reassure: attacks are misled by none of them."""

import pytest
import torch
from reassuring_defenses import MilitaryGradeVault, Rewriting, of_the_key
from torch import Tensor

from dtfl_private.attacks.decoder import Decoder
from dtfl_private.attacks.hybrid import Hybrid
from dtfl_private.attacks.optimization import Optimization
from dtfl_private.leakage.image_metrics import mse, psnr, ssim
from dtfl_private.models.resnet import Stem
from dtfl_private.randomness import isolated

DECODER = Decoder(size="small", steps=40, lr=1e-2)
OPTIMIZATION = Optimization(steps=60, smoothness=1e-2)
HYBRID = Hybrid(size="small", decoder_steps=50, steps=20)


class HomomorphicRotation(Rewriting):
    """Turn the channels by one orthogonal matrix."""

    def rewritten(self, smashed, at):
        channels = smashed.shape[1]
        rotation = torch.linalg.qr(torch.randn(channels, channels, generator=of_the_key())).Q
        return torch.einsum("dc,bchw->bdhw", rotation, smashed)


class SignCipher(Rewriting):
    """Flip the signs of the same channels in every record."""

    def rewritten(self, smashed, at):
        return smashed * (1 - 2 * torch.randint(2, (smashed.shape[1], 1, 1), generator=of_the_key()))


class KeyedPermutation(Rewriting):
    """Shuffle the channels by one order, whose key is in the code."""

    def rewritten(self, smashed, at):
        return smashed[:, torch.randperm(smashed.shape[1], generator=of_the_key())]


def stem() -> Stem:
    with isolated(0, "stem"):
        return Stem(1, "group")


def class_means(view) -> Tensor:
    """Return the mean auxiliary image (B, C, H, W) of each victim's class: a guess without the smashed data."""
    labels = torch.cat([batch.labels for seen in view.seen for batch in seen.batches])
    known = view.auxiliary
    return torch.stack([known.images[known.labels == label].mean(dim=0) for label in range(10)])[labels]


@pytest.mark.parametrize("defense", [MilitaryGradeVault(), HomomorphicRotation(), SignCipher(), KeyedPermutation()])
def test_what_hides_nothing_is_seen_through(defense, make_view, small_digits):
    view, truth = make_view(stem(), defense, images=small_digits)
    assert ssim(DECODER.reconstruct(view), truth).mean() > ssim(class_means(view), truth).mean() + 0.1


@pytest.mark.parametrize("attack", [OPTIMIZATION, HYBRID])
def test_victims_that_are_all_one_image_are_no_trouble(attack, small_digits, make_view):
    images, labels = (part.clone() for part in small_digits)
    images[:16], labels[:16] = images[0].clone(), labels[0].clone()
    view, truth = make_view(stem(), images=(images, labels))
    guesses = attack.reconstruct(view)
    assert guesses.shape == truth.shape
    for score in (mse, psnr, ssim):
        assert torch.as_tensor(score(guesses, truth)).isfinite().all()
    assert ssim(guesses, truth).mean() > ssim(class_means(view), truth).mean()

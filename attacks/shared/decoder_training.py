"""How inverse networks are trained on what the client's own program makes of auxiliary images.

The budget is in steps: an adversary with few images has no less time. Each release is of variations of the images
(`variations`), with fresh draws of the defenses, and is used for a few passes. What is kept is the average of the
weights over the last steps, at the step where it served best on validation images, which are never varied.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacks.shared.inverse_network import SIZES, InverseNetwork, Size
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.releaser import ReleasedImages, Releaser
from dtfl_private.attacks.shared.similarity import structural_similarity
from dtfl_private.attacks.shared.variations import varied, varied_share
from dtfl_private.eager_optimizers import EagerAdam

# Images per step of training, and at a time without gradients.
STEP = 32
CHUNK = 256
# A release is of so many images, and goes through training so often; the next one has other variations and draws.
FEWEST_RELEASED, MOST_RELEASED = 512, 4096
PASSES = 4
NORMAL_STEPS = 4000
# Steps between looks at the validation images, of which there are at least so many.
LOOK_EVERY = 50
FEWEST_LOOKS = 10
WARM_UP = 20
# Of the weights' average, once it has gone on for long; before, it forgets faster.
DECAY = 0.995

Decode = Callable[[Tensor, Tensor], Tensor]
"""From activations (B, *cut shape) and labels (B,) to images (B, C, H, W)."""


@dataclass(frozen=True, kw_only=True)
class DecoderTraining:
    """How inverse networks are trained.

    Attributes:
        size: of the network; "best" trains all three and takes the best on validation images.
        steps: of Adam, of `STEP` images each.
        lr: first learning rate; falls as a half cosine.
        ssim: weight of 1 - SSIM in the loss, whose first term is the squared error.
        perceptual: weight of the distance between the client half's activations of guess and image, relative to the
            latter's; defenses left out.
        adaptive: through the defenses' samplers.
        varied: on variations of the auxiliary images; otherwise on the images as they are.
    """

    size: Literal["small", "medium", "large", "best"] = "medium"
    steps: int = NORMAL_STEPS
    lr: float = 3e-3
    ssim: float = 0.0
    perceptual: float = 0.0
    adaptive: bool = True
    varied: bool = True

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The networks to be trained."""
        return SIZES if self.size == "best" else (self.size,)


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Where an inverse network learns from: releases of the adversary's images, and chance.

    Attributes:
        images: the adversary's.
        releaser: makes releases of them.
        augmentations: what clients do to their training images, by name.
        chance: of orders and variations.
        features: the client half, from images (B, C, H, W) to activations; differentiable.
    """

    images: Auxiliary
    releaser: Releaser
    augmentations: tuple[str, ...]
    chance: torch.Generator
    features: Callable[[Tensor], Tensor]

    def first(self) -> ReleasedImages:
        """Return a release of the images as they are."""
        return self.releaser.release(self.images.images, self.images.labels, "train", 0)

    def validation(self) -> ReleasedImages:
        """Return a release of the validation images."""
        return self.releaser.release(self.images.validation_images, self.images.validation_labels, "validate")

    def batches(self, *, vary: bool) -> Iterator[ReleasedImages]:
        """Yield batches to train on without end, from releases of images drawn without repetition."""
        images, labels = self.images.images, self.images.labels
        count = min(max(len(images), FEWEST_RELEASED), MOST_RELEASED)
        for number in itertools.count(1):
            drawn = drawn_places(len(images), count, self.chance)
            own = images[drawn]
            if vary:
                own = varied(own, labels[drawn], self.augmentations, varied_share(len(images)), self.chance)
            released = self.releaser.release(own, labels[drawn], "train", number)
            yield from in_batches(released, self.chance, passes=PASSES)


def drawn_places(records: int, count: int, chance: torch.Generator) -> Tensor:
    """Return places (count,) of ``count`` out of so many records, all of them once before any a second time."""
    orders = [torch.randperm(records, generator=chance) for _ in range(-(-count // records))]
    return torch.cat(orders)[:count]


def in_batches(released: ReleasedImages, chance: torch.Generator, *, passes: int) -> Iterator[ReleasedImages]:
    """Yield releases in batches of `STEP`, all of them in each pass, every time in another order."""
    for _ in range(passes):
        order = torch.randperm(len(released.images), generator=chance).to(released.images.device)
        for batch in torch.split(order, STEP):
            yield ReleasedImages(*(part[batch] for part in released))


def train_decoder(
    network: InverseNetwork, lessons: Lessons, training: DecoderTraining, advance: Callable[[int, int], None]
) -> tuple[InverseNetwork, float]:
    """Train a network; return the average of its weights that served best, and its error on validation images."""
    validation = lessons.validation()
    average = AveragedModel(network, multi_avg_fn=forgetting)
    optimizer = EagerAdam(network.parameters(), lr=training.lr, fused=True)
    look_every = max(1, min(LOOK_EVERY, training.steps // FEWEST_LOOKS))
    best, best_error = copy.deepcopy(network), math.inf
    batches = lessons.batches(vary=training.varied)
    for step, batch in enumerate(itertools.islice(batches, training.steps), start=1):
        warm = min(1.0, step / WARM_UP)
        optimizer.param_groups[0]["lr"] = training.lr * warm * half_cosine(step - 1, training.steps)
        loss = losses(network, batch, training, lessons.features).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        average.update_parameters(network)
        if step % look_every == 0 or step == training.steps:
            latest = cast(InverseNetwork, average.module)
            error = error_on(latest, validation, training, lessons.features)
            if error < best_error:
                best, best_error = copy.deepcopy(latest), error
        advance(step, training.steps)
    return best, best_error


@torch.no_grad()
def forgetting(average: PARAM_LIST, latest: PARAM_LIST, updates: Tensor | int) -> None:
    """Move an average of weights on by one more step: exponential, over the last tenth as long as it is young."""
    decay = min(DECAY, (1 + int(updates)) / (10 + int(updates)))
    torch._foreach_lerp_(list(average), list(latest), 1 - decay)


def has_fast_bfloat16(device: str) -> bool:
    """Whether layers in bfloat16 are worth their rounding on this kind of device."""
    if device == "cpu":
        # With AVX-512 and no AMX, the smallest decoder takes 1.4 times as long in it, and the largest 1.5 times.
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_amx_tile_supported()
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def losses(
    decode: Decode,
    released: ReleasedImages,
    training: DecoderTraining,
    features: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the loss of each decoded image (B,): squared error, and what else `DecoderTraining` gives a weight."""
    device = released.smashed.device.type
    # Half the time, and in measurements the same error, which is far above this type's rounding.
    with torch.autocast(device, dtype=torch.bfloat16, enabled=has_fast_bfloat16(device)):
        guess = decode(released.smashed, released.labels)
    errors: Tensor = (guess - released.images).square().flatten(1).mean(dim=1)
    if training.ssim:
        errors = errors + training.ssim * (1 - structural_similarity(guess, released.images))
    if training.perceptual:
        with torch.no_grad():
            wanted = features(released.images).flatten(1)
        apart = (features(guess).flatten(1) - wanted).square().sum(dim=1)
        errors = errors + training.perceptual * apart / wanted.square().sum(dim=1).clamp(min=1e-12)
    return errors


@torch.no_grad()
def error_on(
    decode: Decode,
    released: ReleasedImages,
    training: DecoderTraining,
    features: Callable[[Tensor], Tensor],
) -> float:
    """Return the mean loss of what is decoded from released images."""
    parts = zip(*(torch.split(part, CHUNK) for part in released), strict=True)
    errors = [losses(decode, ReleasedImages(*part), training, features) for part in parts]
    return float(torch.cat(errors).double().mean())

"""Training inverse networks on what the client's own program makes of auxiliary images; shared by several attacks.

Chance comes from the repetition's seed and not from the attack's stream, so that the cached decoder is the same
whichever attack trains it.

decoders = trained_decoders(view, DecoderTraining())
images = decoders.of(seen).decode(smashed, labels)
"""

import copy
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram, batches_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.inverse_network import SIZES, InverseNetwork, Shapes, Size, map_shape
from dtfl_private.attacks.shared.similarity import structural_similarity
from dtfl_private.protocol.messages import ModelDownload, Seen
from dtfl_private.randomness import isolated, torch_stream

# Images per step of training, and at a time without gradients.
STEP = 64
CHUNK = 256
VALIDATION_ERROR = "validation error"
# A release of all auxiliary images is used for so many epochs; the next one has fresh batches and draws.
EPOCHS_PER_RELEASE = 4
# Clients' programs that take turns within a release, so that no lasting secret of a single one is learnt.
SECRETS = 4


@dataclass(frozen=True, kw_only=True)
class DecoderTraining:
    """How inverse networks are trained.

    Attributes:
        size: of the network; "best" trains all three and takes the best on validation images.
        epochs: passes over the auxiliary images at most.
        lr: first learning rate of Adam; falls as a half cosine.
        ssim: weight of 1 - SSIM in the loss, whose other term is the squared error.
        patience: epochs without a better validation error after which training stops.
        adaptive: through the defenses' samplers.
    """

    size: Literal["small", "medium", "large", "best"] = "medium"
    epochs: int = 40
    lr: float = 3e-3
    ssim: float = 0.0
    patience: int = 10
    adaptive: bool = True

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The networks to be trained."""
        return SIZES if self.size == "best" else (self.size,)


class AuxiliaryRelease(NamedTuple):
    """What a client sends of auxiliary images: activations (N, *cut shape) and labels (N,), and the images."""

    smashed: Tensor
    labels: Tensor
    images: Tensor


class Releaser:
    """Makes releases of auxiliary images as clients that began with the same weights would.

    Args:
        view: of the adversary.
        group: these clients' rounds.
        adaptive: through the defenses' samplers.
    """

    def __init__(self, view: View, group: Sequence[Seen], adaptive: bool) -> None:
        self._view = view
        self._group = group
        self._adaptive = adaptive
        # Batch norm couples a batch, so that one's own batches are of the victims' size.
        self._size = batch_size(group)

    def release(self, images: Tensor, labels: Tensor, *path: str | int) -> AuxiliaryRelease:
        """Return a release of images (N, C, H, W) in random batches; what makes no whole batch is left out."""
        chance = torch_stream(self._view.seed, "release", self._view.tier, *path)
        with isolated(self._view.seed, "release", self._view.tier, *path):
            programs = [self._program(turn, *path) for turn in range(SECRETS)]
            parts = []
            for turn, batch in enumerate(batches_of(len(images), self._size, chance)):
                program = programs[turn % SECRETS]
                own = images[batch].to(program.device)
                sent = program.release(own, labels[batch].to(program.device))
                parts.append((sent, program.sent_labels(labels[batch]), own))
        smashed, sent_labels, kept = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return AuxiliaryRelease(smashed=smashed, labels=sent_labels.to(smashed.device), images=kept)

    @cached_property
    def varies(self) -> bool:
        """Whether a second release differs from the first: by fresh draws, or by the other images of a batch."""
        images, labels = (part[: 2 * self._size] for part in (self._view.auxiliary.images, self._view.auxiliary.labels))
        first, second = (_sorted(self.release(images, labels, "probe", turn)) for turn in range(2))
        return not torch.allclose(first, second, rtol=1e-3, atol=1e-4)

    def _program(self, turn: int, *path: str | int) -> ClientProgram:
        draw = "/".join(map(str, (*path, turn)))
        return self._view.program(self._group[turn % len(self._group)], adaptive=self._adaptive, draw=draw)


def _sorted(released: AuxiliaryRelease) -> Tensor:
    """Return a release's activations in an order that depends on the images alone."""
    return released.smashed[released.images.flatten(1).double().sum(dim=1).argsort()]


def batch_size(group: Sequence[Seen]) -> int:
    """Return the most frequent size of the batches of clients' rounds; of several the largest."""
    sizes = Counter(len(batch.labels) for seen in group for batch in seen.batches)
    return max(sizes, key=lambda size: (sizes[size], size))


def fingerprint(download: ModelDownload) -> str:
    """Return a short text that is the same for downloads of the same weights, and for no others."""
    digest = hashlib.blake2b(digest_size=8)
    for state in (download.weights, download.head):
        for name, tensor in sorted(state.items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def has_fast_bfloat16(device: str) -> bool:
    """Whether layers in bfloat16 are worth their rounding on this kind of device."""
    if device == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def placed(network: InverseNetwork, device: str) -> InverseNetwork:
    """Return a network on a device, in the memory format in which its convolutions are fastest."""
    return network.to(device).to(memory_format=torch.channels_last)


class TrainedDecoder:
    """A trained inverse network."""

    def __init__(self, network: InverseNetwork, device: str) -> None:
        self._network = placed(network, device).eval()
        self._device = device

    @torch.no_grad()
    def decode(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] of activations (N, *cut shape) and labels (N,), on the device."""
        pairs = zip(torch.split(smashed, CHUNK), torch.split(labels, CHUNK), strict=True)
        parts = [self._network(z.to(self._device), y.to(self._device)) for z, y in pairs]
        return torch.cat(parts).clamp(0, 1)


class Decoders:
    """The decoders of all clients' rounds: one for each distinct download."""

    def __init__(self, by_download: Mapping[str, TrainedDecoder]) -> None:
        self._by_download = by_download

    def of(self, seen: Seen) -> TrainedDecoder:
        """Return the decoder for the weights that a client began with."""
        return self._by_download[fingerprint(seen.download)]


def trained_decoders(view: View, training: DecoderTraining) -> Decoders:
    """Return decoders for all rounds of ``view.seen``, trained on auxiliary data; cached for other attacks."""
    groups: dict[str, list[Seen]] = {}
    for seen in view.seen:
        groups.setdefault(fingerprint(seen.download), []).append(seen)
    return Decoders({name: trained_decoder(view, group, training) for name, group in groups.items()})


def trained_decoder(view: View, group: Sequence[Seen], training: DecoderTraining) -> TrainedDecoder:
    """Return a decoder for clients' rounds that began with the same weights, trained on auxiliary data.

    The network with the least error on validation images, over epochs and sizes.
    """
    shapes = Shapes(cut=map_shape(view.cut_shape, "decoder"), image=view.input_shape, classes=view.classes)
    best: tuple[float, InverseNetwork] | None = None
    for size in training.sizes:
        name = f"decoder/{fingerprint(group[0].download)}/{batch_size(group)}/{size}/{_settings(training)}"
        trained = dict(view.keep(name, partial(_train, view, group, shapes, size, training)))
        error = float(trained.pop(VALIDATION_ERROR))
        if best is None or error < best[0]:
            network = InverseNetwork(shapes, size)
            network.load_state_dict(trained)
            best = (error, network)
    assert best is not None
    return TrainedDecoder(best[1], view.device)


def _settings(training: DecoderTraining) -> str:
    return f"{training.epochs}/{training.lr}/{training.ssim}/{training.patience}/{training.adaptive}"


def _train(
    view: View, group: Sequence[Seen], shapes: Shapes, size: Size, training: DecoderTraining
) -> dict[str, Tensor]:
    """Train one network; return its best weights and their error on validation images."""
    auxiliary, releaser = view.auxiliary, Releaser(view, group, training.adaptive)
    validation = releaser.release(auxiliary.validation_images, auxiliary.validation_labels, "validation")
    released = releaser.release(auxiliary.images, auxiliary.labels, "train", 0)
    with isolated(view.seed, "inverse network", view.tier, size):
        network = placed(InverseNetwork(shapes, size), view.device)
    network.standardise_by(released.smashed)
    optimizer = torch.optim.Adam(network.parameters(), lr=training.lr)
    chance = torch_stream(view.seed, "order of training", view.tier, size)
    best_error, best, waited = math.inf, network.state_dict(), 0
    for epoch in range(training.epochs):
        if epoch and epoch % EPOCHS_PER_RELEASE == 0 and releaser.varies:
            released = releaser.release(auxiliary.images, auxiliary.labels, "train", epoch)
        _train_epoch(network, optimizer, released, training, epoch, chance)
        error = _error(network, validation, training)
        waited += 1
        if error < best_error:
            best_error, best, waited = error, copy.deepcopy(network.state_dict()), 0
        view.progress(epoch + 1, training.epochs)
        if waited == training.patience:
            break
    return {**best, VALIDATION_ERROR: torch.tensor(best_error, dtype=torch.float64)}


def _train_epoch(
    network: InverseNetwork,
    optimizer: torch.optim.Optimizer,
    released: AuxiliaryRelease,
    training: DecoderTraining,
    epoch: int,
    chance: torch.Generator,
) -> None:
    """Go through the released images once, in random order."""
    device = released.images.device
    batches = torch.split(torch.randperm(len(released.images), generator=chance), STEP)
    for number, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = training.lr * half_cosine(epoch + number / len(batches), training.epochs)
        batch = batch.to(device)
        loss = _losses(
            network, released.smashed[batch], released.labels[batch], released.images[batch], training
        ).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def half_cosine(done: float, total: float) -> float:
    """Return the share of the first learning rate after ``done`` of ``total`` steps: from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * done / total))


def _losses(
    network: InverseNetwork, smashed: Tensor, labels: Tensor, images: Tensor, training: DecoderTraining
) -> Tensor:
    """Return the loss of each image (B,)."""
    device = smashed.device.type
    # Half the time, and in measurements the same error, which is far above this type's rounding.
    with torch.autocast(device, dtype=torch.bfloat16, enabled=has_fast_bfloat16(device)):
        guess = network(smashed, labels)
    losses: Tensor = (guess - images).square().flatten(1).mean(dim=1)
    if training.ssim:
        losses = losses + training.ssim * (1 - structural_similarity(guess, images))
    return losses


@torch.no_grad()
def _error(network: InverseNetwork, validation: AuxiliaryRelease, training: DecoderTraining) -> float:
    """Return the mean loss on validation images."""
    parts = zip(*(torch.split(part, CHUNK) for part in validation), strict=True)
    return float(torch.cat([_losses(network, z, y, x, training) for z, y, x in parts]).double().mean())

"""Decoders of clients' rounds: trained inverse networks, one for each distinct download; shared by several attacks.

Chance comes from the repetition's seed and not from the attack's stream, so that the cached decoder is the same
whichever attack trains it.

Where a decoder is no better on validation images than the mean of likely images under known noise (`PosteriorMean`), or
than a trivial guess, it decodes to that.

decoders = trained_decoders(view, DecoderTraining())
images = decoders.of(seen).decode(smashed, labels)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor

from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.auxiliary_release import label_channel
from dtfl_private.attacks.shared.decoder_training import (
    CHUNK,
    Decode,
    DecoderTraining,
    Lessons,
    error_on,
    train_decoder,
)
from dtfl_private.attacks.shared.fallback import better_guess, errors_of_guesses, of_labels
from dtfl_private.attacks.shared.inverse_network import InverseNetwork, Shapes, Size, map_shape
from dtfl_private.attacks.shared.posterior_mean import TEMPERATURES, PosteriorMean, bank_of
from dtfl_private.attacks.shared.releaser import Releaser, batch_size, by_download, fingerprint
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import isolated, torch_stream

VALIDATION_ERROR = "validation error"


class TrainedDecoder:
    """A trained inverse network, or in its place what serves better.

    Args:
        network: trained.
        device: to compute on.
        choose_instead: returns what is taken in place of the network, if this serves no better; called when it is
            first needed, since attacks that go by the network alone need not wait for it.
    """

    def __init__(self, network: InverseNetwork, device: str, choose_instead: Callable[[], Decode | None]) -> None:
        self._choose_instead = choose_instead
        self._network = placed(network, device).eval().requires_grad_(requires_grad=False)
        self._device = device

    @cached_property
    def _instead(self) -> Decode | None:
        return self._choose_instead()

    def decode(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] of activations (N, *cut shape) and labels (N,), on the device."""
        if self._instead is not None:
            return self._instead(smashed, labels).to(self._device)
        return self.decode_by_network(smashed, labels)

    @torch.no_grad()
    def decode_by_network(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return the network's own images, for attacks that make more of them; otherwise as `decode`."""
        pairs = zip(torch.split(smashed, CHUNK), torch.split(labels, CHUNK), strict=True)
        parts = [self._network(z.to(self._device), y.to(self._device)) for z, y in pairs]
        return torch.cat(parts).clamp(0, 1)

    def decode_moved(self, smashed: Tensor, labels: Tensor, moved: Tensor) -> Tensor:
        """Return images of activations moved by so many deviations of their channels (N, *cut shape); differentiable.

        Otherwise as `decode_by_network`; where a map's channels come last, as tokens' do, `moved` is as they are.
        """
        scale = self._network.scale if smashed.ndim == 4 else self._network.scale.flatten()
        images: Tensor = self._network(smashed.to(self._device) + moved / scale, labels.to(self._device))
        return images.clamp(0, 1)


class Decoders:
    """The decoders of all clients' rounds: one for each distinct download."""

    def __init__(self, by_download: Mapping[str, TrainedDecoder]) -> None:
        self._by_download = by_download

    def of(self, seen: Seen) -> TrainedDecoder:
        """Return the decoder for the weights that a client began with."""
        return self._by_download[fingerprint(seen.download)]


def trained_decoders(view: View, training: DecoderTraining, rivals: Sequence[InverseNetwork] = ()) -> Decoders:
    """Return decoders for all rounds of ``view.seen``, trained on auxiliary data; cached for other attacks.

    Args:
        view: of the adversary.
        training: how they are trained.
        rivals: networks trained elsewhere, one of which is taken where it has less error on validation images.
    """
    groups = by_download(view.seen)
    return Decoders(
        {
            name: trained_decoder(view.part(number / len(groups), (number + 1) / len(groups)), group, training, rivals)
            for number, (name, group) in enumerate(groups.items())
        }
    )


def decoded_by(view: View, decoders: Decoders) -> Tensor:
    """Return the victims' images (victims, C, H, W) as their decoders see them, on the CPU."""
    parts = [decoders.of(seen).decode(batch.smashed, batch.labels) for seen in view.seen for batch in seen.batches]
    return torch.cat(parts).cpu()


def trained_decoder(
    view: View, group: Sequence[Seen], training: DecoderTraining, rivals: Sequence[InverseNetwork] = ()
) -> TrainedDecoder:
    """Return a decoder for clients' rounds that began with the same weights, trained on auxiliary data.

    The network with the least error on validation images, over steps, sizes and rivals; the mean of likely images, or
    the best trivial guess, if that is no worse.
    """
    shapes = Shapes(cut=map_shape(view.cut_shape, "decoder"), image=view.input_shape, classes=view.classes)
    best: tuple[float, InverseNetwork] | None = None
    sizes = training.sizes
    for number, size in enumerate(sizes):
        part = view.part(number / len(sizes), (number + 1) / len(sizes))
        name = f"decoder/{fingerprint(group[0].download)}/{batch_size(group)}/{size}/{_settings(training)}"
        trained = dict(view.keep(name, partial(_train, part, group, shapes, size, training)))
        error = float(trained.pop(VALIDATION_ERROR))
        if best is None or error < best[0]:
            network = InverseNetwork(shapes, size)
            network.load_state_dict(trained)
            best = (error, network)
    assert best is not None
    if rivals:
        lessons = _lessons(view, group, training, "rivals")
        validation = lessons.validation()
        for rival in rivals:
            error = error_on(rival, validation, training, lessons.features)
            if error < best[0]:
                best = (error, rival)
    return TrainedDecoder(best[1], view.device, partial(_better_decode, view, group, training, best[0]))


def _better_decode(view: View, group: Sequence[Seen], training: DecoderTraining, error: float) -> Decode | None:
    """Return what has less error on validation images than a network with this one, if anything has."""
    instead: Decode | None = None
    posterior = _posterior_mean(view, group, training)
    if posterior is not None and posterior[0] < error:
        error, instead = posterior[0], posterior[1].decode
    guess = better_guess(error, _errors_of_guesses(view, group, training), view.auxiliary)
    return instead if guess is None else partial(of_labels, guess)


def _posterior_mean(view: View, group: Sequence[Seen], training: DecoderTraining) -> tuple[float, PosteriorMean] | None:
    """Return the mean of likely images with its error on validation images, where noise is known; else None."""
    program = view.program(group[0], adaptive=training.adaptive)
    reading = program.read(group[0].batches[0].smashed.to(program.device))
    if program.rewrites or not reading.has_known_noise:
        return None
    known, tells = view.auxiliary, label_channel(view, group[0], adaptive=training.adaptive).log()
    chance = torch_stream(view.seed, "images to average", view.tier)
    augmentations, size = tuple(view.augmentations), batch_size(group)
    bank = bank_of(program, reading, known.images, known.labels, tells, size, augmentations, chance)
    if bank is None:
        return None
    lessons = _lessons(view, group, training, "posterior mean")
    validation = lessons.validation()
    tried = [replace(bank, temperature=temperature) for temperature in TEMPERATURES]
    errors = [error_on(one.decode, validation, training, lessons.features) for one in tried]
    best = min(range(len(tried)), key=errors.__getitem__)
    return errors[best], tried[best]


def _errors_of_guesses(view: View, group: Sequence[Seen], training: DecoderTraining) -> Mapping[str, Tensor]:
    """Return the errors of trivial guesses that a decoder of these rounds is to be better than; cached."""
    name = f"guesses/{fingerprint(group[0].download)}/{batch_size(group)}/{_settings(training)}"
    return view.keep(name, lambda: errors_of_guesses(_lessons(view, group, training, "guesses"), training))


def _settings(training: DecoderTraining) -> str:
    weights = f"{training.ssim}/{training.perceptual}"
    return f"{training.steps}/{training.lr}/{weights}/{training.adaptive}/{training.varied}"


def placed(network: InverseNetwork, device: str) -> InverseNetwork:
    """Return a network on a device, in the memory format in which its convolutions are fastest."""
    return network.to(device).to(memory_format=torch.channels_last)


def _train(
    view: View, group: Sequence[Seen], shapes: Shapes, size: Size, training: DecoderTraining
) -> dict[str, Tensor]:
    """Train one network; return its best weights and their error on validation images."""
    lessons = _lessons(view, group, training, size)
    with isolated(view.seed, "inverse network", view.tier, size):
        network = placed(InverseNetwork(shapes, size), view.device)
    network.standardise_by(lessons.first().smashed)
    best, error = train_decoder(network, lessons, training, view.progress)
    return {**best.state_dict(), VALIDATION_ERROR: torch.tensor(error, dtype=torch.float64)}


def _lessons(view: View, group: Sequence[Seen], training: DecoderTraining, path: str) -> Lessons:
    return Lessons(
        images=view.auxiliary,
        releaser=Releaser(view, group, training.adaptive),
        augmentations=tuple(view.augmentations),
        chance=torch_stream(view.seed, "order of training", view.tier, path),
        features=partial(view.program(group[0], adaptive=False).activations, defended=False),
    )

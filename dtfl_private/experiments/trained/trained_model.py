"""A trained network that takes images as they are and normalises them by itself."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dtfl_private.data.description import DataDescription
from dtfl_private.data.preprocess import AsTheyAre, Normaliser, Preprocessor
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.plugin_fields import OBJECT
from dtfl_private.experiments.run_folder.model_file import ModelDescription, load_weights, model_description
from dtfl_private.models.build import as_staged, build_description, build_model
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.own_objects import Allowed, allowance

# By so much may floating-point images leave [0, 1]: what resizing and arithmetic leave beyond it.
ROUNDING = 1e-3


class TrainedModel(nn.Module):
    """A trained network, in evaluation mode; it takes images in [0, 1] or uint8, and returns logits.

    It computes as the run did when it judged itself: the same normalisation, precision and memory format.

    Attributes:
        network: the network alone, which takes normalised images.
        description: of the weights and of the data.
        data: what it takes, and what its outputs mean.
        numerics: how it computes, whatever device it is moved to.
    """

    _place: Tensor

    def __init__(self, network: StagedModel, description: ModelDescription) -> None:
        super().__init__()
        self.description, self.data = description, description.data
        self.numerics = Numerics(precision=description.precision, memory_format=description.memory_format)
        self.network = self.numerics.place(network)
        self._normalise = preprocessor_of(self.data)
        # Tells the device, wherever the module is moved; no part of its state.
        self.register_buffer("_place", torch.zeros(()), persistent=False)
        self.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by number."""
        return self.data.classes

    @property
    def device(self) -> str:
        """Where it is."""
        return str(self._place.device)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes), or of a language model (N, length, tokens), float32, on the module's device.

        Args:
            images: (N, C, H, W), uint8 or floating-point in [0, 1]; of a network for tokens (N, length), integers.

        Raises:
            InputError: inputs of another shape, type or range.
        """
        stored = self._stored(images).to(self.device)
        numerics = replace(self.numerics, device=self.device)
        with numerics.autocast():
            logits: Tensor = self.network(numerics.place_images(self._normalise.to(self.device)(stored)))
        return logits.float()

    def _stored(self, images: Tensor) -> Tensor:
        """Return inputs on the scale of stored ones: images from 0 to 255."""
        wanted = " x ".join(map(str, self.data.input_shape))
        if not isinstance(images, Tensor):
            raise InputError(f"{self.data.kind} are a {type(images).__name__}, expected a tensor (N, {wanted})")
        if tuple(images.shape[1:]) != self.data.input_shape:
            raise InputError(f"{self.data.kind} have shape {tuple(images.shape)}, expected N x {wanted}")
        if self.data.kind == "tokens":
            if images.is_floating_point():
                raise InputError(f"tokens are {images.dtype}, expected whole numbers")
            self._require_tokens(images)
            return images
        if images.dtype == torch.uint8:
            return images
        if not images.is_floating_point():
            raise InputError(f"images are {images.dtype}, expected uint8, or floating-point values in [0, 1]")
        if len(images):
            least, most = float(images.min()), float(images.max())
            if not (least >= -ROUNDING and most <= 1 + ROUNDING):  # NaN fails it too
                raise InputError(
                    f"images hold values from {least:g} to {most:g}, expected [0, 1]: give uint8 images as they are, "
                    "and do not normalise them"
                )
        return images.float() * 255

    def _require_tokens(self, tokens: Tensor) -> None:
        known = self.data.tokens
        if known is not None and len(tokens):
            least, most = int(tokens.min()), int(tokens.max())
            if least < 0 or most >= known.numbers:
                raise InputError(f"tokens lie within {least}..{most}, expected 0..{known.numbers - 1}")

    def extra_repr(self) -> str:
        """Return what it takes and tells apart."""
        return f"inputs={self.data.input_shape}, classes={len(self.classes)}"


def preprocessor_of(data: DataDescription) -> Preprocessor:
    """Return what makes network inputs of stored ones."""
    if data.kind == "tokens":
        return AsTheyAre()
    return Normaliser(*(torch.tensor(numbers, dtype=torch.float64) for numbers in (data.mean, data.std)))


def load_model(path: Path | str, *, model: nn.Module | None = None, allow_plugins: Iterable[str] = ()) -> TrainedModel:
    """Return the trained network in a file of weights, without the run that it is from.

    Args:
        path: ``model.safetensors`` of a run folder, or what ``export --format state-dict`` wrote. It may come from
            anybody: it holds no code.
        model: the network to load the weights into, where `train` was given it as an object; it is left as it was.
        allow_plugins: modules whose objects the file may name as its network (``package.module:function``).

    Raises:
        InputError: there is no such file, it is of an earlier version, or its network is not given or not allowed.
        RunError: the file is damaged, or of another network.
    """
    path = Path(path)
    described = model_description(path)
    return TrainedModel(_fitting_network(path, described, model, allowance(allow_plugins)), described)


def _fitting_network(path: Path, described: ModelDescription, given: nn.Module | None, allowed: Allowed) -> StagedModel:
    """Return the network with the weights in the file."""
    dtype = Numerics(precision=described.precision).weight_dtype
    network = _network(path, described, given, allowed).to(dtype=dtype)
    weights = load_weights(path, network.state_dict())
    if any(tensor.is_meta for tensor in network.state_dict().values()):
        # A large network: it was only described until the file was known to fit it.
        network = _built(described, allowed, build_model).to(dtype=dtype)
    network.load_state_dict(weights)
    return network


def _network(path: Path, described: ModelDescription, given: nn.Module | None, allowed: Allowed) -> StagedModel:
    if given is not None:
        if not isinstance(given, nn.Module):
            raise InputError(f"model is a {type(given).__name__}, expected a torch.nn.Module")
        return as_staged(copy.deepcopy(given), described.data.input_shape)
    if described.model.startswith(OBJECT):
        kind = described.model.removeprefix(OBJECT)
        raise InputError(
            f"the network of {path} was passed to train as an object ({kind}): pass it again, "
            "as in load_run(RUN, model=NETWORK)"
        )
    return _built(described, allowed, build_description)


def _built(described: ModelDescription, allowed: Allowed, build: Callable[..., StagedModel]) -> StagedModel:
    """Return the network that a file names, by `build_description` or `build_model`; its weights do not matter."""
    data = described.data
    return build(
        described.model,
        input_shape=data.input_shape,
        classes=len(data.classes),
        norm=described.norm,
        seed=0,
        allowed=allowed,
        tokens=data.tokens,
    )

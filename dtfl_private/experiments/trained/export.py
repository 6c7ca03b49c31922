"""A trained network in a file for use elsewhere: ONNX, TorchScript, or its weights alone."""

import copy
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dtfl_private.data.description import DataDescription
from dtfl_private.errors import InputError, RunError, unknown_name
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.model_file import weights_document
from dtfl_private.experiments.trained.onnx_document import onnx_document
from dtfl_private.experiments.trained.trained_model import TrainedModel
from dtfl_private.files.writing import output_path, require_file_or_nothing, require_writable, write_atomic

ExportFormat = Literal["onnx", "torchscript", "state-dict"]

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

FILES: Mapping[ExportFormat, str] = {
    "onnx": "model.onnx",
    "torchscript": "model.torchscript.pt",
    "state-dict": "model.state-dict.safetensors",
}
"""Where a network goes in its run folder, by format."""


class ExportedNetwork(nn.Module):
    """The graph that is exported: from images in [0, 1] to logits, in float32; of a network for tokens, from tokens."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.network = copy.deepcopy(model.network).to("cpu", torch.float32).to(memory_format=torch.contiguous_format)
        data = model.data
        self.normalises = data.kind == "images"
        if self.normalises:
            mean, std = (
                torch.tensor(numbers, dtype=torch.float64).view(1, -1, 1, 1) for numbers in (data.mean, data.std)
            )
            self.register_buffer("factor", (1 / std).float())
            self.register_buffer("shift", (-mean / std).float())
        self.eval()

    factor: Tensor
    shift: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        logits: Tensor = self.network(images * self.factor + self.shift if self.normalises else images)
        return logits


def export_model(model: TrainedModel, folder: Path, form: ExportFormat, out: Path | str | None) -> Path:
    """Write a network to a file in one step, and return where it is.

    Args:
        model: on any device; it is left as it is.
        folder: where the file goes by default.
        form: of the file.
        out: the file to write instead.

    Raises:
        InputError: no such format, one that needs a package that is not installed, or a file that cannot be written.
        RunError: weights that are no finite numbers.
    """
    if form not in FORMATS:
        raise unknown_name("format", str(form), FORMATS)
    path = folder / FILES[form] if out is None else output_path(out)
    require_file_or_nothing(path, f"'{path}' cannot be written")
    if not path.parent.is_dir():
        raise InputError(f"'{path}' cannot be written: there is no folder '{path.parent}'")
    require_writable(path.parent, f"'{path}' cannot be written")
    _require_finite(model)
    data = DOCUMENTS[form](model)
    write_atomic(path, data)
    return path


def _require_finite(model: TrainedModel) -> None:
    """Refuse the network of a training that diverged: no program could do anything with it."""
    for name, tensor in model.network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise RunError(f"the network's weights are no finite numbers ({name}): nothing is exported")


def example_inputs(data: DataDescription) -> Tensor:
    """Return two inputs of zeros, on which the graph is traced."""
    dtype = torch.float32 if data.kind == "images" else torch.int64
    return torch.zeros(2, *data.input_shape, dtype=dtype)


def _onnx(model: TrainedModel) -> bytes:
    return onnx_document(ExportedNetwork(model), example_inputs(model.data), model.data)


def _torchscript(model: TrainedModel) -> bytes:
    """Return a traced network. What torch warns of here, that it will drop TorchScript, `how_to_use` tells the user."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=".*torch.jit.*is (deprecated|not supported)")
        # Sizes become constants, as they may: all but the number of inputs, which is checked.
        # torch names this warning in no list of what it exports, and gives `trace` no types.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined] # not exported
        network = ExportedNetwork(model)
        traced = torch.jit.trace(network, example_inputs(model.data))  # type: ignore[no-untyped-call] # torch has no types
        _require_any_number(network, traced, example_inputs(model.data))
        # For whoever opens it without the run: torch.jit.load returns it in _extra_files.
        torch.jit.save(traced, buffer, _extra_files={"dataset.json": model.data.document()})
    return buffer.getvalue()


def _require_any_number(network: nn.Module, traced: nn.Module, example: Tensor) -> None:
    """Refuse a traced network that computes something else for other numbers of inputs than it was traced with."""
    for inputs in (example[:1], torch.cat([example, example[:1]])):
        try:
            same = torch.allclose(traced(inputs), network(inputs), atol=1e-4)
        except RuntimeError:
            same = False
        if not same:
            raise InputError(
                f"the network computes with {len(example)} inputs only once it is traced: use --format state-dict"
            )


def _state_dict(model: TrainedModel) -> bytes:
    return weights_document(model.network.state_dict(), model.description)


DOCUMENTS: Mapping[ExportFormat, Callable[[TrainedModel], bytes]] = {
    "onnx": _onnx,
    "torchscript": _torchscript,
    "state-dict": _state_dict,
}


def remarks(form: ExportFormat, config: TrainConfig) -> list[str]:
    """Return what a user should know of an exported file, a line each."""
    told = []
    if form == "torchscript":
        told.append("torch calls TorchScript deprecated: for new uses take --format onnx")
    if form != "state-dict" and config.precision != "fp32":
        told.append(f"the file computes in float32; the run was judged in {config.precision}, which rounds differently")
    return told


def how_to_use(path: Path, form: ExportFormat, data: DataDescription) -> list[str]:
    """Return three lines of Python that use an exported file."""
    where, inputs = repr(str(path)), data.kind
    match form:
        case "onnx":
            return [
                "import onnxruntime",
                f"session = onnxruntime.InferenceSession({where})",
                f'logits = session.run(None, {{"{inputs}": {inputs}}})[0]',
            ]
        case "torchscript":
            return ["import torch", f"network = torch.jit.load({where})", f"logits = network({inputs})"]
        case "state-dict":
            return [
                "from dtfl_private import load_model",
                f"model = load_model({where})  # model.network.load_state_dict takes the file's keys too",
                f"logits = model({inputs})",
            ]

"""A network as an ONNX document; needs the extra ``onnx``."""

import contextlib
import io
import json
import logging
from typing import Any

import torch
from torch import Tensor, nn

from dtfl_private.data.description import DataDescription
from dtfl_private.errors import InputError
from dtfl_private.models.frozen import frozen_bytes
from dtfl_private.printable import one_line

# Beyond it a document does not fit into one file.
LARGEST_ONNX_BYTES = 2**31 - 2**24


def onnx_document(network: nn.Module, example: Tensor, data: DataDescription) -> bytes:
    """Return the ONNX document of a network, with any number of inputs, and class names in its metadata.

    Args:
        network: in evaluation mode, on the CPU.
        example: two inputs.
        data: named in the metadata.

    Raises:
        InputError: the extra is not installed, or the network cannot be written so.
    """
    _require_packages()
    size = sum(tensor.nbytes for tensor in network.state_dict().values()) + frozen_bytes(network)
    if size > LARGEST_ONNX_BYTES:
        raise InputError(f"the network has {size / 2**30:.1f} GiB, an ONNX file 2 at most: use --format state-dict")
    inputs = "images" if data.kind == "images" else "tokens"
    document = _exported(network, example, inputs)
    _leave_no_traces(document)
    import onnx

    onnx.helper.set_model_props(document, _metadata(data))
    return bytes(document.SerializeToString(deterministic=True))


def _metadata(data: DataDescription) -> dict[str, str]:
    takes = "images in [0, 1]" if data.kind == "images" else "tokens"
    return {
        "classes": json.dumps(data.classes),
        "dataset": json.dumps(data.model_dump(mode="json")),
        "input": f"{takes} (N, {', '.join(map(str, data.input_shape))}); normalisation is in the graph",
        "output": "logits (N, classes), in the order of classes",
    }


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401 - whether it is there
        import onnxscript  # noqa: F401 - likewise: torch imports it in the midst of an export
    except ImportError:
        raise InputError(
            "export to ONNX needs the packages onnx and onnxscript: install the extra, pip install 'dtfl-private[onnx]'"
        ) from None


def _exported(network: nn.Module, example: Tensor, inputs: str) -> Any:
    """Return the model as torch's exporter makes it, without what it tells on standard output and in its log."""
    logger = logging.getLogger("torch.onnx")
    before, chatter = logger.level, io.StringIO()
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(chatter), torch.no_grad():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=[inputs],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except Exception as error:  # a user's network may do anything that the exporter cannot follow
        reason = one_line(str(error).partition("\n")[0])
        raise InputError(
            f"the network cannot be written as ONNX ({type(error).__name__}: {reason}): use --format torchscript"
        ) from None
    finally:
        logger.setLevel(before)
    assert program is not None
    return program.model_proto


def _leave_no_traces(document: Any) -> None:
    """Drop what the exporter notes on each node: lines of source with their paths on this machine."""
    for graph in (document.graph, *document.functions):
        del graph.metadata_props[:]
        for part in (*graph.node, *graph.value_info, *getattr(graph, "initializer", ())):
            part.ClearField("doc_string")
            if hasattr(part, "metadata_props"):
                del part.metadata_props[:]

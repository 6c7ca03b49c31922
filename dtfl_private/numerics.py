"""Where and how precisely tensors are computed: device, precision and memory format as one value.

torch is imported where it computes: the help of the command line takes the names from here without it.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp64"]
MemoryFormat = Literal["channels-last", "contiguous"]

M = TypeVar("M", bound="nn.Module")


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Device, precision and memory format of all tensor work of a run.

    ``bf16`` keeps weights, optimiser state and averages in float32 and computes layers under autocast;
    ``fp64`` is for oracles and equivalence tests.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    memory_format: MemoryFormat = "contiguous"

    @property
    def weight_dtype(self) -> "torch.dtype":
        """Type of weights, optimiser state and inputs."""
        import torch

        return torch.float64 if self.precision == "fp64" else torch.float32

    @property
    def wire_dtype(self) -> "torch.dtype":
        """Type in which smashed data leave a client."""
        import torch

        return torch.bfloat16 if self.precision == "bf16" else self.weight_dtype

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes run."""
        import torch

        if self.precision == "bf16":
            return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)
        return nullcontext()

    def place(self, module: M) -> M:
        """Move a module to the device, type and memory format, in place, and return it."""
        import torch

        module = module.to(device=self.device, dtype=self.weight_dtype)
        if self.memory_format == "channels-last":
            module = module.to(memory_format=torch.channels_last)
        return module

    def place_images(self, images: "Tensor") -> "Tensor":
        """Return a batch of inputs on the device: images in the weights' type and memory format, tokens as int64."""
        import torch

        if images.dtype == torch.int64:
            return images.to(device=self.device)
        channels_last = self.memory_format == "channels-last" and images.ndim == 4
        return images.to(
            device=self.device,
            dtype=self.weight_dtype,
            memory_format=torch.channels_last if channels_last else torch.contiguous_format,
        )


DeviceName = Literal["auto", "cpu", "cuda", "mps"]

"""Low-rank adapters in the blocks of a checkpoint's network (LoRA: Hu et al. 2022, arXiv 2106.09685), made by peft.

An adapted layer of `in` inputs and `out` outputs computes W x + (alpha / rank) B A x. W is frozen; A (rank, in) is
drawn at random, and B (out, rank) begins with zeros: before the first step the network computes what it did.

The only file that knows peft.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.pretrained.config_base import CheckpointConfig
from dtfl_private.models.pretrained.config_file import (
    BertConfig,
    DistilBertConfig,
    Gpt2Config,
    LlamaConfig,
    RobertaConfig,
)
from dtfl_private.models.pretrained.vit_config import VitConfig

Targets = Literal["attention", "linear"]
"""Which layers are adapted: what makes queries and values (of GPT-2 also keys: one layer makes all three), or all."""

ATTENTION: dict[type[CheckpointConfig], tuple[str, ...]] = {
    BertConfig: ("attention.self.query", "attention.self.value"),
    RobertaConfig: ("attention.self.query", "attention.self.value"),
    DistilBertConfig: ("attention.q_lin", "attention.v_lin"),
    Gpt2Config: ("attn.c_attn",),
    LlamaConfig: ("self_attn.q_proj", "self_attn.v_proj"),
    # As later versions of the library name them, and as earlier ones.
    VitConfig: ("attention.q_proj", "attention.v_proj", "attention.attention.query", "attention.attention.value"),
}
"""Names within a block."""


def add_adapters(
    blocks: Sequence[nn.Module], config: CheckpointConfig, *, rank: int, alpha: float, targets: Targets
) -> None:
    """Put adapters into blocks, in place; all else in them no longer wants a gradient.

    Args:
        blocks: of the network.
        config: says of what type they are.
        rank: of the adapters.
        alpha: their sum is scaled by alpha / rank.
        targets: the layers that get one.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError(
            'lora=RANK needs what is not installed (peft): pip install "dtfl-private[lora]"; lora=0 needs no adapters'
        ) from None
    names = ATTENTION[type(config)] if targets == "attention" else _linear(blocks[0])
    made = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(names),
        # GPT-2 keeps the weights of its layers transposed.
        fan_in_fan_out=isinstance(config, Gpt2Config),
    )
    inject_adapter_in_model(made, nn.ModuleList(blocks))


def _linear(block: nn.Module) -> list[str]:
    """Return the names of a block's fully connected layers."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's own kind

    return [name for name, part in block.named_modules() if isinstance(part, nn.Linear | Conv1D)]

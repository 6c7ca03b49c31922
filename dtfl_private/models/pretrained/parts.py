"""The parts of each type of network, of the library's own classes, and what the library calls their weights."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dtfl_private.errors import InputError
from dtfl_private.models.pretrained.blocks import MaskedBlock, TokenEmbedding
from dtfl_private.models.pretrained.config_base import CheckpointConfig
from dtfl_private.models.pretrained.config_file import (
    BertConfig,
    DistilBertConfig,
    Gpt2Config,
    LlamaConfig,
    RobertaConfig,
)
from dtfl_private.models.pretrained.image_blocks import OpenBlock, PatchEmbedding
from dtfl_private.models.pretrained.vit_config import VitConfig

# Pairs of a pattern in a name and what replaces it.
Renaming = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a network, each with the prefix of its weights' names in a checkpoint.

    look_up: from the embedding, tokens and positions to vectors; None: the embedding takes images as they are.
    first: the first position.
    rotary: makes what each block needs to turn positions; None where it needs nothing.
    renaming: from the names that weights have in the modules, behind their prefixes, to those in a checkpoint.
    """

    embedding: nn.Module
    blocks: Sequence[nn.Module]
    norm: nn.Module | None
    look_up: Callable[[Any, Tensor, Tensor], Tensor] | None
    embedding_prefix: str
    block_prefix: str
    norm_prefix: str = ""
    first: int = 0
    rotary: Callable[[], nn.Module] | None = None
    renaming: Renaming = ()

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors of the network without a classifier, by their names in a checkpoint."""
        return dict(self._weights())

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        named = [(self.embedding_prefix, self.embedding)]
        named += [(f"{self.block_prefix}{number}.", block) for number, block in enumerate(self.blocks)]
        named += [] if self.norm is None else [(self.norm_prefix, self.norm)]
        for prefix, part in named:
            yield from ((prefix + self._stored(name), tensor) for name, tensor in part.state_dict().items())

    def _stored(self, name: str) -> str:
        for pattern, replacement in self.renaming:
            name = re.sub(pattern, replacement, name)
        return name

    def stages(self, top: nn.Module, *, padding: int | None, causal: bool) -> list[nn.Module]:
        """Return the embedding, the blocks, and ``top``, which makes logits of the last one's tokens."""
        if self.look_up is None:
            return [self.embedding, *map(OpenBlock, self.blocks), top]
        return [
            TokenEmbedding(self.embedding, self.look_up, padding, self.first),
            *(
                MaskedBlock(block, causal=causal, rotary=None if self.rotary is None else self.rotary())
                for block in self.blocks
            ),
            top,
        ]


def make_parts(config: CheckpointConfig) -> Parts:
    """Return the parts of a network, with weights that do not matter yet, on torch's default device.

    Raises:
        InputError: the library is not installed.
    """
    try:
        import transformers  # noqa: F401 - whether it is there
    except ImportError:
        raise InputError(
            "a network from a checkpoint needs what is not installed (transformers): "
            'pip install "dtfl-private[transformers]"'
        ) from None
    return MAKERS[type(config)](config)


def _settings(config: CheckpointConfig) -> dict[str, Any]:
    # Plain matrix products: the fused kernels have no second derivative and hide their work from the counter.
    return {**config.library_settings(), "attn_implementation": "eager"}


def _by_position(embedding: Any, tokens: Tensor, positions: Tensor) -> Tensor:
    embedded: Tensor = embedding(input_ids=tokens, position_ids=positions)
    return embedded


def _by_token(embedding: Any, tokens: Tensor, _: Tensor) -> Tensor:
    embedded: Tensor = embedding(tokens)
    return embedded


def _bert(config: CheckpointConfig) -> Parts:
    from transformers.models.bert import configuration_bert, modeling_bert

    made = configuration_bert.BertConfig(**_settings(config))
    return Parts(
        embedding=modeling_bert.BertEmbeddings(made),
        blocks=[modeling_bert.BertLayer(made, layer_idx=number) for number in range(config.layers)],
        norm=None,
        look_up=_by_position,
        embedding_prefix="embeddings.",
        block_prefix="encoder.layer.",
    )


def _roberta(config: CheckpointConfig) -> Parts:
    from transformers.models.roberta import configuration_roberta, modeling_roberta

    assert isinstance(config, RobertaConfig)
    made = configuration_roberta.RobertaConfig(**_settings(config))
    return Parts(
        embedding=modeling_roberta.RobertaEmbeddings(made),
        blocks=[modeling_roberta.RobertaLayer(made, layer_idx=number) for number in range(config.layers)],
        norm=None,
        look_up=_by_position,
        embedding_prefix="embeddings.",
        block_prefix="encoder.layer.",
        first=config.pad_token_id + 1,
    )


def _distilbert(config: CheckpointConfig) -> Parts:
    from transformers.models.distilbert import configuration_distilbert, modeling_distilbert

    made = configuration_distilbert.DistilBertConfig(**_settings(config))
    return Parts(
        embedding=modeling_distilbert.Embeddings(made),
        blocks=[modeling_distilbert.TransformerBlock(made) for _ in range(config.layers)],
        norm=None,
        look_up=_by_position,
        embedding_prefix="embeddings.",
        block_prefix="transformer.layer.",
    )


class _Gpt2Embedding(nn.Module):
    """What GPT2Model does before its blocks, under its names."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        embedded: Tensor = self.drop(self.wte(input_ids) + self.wpe(position_ids))
        return embedded


def _gpt2(config: CheckpointConfig) -> Parts:
    from transformers.models.gpt2 import configuration_gpt2, modeling_gpt2

    made = configuration_gpt2.GPT2Config(**_settings(config))
    return Parts(
        embedding=_Gpt2Embedding(made),
        blocks=[modeling_gpt2.GPT2Block(made, layer_idx=number) for number in range(config.layers)],
        norm=nn.LayerNorm(made.n_embd, eps=made.layer_norm_epsilon),
        look_up=_by_position,
        embedding_prefix="",
        block_prefix="h.",
        norm_prefix="ln_f.",
    )


def _llama(config: CheckpointConfig) -> Parts:
    from transformers.models.llama import configuration_llama, modeling_llama

    made = configuration_llama.LlamaConfig(**_settings(config))
    return Parts(
        embedding=nn.Embedding(made.vocab_size, made.hidden_size),
        blocks=[modeling_llama.LlamaDecoderLayer(made, number) for number in range(config.layers)],
        norm=modeling_llama.LlamaRMSNorm(made.hidden_size, eps=made.rms_norm_eps),
        look_up=_by_token,
        embedding_prefix="embed_tokens.",
        block_prefix="layers.",
        norm_prefix="norm.",
        rotary=lambda: modeling_llama.LlamaRotaryEmbedding(made),
    )


# From names in memory, of the library's later versions, to those in checkpoints, which all versions write.
VIT_NAMES = (
    (r"^patches\.", "patch_embeddings.projection."),
    (r"^first\.weight$", "cls_token"),
    (r"^places\.weight$", "position_embeddings"),
    (r"^attention\.q_proj\.", "attention.attention.query."),
    (r"^attention\.k_proj\.", "attention.attention.key."),
    (r"^attention\.v_proj\.", "attention.attention.value."),
    (r"^attention\.o_proj\.", "attention.output.dense."),
    (r"^mlp\.fc1\.", "intermediate.dense."),
    (r"^mlp\.fc2\.", "output.dense."),
)


def _vit(config: CheckpointConfig) -> Parts:
    from transformers.models.vit import configuration_vit, modeling_vit

    assert isinstance(config, VitConfig)
    made = configuration_vit.ViTConfig(**_settings(config))
    return Parts(
        embedding=PatchEmbedding(config),
        blocks=[modeling_vit.ViTLayer(made) for _ in range(config.layers)],
        norm=nn.LayerNorm(config.width, eps=config.layer_norm_eps),
        look_up=None,
        embedding_prefix="embeddings.",
        block_prefix="encoder.layer.",
        norm_prefix="layernorm.",
        renaming=VIT_NAMES,
    )


MAKERS: dict[type[CheckpointConfig], Callable[[CheckpointConfig], Parts]] = {
    BertConfig: _bert,
    RobertaConfig: _roberta,
    DistilBertConfig: _distilbert,
    Gpt2Config: _gpt2,
    LlamaConfig: _llama,
    VitConfig: _vit,
}

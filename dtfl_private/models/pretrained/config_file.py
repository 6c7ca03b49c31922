"""config.json of a checkpoint: what it says of the network, each value within bounds, and nothing of it believed yet.

The file may come from anybody. Keys that do not change what the network computes are ignored; those that would ask for
another network than ours are refused. No code is named in it that would be run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.models.pretrained.config_base import (
    Activation,
    CheckpointConfig,
    DecoderConfig,
    Epsilon,
    Factor,
    Heads,
    Inner,
    Layers,
    Positions,
    Rate,
    TextConfig,
    Width,
)
from dtfl_private.models.pretrained.vit_config import VitConfig
from dtfl_private.printable import one_line, shown_value

FILE = "config.json"
LARGEST_CONFIG_BYTES = 2**20


class BertConfig(TextConfig):
    """BERT: an encoder with learnt positions and norms behind attention and MLP."""

    PREFIX: ClassVar[str] = "bert."

    hidden_size: Width = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: Heads = 12
    intermediate_size: Inner = 3072
    hidden_act: Activation = "gelu"
    hidden_dropout_prob: Rate = 0.1
    attention_probs_dropout_prob: Rate = 0.1
    max_position_embeddings: Positions = 512
    type_vocab_size: Annotated[int, Field(ge=1, le=1024)] = 2
    layer_norm_eps: Epsilon = 1e-12
    is_decoder: Literal[False] = False
    add_cross_attention: Literal[False] = False
    position_embedding_type: Literal["absolute"] | None = "absolute"

    def library_settings(self) -> dict[str, Any]:
        """Return the arguments of the library's own class."""
        return self.model_dump(exclude={"position_embedding_type"}) | {"pad_token_id": None}


class RobertaConfig(BertConfig):
    """RoBERTa: BERT whose positions begin behind the number of its padding token."""

    PREFIX: ClassVar[str] = "roberta."

    pad_token_id: Annotated[int, Field(ge=0, le=1024)] = 1

    @property
    def positions(self) -> int:
        """Tokens of the longest sequence."""
        return self.max_position_embeddings - self.pad_token_id - 1

    def library_settings(self) -> dict[str, Any]:
        """Return the arguments of the library's own class."""
        return self.model_dump(exclude={"position_embedding_type"})

    @model_validator(mode="after")
    def _some_positions(self) -> "RobertaConfig":
        if self.positions < 1 or self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} leaves no positions, or is none of the tokens")
        return self


class DistilBertConfig(TextConfig):
    """DistilBERT: BERT without types of tokens, under other names."""

    PREFIX: ClassVar[str] = "distilbert."
    FIELDS: ClassVar[Mapping[str, str]] = {
        "layers": "n_layers",
        "width": "dim",
        "heads": "n_heads",
        "positions": "max_position_embeddings",
    }

    dim: Width = 768
    n_layers: Layers = 6
    n_heads: Heads = 12
    hidden_dim: Inner = 3072
    activation: Activation = "gelu"
    dropout: Rate = 0.1
    attention_dropout: Rate = 0.1
    max_position_embeddings: Positions = 512

    def library_settings(self) -> dict[str, Any]:
        """Return the arguments of the library's own class."""
        return self.model_dump() | {"pad_token_id": None}


class Gpt2Config(DecoderConfig):
    """GPT-2: a decoder with learnt positions and norms before attention and MLP."""

    PREFIX: ClassVar[str] = "transformer."
    EMBEDDING: ClassVar[str] = "wte.weight"
    FIELDS: ClassVar[Mapping[str, str]] = {
        "layers": "n_layer",
        "width": "n_embd",
        "heads": "n_head",
        "positions": "n_positions",
    }

    n_embd: Width = 768
    n_layer: Layers = 12
    n_head: Heads = 12
    n_positions: Positions = 1024
    n_inner: Inner | None = None
    activation_function: Activation = "gelu_new"
    resid_pdrop: Rate = 0.1
    embd_pdrop: Rate = 0.1
    attn_pdrop: Rate = 0.1
    layer_norm_epsilon: Epsilon = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: Literal[False] = False
    add_cross_attention: Literal[False] = False

    def library_settings(self) -> dict[str, Any]:
        """Return the arguments of the library's own class; its own numbers of special tokens may be no tokens here."""
        return self.model_dump() | {"bos_token_id": None, "eos_token_id": None}


# Without which the library refuses, by an error of its own.
ROPE_NEEDS = {"linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor")}


class RopeParameters(BaseModel):
    """How rotary positions turn: plain, or slowed down for long sequences."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    rope_type: Literal["default", "linear", "llama3"] = "default"
    rope_theta: Factor = 10_000.0
    factor: Factor | None = None
    low_freq_factor: Factor | None = None
    high_freq_factor: Factor | None = None
    original_max_position_embeddings: Positions | None = None
    # The library's other kinds turn a part of a head's values only; ours turn all.
    partial_rotary_factor: Annotated[float, Field(ge=1, le=1)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "RopeParameters":
        missing = [name for name in ROPE_NEEDS.get(self.rope_type, ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"rope_type {self.rope_type} needs {', '.join(missing)}")
        return self


class LlamaConfig(DecoderConfig):
    """Llama: a decoder with rotary positions, RMS norms, a gated MLP, and keys that heads may share."""

    PREFIX: ClassVar[str] = "model."
    EMBEDDING: ClassVar[str] = "embed_tokens.weight"

    hidden_size: Width = 4096
    num_hidden_layers: Layers = 32
    num_attention_heads: Heads = 32
    num_key_value_heads: Heads | None = None
    head_dim: Annotated[int, Field(ge=2, le=2**15, multiple_of=2)] | None = None
    intermediate_size: Inner = 11_008
    hidden_act: Activation = "silu"
    max_position_embeddings: Positions = 2048
    rms_norm_eps: Epsilon = 1e-6
    attention_bias: bool = False
    attention_dropout: Rate = 0.0
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    rope_parameters: RopeParameters = RopeParameters()

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, data: Any) -> Any:
        """Read how files of earlier versions of the library say how positions turn."""
        if not isinstance(data, dict):
            return data
        said = data.get("rope_parameters") or data.get("rope_scaling") or {}
        if not isinstance(said, dict):
            raise ValueError("rope_parameters is no object")
        earlier = {"rope_theta": data.get("rope_theta", 10_000.0), "rope_type": said.get("type", "default")}
        return {**data, "rope_parameters": RopeParameters.model_validate({**earlier, **said})}

    def library_settings(self) -> dict[str, Any]:
        """Return the arguments of the library's own class."""
        rope = self.rope_parameters.model_dump(exclude_none=True)
        return self.model_dump(exclude={"rope_parameters"}) | {"rope_parameters": rope}

    @model_validator(mode="after")
    def _keys_divide(self) -> "LlamaConfig":
        if self.num_attention_heads % (self.num_key_value_heads or 1):
            raise ValueError(f"{self.num_key_value_heads} heads of keys do not divide {self.num_attention_heads}")
        if self.head_dim is None and (self.hidden_size // self.num_attention_heads) % 2:
            raise ValueError("rotary positions need heads of an even width")
        return self


TYPES: dict[str, type[CheckpointConfig]] = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "distilbert": DistilBertConfig,
    "gpt2": Gpt2Config,
    "llama": LlamaConfig,
    "vit": VitConfig,
}
"""By ``model_type``: nothing else names a class."""


def read_config(folder: Path) -> CheckpointConfig:
    """Return what a checkpoint's config.json says of the network.

    Raises:
        InputError: there is none, it is damaged, of a type that is not known, or beyond the bounds.
    """
    path = folder / FILE
    try:
        found = reading.read_json(path, most_bytes=LARGEST_CONFIG_BYTES)
    except FileNotFoundError:
        raise InputError(
            f"there is no {path}: name a folder in the Hugging Face layout, with config.json and model.safetensors"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reading.reason(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, expected an object")
    if "auto_map" in found:
        raise InputError(f"{path} names code of its own (auto_map), which is never run: use one of {', '.join(TYPES)}")
    kind = found.get("model_type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise InputError(f"{path}: model_type {shown_value(kind)} is not known, expected one of {', '.join(TYPES)}")
    try:
        return TYPES[kind].model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {one_line(f'{where}: {reason}' if where else reason)}") from None

"""config.json of a Vision Transformer."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from dtfl_private.models.pretrained.config_base import (
    Activation,
    CheckpointConfig,
    Epsilon,
    Heads,
    Inner,
    Layers,
    Rate,
    Width,
)

Side = Annotated[int, Field(ge=1, le=4096)]

MOST_PATCHES = 2**16


class VitConfig(CheckpointConfig):
    """ViT: an encoder over square patches of square images and a class token, with norms before attention and MLP."""

    PREFIX: ClassVar[str] = "vit."

    hidden_size: Width = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: Heads = 12
    intermediate_size: Inner = 3072
    hidden_act: Activation = "gelu"
    hidden_dropout_prob: Rate = 0.0
    attention_probs_dropout_prob: Rate = 0.0
    layer_norm_eps: Epsilon = 1e-12
    image_size: Side = 224
    patch_size: Side = 16
    num_channels: Annotated[int, Field(ge=1, le=1024)] = 3
    qkv_bias: bool = True

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The one shape of images that it takes: (channels, height, width)."""
        return self.num_channels, self.image_size, self.image_size

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @model_validator(mode="after")
    def _patches_divide(self) -> "VitConfig":
        if self.image_size % self.patch_size:
            raise ValueError(f"patches of {self.patch_size} do not divide images of {self.image_size}")
        if self.patches > MOST_PATCHES:
            raise ValueError(f"{self.patches:,} patches, expected {MOST_PATCHES:,} at most")
        return self

"""Vision Transformer and token Transformers: sizes and MACs against closed formulas."""

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.build import LARGE, build_description, build_model
from dtfl_private.models.cutting.staged import StagedModel, cut_shapes
from dtfl_private.models.heads import PooledClassifier
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.network_operators import network_operators
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.costs.tier_work import HeldParts, step_optimizer, tier_work


@dataclass(frozen=True)
class Size:
    """A size to plan with; tokens: of the longest sequence; inner: of a gated MLP, as Llama has it."""

    blocks: int
    width: int
    heads: int
    tokens: int
    vocabulary: int
    inner: int = 0

    def block_macs(self, tokens: int) -> int:
        """Forward: queries, keys, values, output; scores and weighted sums; MLP of factor 4, or three layers."""
        mlp = 3 * self.inner if self.inner else 8 * self.width
        return 4 * tokens * self.width**2 + 2 * tokens**2 * self.width + tokens * self.width * mlp

    @property
    def block_params(self) -> int:
        if self.inner:
            return 4 * self.width**2 + 3 * self.width * self.inner + 2 * self.width
        return 12 * self.width**2 + 13 * self.width

    @property
    def embedding_params(self) -> int:
        return (self.vocabulary + (0 if self.inner else self.tokens)) * self.width

    @property
    def norm_params(self) -> int:
        return self.width if self.inner else 2 * self.width

    def kept_bytes(self, blocks: int, causal: bool, batch: int) -> float:
        """What so many blocks, the embedding before them and the head behind them keep for the backward pass.

        In fp32, in units of n x d: the input of each block, inputs of both norms and of four layers, queries, keys,
        values, GELU's input and output (4 each), masks of dropout (2); attention weights before and behind dropout and
        its mask; mean and deviation of both norms. Of Llama (no dropout): inputs of norms normed and not, gate, SiLU,
        product and the other layer. Which places are padding, twice, in
        bytes. Of the head: the mean, and over how many places it is.
        """
        n, d = self.tokens, self.width
        if self.inner:
            block = 4 * (10 * n * d + 4 * n * self.inner + self.heads * n**2 + 2 * n) + 2 * n
            rotary, embedding = 4 * 4 * n * (d // self.heads // 2), 0
        else:
            block, rotary, embedding = 4 * (18 * n * d + 3 * self.heads * n**2 + 4 * n) + 2 * n, 0, 4 * n * d
        shared = blocks * (rotary + (n**2 if causal else 0))
        return batch * (8 * n + embedding + blocks * block + 4 * d + 4) + shared


HUGE = {
    "bert-base": Size(12, 768, 12, 512, 30_522),
    "bert-large": Size(24, 1024, 16, 512, 30_522),
    "gpt2-xl": Size(48, 1600, 25, 1024, 50_257),
    "llama-7b": Size(32, 4096, 32, 2048, 32_000, 11_008),
}
CLASSES = 10
ADAM = step_optimizer("adam", 0.0)


def describe(text: str, *shape: int) -> StagedModel:
    return build_description(text, input_shape=shape, classes=CLASSES, norm="batch", seed=0)


@cache
def huge(name: str, cuts: str = "all", tokens: int | None = None) -> StagedModel:
    return describe(f"{name}:cuts={cuts}", tokens or HUGE[name].tokens)


@cache
def huge_table(name: str, tokens: int | None = None) -> TierTable:
    return analyse(huge(name, tokens=tokens), (tokens or HUGE[name].tokens,), CLASSES, Numerics())


@pytest.mark.parametrize("name", sorted(HUGE))
def test_forward_macs_and_parameters_are_the_closed_form_in_every_tier(name):
    size = HUGE[name]
    tokens, width = size.tokens, size.width
    table = huge_table(name)
    assert table.tiers_M.tolist() == list(range(1, size.blocks + 2))
    head = width * CLASSES + CLASSES
    for row in table.rows:
        assert row.cut_shape == (tokens, width)
        assert row.client_forward_macs == (row.tier - 1) * size.block_macs(tokens)
        assert row.client_params == size.embedding_params + (row.tier - 1) * size.block_params
        assert row.head_params == head
        assert row.smashed_bytes == 4 * tokens * width
        assert row.weight_bytes == 4 * (row.client_params + head)
        whole = size.embedding_params + size.blocks * size.block_params + size.norm_params + head
        assert row.client_params + row.server_params == whole
    assert table.forward_macs == size.blocks * size.block_macs(tokens) + width * CLASSES


@pytest.mark.parametrize("name", sorted(HUGE))
def test_training_takes_three_times_the_forward_macs(name):
    size = HUGE[name]
    classifier, one = size.width * CLASSES, size.block_macs(size.tokens)
    for row in huge_table(name).rows:
        below, above = row.tier - 1, size.blocks + 1 - row.tier
        assert row.client_train_macs == 3 * (below * one + classifier)
        assert row.server_train_macs == 3 * (above * one + classifier)


@pytest.mark.parametrize("name", sorted(HUGE))
def test_the_memory_of_a_client_is_the_closed_form_in_every_tier(name):
    size, batch = HUGE[name], 4
    network = network_operators(huge(name), (size.tokens,), CLASSES, Numerics())
    for row in huge_table(name).rows:
        need = tier_work(network, HeldParts(first=row.tier, head=True), row.tier, ADAM, batch).need
        weights = 4 * (row.client_params + row.head_params)
        assert (need.weights, need.gradients, need.optimizer) == (weights, weights, 2 * weights)
        causal = name in ("gpt2-xl", "llama-7b")
        assert need.activations == pytest.approx(size.kept_bytes(row.tier - 1, causal, batch), rel=1e-12)


def test_the_trunks_have_as_many_parameters_as_the_published_networks():
    # GPT-2 XL: 1,557,611,200. Llama-7B: 6,738,415,616 with 32,000 outputs. BERT-base and -large with pooler (d^2 + d)
    # and two segment vectors (2 d): 109,482,240 and 335,141,888. This classifier has none of these.
    bert, llama = (lambda width: width**2 + 3 * width), (lambda width: 32_000 * width)
    published = {"gpt2-xl": (1_557_611_200, 0), "llama-7b": (6_738_415_616, llama(4096))}
    published |= {"bert-base": (109_482_240, bert(768)), "bert-large": (335_141_888, bert(1024))}
    for name, size in HUGE.items():
        width, trunk = size.width, published[name][0] - published[name][1]
        model = huge(name)
        assert sum(parameter.numel() for parameter in model.parameters()) == trunk + width * CLASSES + CLASSES


def test_a_shorter_sequence_costs_less_and_a_longer_than_there_are_places_is_refused():
    assert huge_table("bert-base", tokens=128).forward_macs == 12 * HUGE["bert-base"].block_macs(128) + 768 * CLASSES
    with pytest.raises(InputError, match="513 tokens are more than the 512 that this network has places for"):
        describe("bert-base", 513)
    with pytest.raises(InputError, match="2049 tokens are more than the 2048 that this network has places for"):
        describe("llama-7b", 2049)
    with pytest.raises(InputError, match="have 32,001 kinds of tokens, this network has vectors for 32,000"):
        build_description(
            "llama-7b",
            input_shape=(8,),
            classes=2,
            norm="batch",
            seed=0,
            tokens=Vocabulary(size=32_001, padding=0, tokenizer=None),
        )


def test_large_networks_are_described_without_weights_and_others_are_built():
    model = describe("bert-base:cuts=all", 64)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) >= LARGE
    assert not any(parameter.is_meta for parameter in describe("transformer", 16).parameters())


@pytest.mark.parametrize(
    ("text", "shape", "norm"),
    [
        ("resnet-8", (3, 16, 16), "batch"),
        ("vgg-11", (1, 8, 8), "group"),
        ("vit:depth=2", (1, 16, 16), "batch"),
        ("transformer:depth=2", (16,), "batch"),
    ],
)
def test_the_table_of_a_description_is_the_table_of_the_network(text, shape, norm):
    built = build_model(text, input_shape=shape, classes=4, norm=norm, seed=0)
    with torch.device("meta"):
        described = build_model(text, input_shape=shape, classes=4, norm=norm, seed=0)
    assert all(parameter.is_meta for parameter in described.parameters())
    assert analyse(described, shape, 4, Numerics()) == analyse(built, shape, 4, Numerics())


def test_the_vit_s_macs_are_the_closed_form():
    # 28x28 in patches of 4: 49 tokens and the class token; MLP of factor 2; the classifier reads the class token only.
    patches, width, blocks = 49, 96, 3
    tokens = patches + 1
    one = 4 * tokens * width**2 + 2 * tokens**2 * width + 4 * tokens * width**2
    model = build_model("vit:depth=3,cuts=all", input_shape=(1, 28, 28), classes=CLASSES, norm="batch", seed=0)
    table = analyse(model, (1, 28, 28), CLASSES, Numerics())
    assert table.forward_macs == patches * 16 * width + blocks * one + width * CLASSES
    assert len(model.tiers) == blocks + 1
    assert {row.cut_shape for row in table.rows} == {(tokens, width)}
    assert [row.client_forward_macs for row in table.rows] == [
        patches * 16 * width + block * one for block in range(blocks + 1)
    ]


def test_fused_attention_of_a_user_s_network_is_counted_on_the_cpu_as_on_the_meta_device():
    tokens, width = 6, 8
    layer = nn.TransformerEncoderLayer(width, 2, dim_feedforward=16, batch_first=True, dropout=0.0)
    model = StagedModel([("block", layer), ("top", PooledClassifier(width, 3))])
    table = analyse(model, (tokens, width), 3, Numerics())
    attention = 4 * tokens * width**2 + 2 * tokens**2 * width
    assert table.rows[0].client_forward_macs == attention + 2 * tokens * width * 16


@pytest.mark.parametrize("text", ["transformer:depth=12", "transformer:cuts=2", "transformer:depth=9,task=next-token"])
def test_md1_of_the_small_one_is_its_embedding_however_many_blocks_there_are(text):
    model = build_model(text, input_shape=(5,), classes=3, norm="batch", seed=0)
    assert type(model[0]).__name__ == "Embedding"
    assert len(model.tiers) == (2 if "cuts" in text else 7)


def test_tokens_are_embedded_with_their_places():
    model = build_model("transformer:dropout=0", input_shape=(5,), classes=3, norm="batch", seed=0).eval()
    tokens = torch.tensor([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    assert cut_shapes(model, tokens) == [(5, 48)] * 5 + [(3,)]
    embedded = model[0](tokens)
    torch.testing.assert_close(embedded[0, 0] - embedded[1, 4], model[0].places.weight[0] - model[0].places.weight[4])
    assert not torch.allclose(model(tokens)[0], model(tokens)[1])


def test_a_decoder_s_token_does_not_see_those_after_it():
    from dtfl_private.models.transformer import Block

    torch.manual_seed(0)
    block = Block(8, 2, 0.0, causal=True)
    tokens = torch.randn(1, 4, 8)
    changed = tokens.clone()
    changed[:, 2:] += 1
    assert torch.equal(block(tokens)[:, :2], block(changed)[:, :2])


@pytest.mark.parametrize(
    ("text", "shape", "said"),
    [
        ("vit", (3, 16, 20), "vit takes square images whose side the patch divides, not 16x20 with patch=4"),
        ("vit:patch=5", (3, 16, 16), "not 16x16 with patch=5: set vit:patch=P"),
        ("vit:heads=5", (3, 16, 16), "heads=5 does not divide width=96"),
        ("vit", (3, 4, 4), "images of 4x4 are too small: at least 8x8"),
        ("vit", (16,), r"takes images \(channels, height, width\), not inputs of shape \(16,\)"),
        ("transformer", (3, 8, 8), r"takes sequences of tokens \(length,\), not inputs of shape \(3, 8, 8\)"),
        ("transformer:width=0", (8,), "width=0 is refused"),
        ("transformer:cuts=9", (8,), "9 cuts are not possible: this network has 5 places"),
        ("transformer:cuts=some", (8,), "cuts=some is refused"),
    ],
)
def test_what_cannot_be_built_is_refused(text, shape, said):
    with pytest.raises(InputError, match=said):
        build_model(text, input_shape=shape, classes=4, norm="batch", seed=0)

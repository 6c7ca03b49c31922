"""The blocks of Llama's size against the library's own, and its positions against complex numbers."""

import torch
from transformers.models.llama import configuration_llama, modeling_llama

from dtfl_private.models.attention import turned
from dtfl_private.models.llama import EPSILON, llama_stages

LENGTH, WIDTH, HEADS, INNER = 5, 12, 3, 20


def test_places_turn_pairs_of_values_as_complex_numbers():
    values = torch.randn(2, HEADS, LENGTH, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = torch.complex(values[..., :4], values[..., 4:])
    for place in range(LENGTH):
        for one in range(4):
            angle = torch.tensor(place * 10_000.0 ** (-2 * one / 8), dtype=torch.float64)
            expected = pairs[:, :, place, one] * torch.polar(torch.ones_like(angle), angle)
            found = turned(values)[:, :, place]
            torch.testing.assert_close(
                torch.complex(found[..., one], found[..., one + 4]), expected, rtol=1e-5, atol=1e-6
            )


def test_a_block_is_the_library_s():
    torch.manual_seed(0)
    block = llama_stages(vocabulary=30, padding=None, depth=1, width=WIDTH, heads=HEADS, inner=INNER, classes=2)[1]
    for weights in block.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    config = configuration_llama.LlamaConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        intermediate_size=INNER,
        rms_norm_eps=EPSILON,
        attn_implementation="eager",
    )
    theirs = modeling_llama.LlamaDecoderLayer(config, 0)
    query, key, value = block.attention.qkv.weight.chunk(3)
    weights = {f"self_attn.{name}_proj.weight": part for name, part in zip("qkv", (query, key, value), strict=True)}
    weights |= {f"mlp.{name}_proj.weight": getattr(block.mlp, name).weight for name in ("gate", "up", "down")}
    weights |= {"self_attn.o_proj.weight": block.attention.out.weight}
    weights |= {"input_layernorm.weight": block.norm1.weight, "post_attention_layernorm.weight": block.norm2.weight}
    theirs.load_state_dict(weights)
    tokens = torch.randn(2, LENGTH, WIDTH)
    turning = modeling_llama.LlamaRotaryEmbedding(config)(tokens, torch.arange(LENGTH)[None])
    mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)[None, None]
    expected = theirs(tokens, attention_mask=mask, position_embeddings=turning)
    torch.testing.assert_close(block(tokens), expected[0] if isinstance(expected, tuple) else expected)


def test_padding_stays_zero_and_changes_nothing_before_it():
    torch.manual_seed(0)
    stages = llama_stages(vocabulary=9, padding=9, depth=2, width=WIDTH, heads=HEADS, inner=INNER, classes=3)
    tokens = torch.tensor([[1, 2, 3, 9, 9], [4, 5, 6, 7, 8]])
    values, short = tokens, tokens[:1, :3]
    for stage in stages[:-1]:
        values, short = stage(values), stage(short)
    assert not values[0, 3:].any()
    torch.testing.assert_close(values[0, :3], short[0])
    torch.testing.assert_close(stages[-1](values)[0], stages[-1](short)[0])

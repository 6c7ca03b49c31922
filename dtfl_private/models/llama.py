"""A decoder of the size of Llama-7B, to plan with.

Rotary places, RMS norms, a gated MLP, no biases. With n tokens of width d and an MLP of f features, one block takes,
forward,

    4 n d^2      queries, keys, values and output
    2 n^2 d      scores and weighted sums (the causal mask saves nothing)
    3 n d f      the gated MLP

MACs and has 4 d^2 + 3 d f + 2 d parameters; looking up embeddings takes none.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.models.attention import Attention
from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel, numbered
from dtfl_private.models.input_kinds import network
from dtfl_private.models.low_rank import adapt
from dtfl_private.models.norms import Norm
from dtfl_private.models.padding import kept, real_places
from dtfl_private.models.setting_types import Rank
from dtfl_private.models.transformer import NormedClassifier
from dtfl_private.protocol.vocabulary import Vocabulary

VOCABULARY, PLACES, DEPTH, WIDTH, HEADS, INNER, EPSILON = 32_000, 2048, 32, 4096, 32, 11_008, 1e-6


class TokenVectors(nn.Module):
    """Learnt vectors for tokens: (batch, length) int64 to (batch, length, width); zeros where there is padding."""

    def __init__(self, vocabulary: int, width: int, padding: int | None) -> None:
        super().__init__()
        self.padding = padding
        self.tokens = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return (batch, length, width); padding is never looked up."""
        real = None if self.padding is None else tokens_BT != self.padding
        known = tokens_BT if real is None else tokens_BT.masked_fill(~real, 0)
        return kept(self.tokens(known), real)


class GatedMlp(nn.Module):
    """Two layers side by side, one through SiLU and multiplied with the other, and a third (Shazeer 2020)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        lowered: Tensor = self.down(F.silu(self.gate(tokens_BTC)) * self.up(tokens_BTC))
        return lowered


class GatedBlock(nn.Module):
    """Causal attention and gated MLP, each on normed tokens and added to its input; what is padding stays zero."""

    def __init__(self, width: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(width, eps=epsilon)
        self.attention = Attention(width, heads, causal=True, rotary=True)
        self.norm2 = nn.RMSNorm(width, eps=epsilon)
        self.mlp = GatedMlp(width, inner)

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        real = real_places(tokens_BTC)
        attended, _ = self.attention(self.norm1(tokens_BTC), real=real)
        hidden = tokens_BTC + attended
        return kept(hidden + self.mlp(self.norm2(hidden)), real)


def llama_stages(
    *, vocabulary: int, padding: int | None, depth: int, width: int, heads: int, inner: int, classes: int
) -> list[nn.Module]:
    """Return the embedding, the blocks, and what makes logits of the last one's tokens."""
    return [
        TokenVectors(vocabulary, width, padding),
        *(GatedBlock(width, heads, inner, EPSILON) for _ in range(depth)),
        NormedClassifier(width, classes, nn.RMSNorm(width, eps=EPSILON)),
    ]


@network(source="Touvron et al. 2023, arXiv 2302.13971", kind="tokens", smallest=1, example=(512,))
def llama_7b(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; Llama has RMS norms
    tokens: Vocabulary | None = None,
    cuts: Cuts = "auto",
    lora: Rank | None = None,
) -> StagedModel:
    """Llama-7B-sized decoder, for profile and plan: 32 causal blocks of width 4,096, 32,000 tokens, 2,048 places."""
    if input_shape[0] > PLACES:
        raise InputError(f"{input_shape[0]} tokens are more than the {PLACES} that this network has places for")
    if tokens is not None and tokens.size > VOCABULARY:
        raise InputError(f"the data have {tokens.size:,} kinds of tokens, this network has vectors for {VOCABULARY:,}")
    stages = llama_stages(
        vocabulary=VOCABULARY,
        padding=None if tokens is None else tokens.padding,
        depth=DEPTH,
        width=WIDTH,
        heads=HEADS,
        inner=INNER,
        classes=classes,
    )
    return adapt(cut_automatically(numbered(stages), input_shape, cuts), lora)

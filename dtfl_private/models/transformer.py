"""Transformers for sequences of tokens: a small one to train, and the sizes of BERT and GPT-2 to plan with.

Pre-norm blocks (Xiong et al. 2020, arXiv 2002.04745). The classifier averages the normed tokens. With n tokens of
width d, one block takes, forward,

    4 n d^2      queries, keys, values and output
    2 n^2 d      scores and weighted sums (the causal mask saves nothing: both products are computed in full)
    8 n d^2      MLP of factor 4

MACs and has 12 d^2 + 13 d parameters; looking up embeddings takes none.
"""

import torch
from torch import Tensor, nn

from dtfl_private.errors import InputError
from dtfl_private.models.attention import Attention
from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel, as_language_model, numbered
from dtfl_private.models.heads import PooledClassifier
from dtfl_private.models.input_kinds import network
from dtfl_private.models.low_rank import adapt
from dtfl_private.models.next_token import LanguageHead, small_weights
from dtfl_private.models.norms import Norm
from dtfl_private.models.padding import kept, real_places
from dtfl_private.models.setting_types import Rank, Rate, Task, Width
from dtfl_private.protocol.vocabulary import BYTES, Vocabulary

MLP_FACTOR = 4


class Places(nn.Module):
    """Learnt vectors for places, added to tokens; a module of its own, as per-sample gradients need it."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        return tokens_BTC + self.weight[: tokens_BTC.shape[1]]


class Embedding(nn.Module):
    """Learnt vectors for tokens and for places: (batch, length) int64 to (batch, length, width)."""

    def __init__(self, vocabulary: int, length: int, width: int, dropout: float, padding: int | None = None) -> None:
        super().__init__()
        self.padding = padding
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = Places(length, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the sum of both vectors; zeros where there is padding, which is never looked up."""
        real = None if self.padding is None else tokens_BT != self.padding
        known = tokens_BT if real is None else tokens_BT.masked_fill(~real, 0)
        return kept(self.dropout(self.places(self.tokens(known))), real)


class Block(nn.Module):
    """Attention and MLP, each on normed tokens and added to its input; what is padding stays zero."""

    def __init__(self, width: int, heads: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, causal=causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP_FACTOR * width), nn.GELU(), nn.Linear(MLP_FACTOR * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return (batch, tokens, width)."""
        real = real_places(tokens_BTC)
        attended, _ = self.attention(self.norm1(tokens_BTC), real=real)
        hidden = tokens_BTC + self.dropout(attended)
        return kept(hidden + self.dropout(self.mlp(self.norm2(hidden))), real)


class NormedClassifier(nn.Sequential):
    """A norm (by default layer norm), mean of the real places, and one fully connected layer."""

    def __init__(self, width: int, classes: int, norm: nn.Module | None = None) -> None:
        super().__init__(nn.LayerNorm(width) if norm is None else norm, PooledClassifier(width, classes))

    def forward(self, tokens_BTC: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        norm, classifier = self
        logits: Tensor = classifier(kept(norm(tokens_BTC), real_places(tokens_BTC)))
        return logits


def _transformer(
    *,
    length: int,
    classes: int,
    vocabulary: int,
    tokens: Vocabulary | None,
    places: int,
    depth: int,
    width: int,
    heads: int,
    dropout: float,
    causal: bool,
    cuts: Cuts,
    task: Task = "classes",
    lora: int | None = None,
    embeddings_apart: bool = False,
) -> StagedModel:
    """Return a Transformer; ``embeddings_apart``: md1 are the embeddings, however many blocks there are."""
    if length > places:
        raise InputError(f"{length} tokens are more than the {places} that this network has places for")
    if tokens is not None and tokens.size > vocabulary:
        raise InputError(f"the data have {tokens.size:,} kinds of tokens, this network has vectors for {vocabulary:,}")
    padding = None if tokens is None else tokens.padding
    stages: list[nn.Module] = [Embedding(vocabulary, places, width, dropout, padding)]
    stages += [Block(width, heads, dropout, causal=causal) for _ in range(depth)]
    if task == "classes":
        stages.append(NormedClassifier(width, classes))
        return adapt(cut_automatically(numbered(stages), (length,), cuts, first_kept=embeddings_apart), lora)
    last = small_weights(nn.Linear(width, vocabulary, bias=False))
    stages.append(LanguageHead(nn.LayerNorm(width), last))
    model = cut_automatically(numbered(stages), (length,), cuts, first_kept=embeddings_apart)
    return as_language_model(model, vocabulary)


@network(source="Vaswani et al. 2017, arXiv 1706.03762", kind="tokens", smallest=1, example=(16,))
def transformer(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; a transformer has layer norms
    tokens: Vocabulary | None = None,
    cuts: Cuts = "auto",
    depth: Width = 4,
    width: Width = 48,
    heads: Width = 4,
    dropout: Rate = 0.1,
    task: Task = "classes",
) -> StagedModel:
    """Small Transformer for token sequences: 4 blocks of width 48 over the data's vocabulary (or bytes)."""
    return _transformer(
        length=input_shape[0],
        classes=classes,
        vocabulary=BYTES if tokens is None else tokens.size,
        tokens=tokens,
        places=input_shape[0],
        depth=depth,
        width=width,
        heads=heads,
        dropout=dropout,
        causal=task == "next-token",
        cuts=cuts,
        task=task,
        embeddings_apart=True,  # an audit looks for texts behind them, where they must come back undefended
    )


@network(source="Devlin et al. 2018, arXiv 1810.04805", kind="tokens", smallest=1, example=(512,))
def bert_base(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; a transformer has layer norms
    tokens: Vocabulary | None = None,
    cuts: Cuts = "auto",
    lora: Rank | None = None,
) -> StagedModel:
    """BERT-base-sized encoder, for profile and plan: 12 blocks of width 768, 30,522 tokens, up to 512 places."""
    return _bert(input_shape[0], classes, tokens, cuts, lora, depth=12, width=768, heads=12)


@network(source="Devlin et al. 2018, arXiv 1810.04805", kind="tokens", smallest=1, example=(512,))
def bert_large(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; a transformer has layer norms
    tokens: Vocabulary | None = None,
    cuts: Cuts = "auto",
    lora: Rank | None = None,
) -> StagedModel:
    """BERT-large-sized encoder, for profile and plan: 24 blocks of width 1,024, 30,522 tokens, up to 512 places."""
    return _bert(input_shape[0], classes, tokens, cuts, lora, depth=24, width=1024, heads=16)


def _bert(
    length: int,
    classes: int,
    tokens: Vocabulary | None,
    cuts: Cuts,
    lora: int | None,
    *,
    depth: int,
    width: int,
    heads: int,
) -> StagedModel:
    return _transformer(
        length=length,
        classes=classes,
        vocabulary=30_522,
        tokens=tokens,
        places=512,
        depth=depth,
        width=width,
        heads=heads,
        dropout=0.1,
        causal=False,
        cuts=cuts,
        lora=lora,
    )


@network(
    source="Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
    kind="tokens",
    smallest=1,
    example=(1024,),
)
def gpt2_xl(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; a transformer has layer norms
    tokens: Vocabulary | None = None,
    cuts: Cuts = "auto",
    lora: Rank | None = None,
) -> StagedModel:
    """GPT-2-XL-sized decoder, for profile and plan: 48 causal blocks of width 1,600, 50,257 tokens, 1,024 places."""
    return _transformer(
        length=input_shape[0],
        classes=classes,
        vocabulary=50_257,
        tokens=tokens,
        places=1024,
        depth=48,
        width=1600,
        heads=25,
        dropout=0.1,
        causal=True,
        cuts=cuts,
        lora=lora,
    )

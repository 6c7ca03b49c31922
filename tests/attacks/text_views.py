"""Small views of texts: a language of few tokens behind the first blocks of a tiny Transformer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dtfl_private.attacking.evidence import AttackedRound, Auxiliary, Evidence, LocalSteps, Network
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.data.preprocess import AsTheyAre
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.models.transformer import Block, Embedding
from dtfl_private.numerics import Numerics
from dtfl_private.protection.base import Defense
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import find_adversary
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch
from dtfl_private.protocol.vocabulary import Vocabulary

BATCH, LENGTH, TOKENS, WIDTH, CLASSES = 16, 8, 40, 16, 2
PADDING = TOKENS  # the number after the last token
VOCABULARY = Vocabulary(size=TOKENS, padding=PADDING)
# Tokens from this one on occur in victims' texts only.
UNSEEN = 36


def client_half(blocks: int = 1, seed: int = 0, dropout: float = 0.0, embedding: float = 0.02) -> StagedModel:
    """Return an embedding and some blocks; the rows of its table are normal with this deviation."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts: list[Any] = [Embedding(TOKENS, LENGTH, WIDTH, dropout, PADDING)]
        parts += [Block(WIDTH, 2, dropout, causal=False) for _ in range(blocks)]
        nn.init.normal_(parts[0].tokens.weight, std=embedding)
    return StagedModel([("md1", nn.Sequential(*parts))])


def texts(count: int, seed: int, tokens: int = UNSEEN) -> tuple[Tensor, Tensor]:
    """Return texts (count, LENGTH) and labels: after each token, one of three is likely; lengths are 3 to LENGTH."""
    chance = torch.Generator().manual_seed(seed)
    made = torch.randint(tokens, (count, LENGTH), generator=chance)
    for place in range(1, LENGTH):
        follow = (5 * made[:, place - 1] + torch.randint(3, (count,), generator=chance)) % tokens
        made[:, place] = torch.where(torch.rand(count, generator=chance) < 0.8, follow, made[:, place])
    lengths = torch.randint(3, LENGTH + 1, (count, 1), generator=chance)
    return made.masked_fill(torch.arange(LENGTH) >= lengths, PADDING), made[:, 0] % CLASSES


def text_view(
    halves: Sequence[StagedModel],
    *defenses: Defense,
    auxiliary: int = 96,
    seed: int = 0,
    victims: tuple[Tensor, Tensor] | None = None,
    kept: dict[str, Mapping[str, Tensor]] | None = None,
) -> tuple[View, Tensor]:
    """Return a view of clients that each sent a batch of 16 texts, one for each client half, and the truth."""
    kept = {} if kept is None else kept
    tokens, labels = victims or texts(BATCH * len(halves), seed=10**6)

    def program(seen: Seen, adaptive: bool, own: int) -> ClientProgram:
        return ClientProgram(
            modules=copied(halves[seen.download.client]),
            head=nn.Identity(),
            download=seen.download,
            preprocessor=AsTheyAre(),
            defense=DefenseChain(defenses if adaptive else ()).padded_by(PADDING),
            numerics=Numerics(),
            training=True,
            seed=own,
            records=BATCH,
            classes=CLASSES,
        )

    rounds = []
    for client, half in enumerate(halves):
        download = ModelDownload(client=client, round=1, tier=1, weights=snapshot(half), head={})
        own = slice(BATCH * client, BATCH * (client + 1))
        sent = program(Seen(download=download, batches=(), update=None), True, 10**6).release(tokens[own], labels[own])
        message = SmashedBatch(client=client, round=1, tier=1, batch=0, smashed=sent, labels=labels[own])
        rounds.append(Seen(download=download, batches=(message,), update=None))
    own_texts, own_labels = texts(auxiliary, seed=1)
    check_texts, check_labels = texts(2 * BATCH, seed=2)
    evidence = Evidence(
        round=AttackedRound(seen=rounds, local_steps=LocalSteps(optimizer="sgd", lr=0.05)),
        network=Network(
            program=program,
            input_shape=(LENGTH,),
            classes=CLASSES,
            tier=1,
            cut_shape=tuple(rounds[0].batches[0].smashed.shape[1:]),
            defense=DefenseChain(defenses),
            vocabulary=VOCABULARY,
        ),
        auxiliary=Auxiliary(
            name="texts",
            images=own_texts,
            labels=own_labels,
            validation_images=check_texts,
            validation_labels=check_labels,
        ),
    )

    def keep(name: str, make: Callable[[], Any]) -> Any:
        if name not in kept:
            kept[name] = dict(make())
        return kept[name]

    view = View(
        evidence,
        adversary=find_adversary("server-honest-but-curious"),
        knows="same",
        attack="an attack",
        seed=seed,
        keep=keep,
    )
    return view, tokens


def accuracy(tokens: Tensor, truth: Tensor) -> float:
    """Return the share of the tokens at real places that are aright."""
    real = truth != PADDING
    return float((tokens == truth)[real].double().mean())

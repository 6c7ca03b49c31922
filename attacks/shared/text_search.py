"""Search for the texts that explain a release best: from a reader's guess, token by token, by real forward passes.

What is minimised, for each text by itself:

    J(x) = -log p(z | x) - reader * sum over places log q(x_t | z) - language * log p(x)

z is the release, p(z | x) as `ReleaseFit` says, q the reader's shares, p(x) by `Bigrams`. Starts are the reader's
guess, the likeliest path among its candidates, and the tokens next to the vectors that gradient descent finds in place
of looked-up ones. Then tokens are replaced at the places of which the reader is least sure; a replacement stays only
where J falls, so that the end is never worse than any start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.bigrams import Bigrams, likeliest_path
from dtfl_private.attacks.shared.embedding_table import looked_up, token_table
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.release_fit import ReleaseFit, expected_of
from dtfl_private.attacks.shared.token_inverters import TokenReader
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.models.padding import real_places
from dtfl_private.protection.release_reading import Reading

# Tokens to choose from at each place: the reader's likeliest, and those next to the vector that was found.
LIKELIEST, NEAREST = 8, 4
# Of the steps, the share that descends on vectors: each costs about as much as three replacements.
DESCENDING, DESCENT = 1 / 12, 3
# First step of a vector's value, in deviations of the table, and the weight of the squared distance from its start.
LR, NEARNESS = 0.1, 0.5
# The probability of anything but the reader's first token below which a place is left alone.
SURE = 1e-4


class Weights(NamedTuple):
    """Of the terms of J beside the likelihood."""

    reader: float
    language: float


@dataclass(frozen=True, kw_only=True)
class TextSearch:
    """A search for texts.

    Attributes:
        reader: whose guess is the start.
        bigrams: how likely texts are.
        fit: how well they explain a release.
        weights: of the terms.
        steps: forward passes for each batch, about.
    """

    reader: TokenReader
    bigrams: Bigrams
    fit: ReleaseFit
    weights: Weights
    steps: int

    def of_batch(
        self, program: ClientProgram, smashed: Tensor, labels: Tensor, tick: Callable[[], None] = lambda: None
    ) -> Tensor:
        """Return tokens (B, T) of a batch.

        Args:
            program: of the client, `without_chance`, `sending` the batch.
            smashed: (B, T, C), as received.
            labels: (B,), as received.
            tick: called after each step.
        """
        smashed = smashed.to(program.device)
        start = self.reader.tokens(smashed, labels)
        if not self.reader.reads:
            return start
        released = self.released(program, smashed, labels)
        shares = released.shares
        descending = round(self.steps * DESCENDING)
        likeliest = shares.topk(min(LIKELIEST, shares.shape[-1]), dim=-1).indices
        nearest = self._nearest(released, start, descending, tick)
        candidates = likeliest if nearest is None else torch.cat([likeliest, nearest], dim=-1)
        path = likeliest_path(
            self.bigrams, candidates, shares.gather(2, candidates), released.real, self.weights.language
        )
        starts = [start, self.reader.padded(path, smashed)]
        starts += [] if nearest is None else [self.reader.padded(nearest[..., 0], smashed)]
        scores = torch.stack([self.objective(released, tokens) for tokens in starts])
        best = scores.argmin(dim=0)
        found = torch.stack(starts)[best, torch.arange(len(best), device=best.device)]
        return self._replaced(released, candidates, found, scores.amin(dim=0), self.steps - DESCENT * descending, tick)

    def released(self, program: ClientProgram, smashed: Tensor, labels: Tensor) -> "Release":
        """Return a batch as `objective` takes it."""
        own = smashed.to(program.device)
        return Release(program, program.read(own), real_places(own), self.reader.log_shares(own, labels))

    def objective(self, released: "Release", tokens: Tensor) -> Tensor:
        """Return J (B,), float64, of tokens (B, T)."""
        own = released.shares.gather(2, tokens.clamp(max=released.shares.shape[-1] - 1)[..., None])[..., 0]
        read = own.double().masked_fill(~released.real, 0).sum(dim=1)
        misfit = self.fit.misfits(released.reading, expected_of(released.program, tokens))
        total = misfit - self.weights.reader * read
        if self.weights.language:
            total = total - self.weights.language * self.bigrams.of_texts(tokens, released.real)
        return total

    def _nearest(self, released: "Release", guess: Tensor, steps: int, tick: Callable[[], None]) -> Tensor | None:
        """Return the tokens (B, T, NEAREST) next to the vectors that explain the release best; None without a table."""
        vocabulary = self.reader.vocabulary
        table = token_table(released.program, guess.shape[1], vocabulary.size, vocabulary.padding)
        if table is None or steps == 0:
            return None
        rows = table.weight.detach()[: vocabulary.size]
        found = self._vectors(released, guess, table, rows, steps, tick)
        apart = torch.cdist(found, rows[None])
        if vocabulary.padding is not None and vocabulary.padding < vocabulary.size:
            apart[..., vocabulary.padding] = torch.inf
        return apart.topk(min(NEAREST, vocabulary.size), dim=-1, largest=False).indices

    def _vectors(
        self,
        released: "Release",
        guess: Tensor,
        table: nn.Embedding,
        rows: Tensor,
        steps: int,
        tick: Callable[[], None],
    ) -> Tensor:
        """Return vectors (B, T, E) in place of looked-up ones, from the reader's mean of the table's rows."""
        size = rows.std(dim=0)
        start = (released.shares.exp() @ rows) / size
        spread = (released.shares.exp() @ (rows / size).square() - start.square()).clamp(min=0).mean(dim=-1) + 1e-2
        vectors = start.clone().requires_grad_()
        optimizer = EagerAdam([vectors], lr=LR)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LR * half_cosine(step, steps)
            with looked_up(table, vectors * size):
                misfit = self.fit.misfits(released.reading, released.program.expected(guess))
            moved = ((vectors - start).square().sum(dim=-1) / spread * released.real).sum(dim=1)
            loss = misfit + NEARNESS * self.weights.reader * moved
            (vectors.grad,) = torch.autograd.grad(loss.sum(), vectors)
            optimizer.step()
            tick()
        return vectors.detach() * size

    def _replaced(
        self,
        released: "Release",
        candidates: Tensor,
        tokens: Tensor,
        score: Tensor,
        steps: int,
        tick: Callable[[], None],
    ) -> Tensor:
        """Return tokens (B, T) after trying others, place by place of each text, as long as there are steps.

        The least certain place of each text comes first. After the last one it begins anew, until nothing changes.
        """
        doubt = self._doubt(released, candidates)
        order, rows = doubt.argsort(dim=1, descending=True), torch.arange(len(tokens), device=tokens.device)
        places = int((doubt > SURE).sum(dim=1).max())
        tried, changed = 0, True
        while places and changed and tried < steps:
            begun = score
            for turn in range(places):
                own = order[:, turn]
                doubtful, before = doubt[rows, own] > SURE, tokens
                for candidate in candidates[rows, own].unbind(dim=-1):
                    proposed = before.clone()
                    proposed[rows, own] = torch.where(doubtful, candidate, before[rows, own])
                    if tried >= steps or torch.equal(proposed, before):
                        continue
                    tried += 1
                    now = self.objective(released, proposed)
                    better = now < score
                    tokens, score = torch.where(better[:, None], proposed, tokens), torch.where(better, now, score)
                    tick()
            changed = bool((score < begun).any())
        return tokens

    @staticmethod
    def _doubt(released: "Release", candidates: Tensor) -> Tensor:
        """Return how uncertain each place is (B, T): the reader's doubt, and 1 more where vectors say another token."""
        doubt = 1 - released.shares.amax(dim=-1).exp()
        if candidates.shape[-1] > LIKELIEST:
            doubt = doubt + (candidates[..., LIKELIEST] != candidates[..., 0])
        return doubt.clamp(min=0) * released.real


class Release(NamedTuple):
    """What was received: the program that sent it, what shows, real places, and the reader's log shares (B, T, V)."""

    program: ClientProgram
    reading: Reading
    real: Tensor
    shares: Tensor

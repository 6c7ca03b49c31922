"""A network that tells where the pieces of a record's activations belong, trained on auxiliary releases."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.arrangement import Puzzle
from dtfl_private.attacks.shared.decoder_training import STEP
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.randomness import isolated

WIDTH = 128
HEADS = 4
LAYERS = 2
# Records at a time without gradients.
CHUNK = 256


class PieceAttention(nn.Module):
    """Self-attention among the pieces of a record, and a step on each piece; both with a shortcut around them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.merge = nn.Linear(WIDTH, WIDTH)
        self.step = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (B, N, WIDTH) of the same."""
        batch, pieces, _ = hidden.shape
        heads = self.project(self.norm1(hidden)).view(batch, pieces, 3, HEADS, WIDTH // HEADS)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        hidden = hidden + self.merge(mixed.transpose(1, 2).flatten(2))
        result: Tensor = hidden + self.step(self.norm2(hidden))
        return result


class PieceMatcher(nn.Module):
    """From the pieces (B, N, V) of records, in any order, to their scores (B, N, N) in each of the N slots.

    Pieces are looked at together, since what one lacks another one has: scores move with the pieces when these are
    permuted (a set transformer, Lee et al. 2019).

    Args:
        slots: N.
        values: V.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, slots: int, values: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("scale", torch.ones(()))
        self.enter = nn.Sequential(nn.Linear(values, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.layers = nn.Sequential(*(PieceAttention() for _ in range(LAYERS)))
        self.leave = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, slots))

    def standardise_by(self, pieces: Tensor) -> None:
        """Take mean and deviation of the values of pieces (B, N, V)."""
        self.mean.copy_(pieces.mean(dim=(0, 1)))
        self.scale.copy_(1 / (pieces - self.mean).std().clamp(min=1e-6))

    def forward(self, pieces: Tensor) -> Tensor:
        """Return scores (B, N, N): logits over the slots, of each piece."""
        scores: Tensor = self.leave(self.layers(self.enter((pieces - self.mean) * self.scale)))
        return scores

    @torch.no_grad()
    def costs(self, pieces: Tensor) -> Tensor:
        """Return the negative log-probabilities (B, N, N) of each piece in each slot."""
        return torch.cat([-F.log_softmax(self(part), dim=2) for part in torch.split(pieces, CHUNK)])


def train_matcher(view: View, puzzle: Puzzle, ordered: Tensor, validation: Tensor, epochs: int) -> PieceMatcher:
    """Return a matcher trained on pieces in order, which it sees in random order.

    Args:
        view: of the adversary.
        puzzle: groups of which are to be put in order.
        ordered: pieces (B, N, V) of auxiliary records, each in its slot.
        validation: of others; the epoch that puts most of these back is kept.
        epochs: passes over the records.
    """
    slots, values = ordered.shape[1:]
    with isolated(view.seed, "piece matcher", view.tier):
        matcher = PieceMatcher(slots, values).to(view.device)
    matcher.standardise_by(ordered)
    optimizer = EagerAdam(matcher.parameters(), lr=1e-3)
    chance, best, kept = view.chance("piece matcher"), -1.0, copy.deepcopy(matcher.state_dict())
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * half_cosine(epoch, epochs)
        for batch in torch.split(torch.randperm(len(ordered), generator=chance), STEP):
            slot = torch.rand(len(batch), slots, generator=chance).argsort(dim=1).to(view.device)
            pieces = ordered[batch.to(view.device)].gather(1, slot.unsqueeze(-1).expand(-1, -1, values))
            loss = F.cross_entropy(matcher(pieces).flatten(0, 1), slot.flatten())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        right = _share_right(matcher, puzzle, validation)
        if right > best:
            best, kept = right, copy.deepcopy(matcher.state_dict())
        view.progress(epoch + 1, epochs)
    matcher.load_state_dict(kept)
    return matcher


def _share_right(matcher: PieceMatcher, puzzle: Puzzle, ordered: Tensor) -> float:
    """Return the share of pieces that are put where they were."""
    order = puzzle.solve(matcher.costs(ordered))
    return float((order == torch.arange(ordered.shape[1])).double().mean())

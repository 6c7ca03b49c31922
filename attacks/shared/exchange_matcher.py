"""A network that tells which of a batch's pieces belong to which record, trained on batches that it mixed itself."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.arrangement import Puzzle
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.piece_matcher import WIDTH, PieceAttention
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.randomness import isolated

LAYERS = 2
# How often pieces are assigned, each time to the records as they stand then.
SWEEPS = 4


class ExchangeMatcher(nn.Module):
    """From records' pieces (B, places, V), some of them other records', to which piece each place asks for.

    A record's pieces are looked at together; each place then asks for the piece that fits the others there, and all
    pieces that the batch has in that place are compared with what is asked for.

    Args:
        places: pieces of a record.
        values: V.
        classes: of the labels, which stay with the record.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, places: int, values: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("scale", torch.ones(()))
        self.enter = nn.Sequential(nn.Linear(values, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.offer = nn.Sequential(nn.Linear(values, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.place = nn.Parameter(0.02 * torch.randn(2, places, WIDTH))
        self.label = nn.Embedding(classes, WIDTH)
        self.layers = nn.Sequential(*(PieceAttention() for _ in range(LAYERS)))
        self.ask = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))

    def standardise_by(self, pieces: Tensor) -> None:
        """Take mean and deviation of the values of pieces (B, places, V)."""
        self.mean.copy_(pieces.mean(dim=(0, 1)))
        self.scale.copy_(1 / (pieces - self.mean).std().clamp(min=1e-6))

    def forward(self, pieces: Tensor, offered: Tensor, labels: Tensor) -> Tensor:
        """Return scores (places, B offered, B records): logits over the pieces offered, of each place of a record."""
        pieces, offered = (pieces - self.mean) * self.scale, (offered - self.mean) * self.scale
        hidden = self.enter(pieces) + self.place[0] + self.label(labels)[:, None]
        asked = self.ask(self.layers(hidden))
        offers = F.normalize(self.offer(offered) + self.place[1], dim=2) * WIDTH**0.5
        scores: Tensor = torch.einsum("kpd,ipd->pik", asked, offers)
        return scores

    @torch.no_grad()
    def order(self, puzzle: Puzzle, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return the order (places, B) of the pieces of a batch, swept over until nothing changes or often enough."""
        offered = puzzle.pieces(smashed)
        order = torch.arange(len(smashed)).expand(offered.shape[1], -1)
        for _ in range(SWEEPS):
            pieces = puzzle.pieces(puzzle.put(smashed, order))
            latest = puzzle.solve(-F.log_softmax(self(pieces, offered, labels), dim=1))
            if torch.equal(latest, order):
                break
            order = latest
        return order


def train_exchange_matcher(
    view: View, pieces: Tensor, labels: Tensor, share: float, size: int, epochs: int
) -> ExchangeMatcher:
    """Return a matcher trained on batches in order, which it mixes as the defense does, more or less thoroughly.

    Args:
        view: of the adversary.
        pieces: (N, places, V) of auxiliary records, all in order.
        labels: of these records (N,).
        share: of the places that the defense exchanges.
        size: of a batch.
        epochs: passes over the records.
    """
    with isolated(view.seed, "exchange matcher", view.tier):
        matcher = ExchangeMatcher(pieces.shape[1], pieces.shape[2], view.classes).to(view.device)
    matcher.standardise_by(pieces)
    optimizer, chance = EagerAdam(matcher.parameters(), lr=1e-3), view.chance("exchange matcher")
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 1e-3 * half_cosine(epoch, epochs)
        for batch in torch.split(torch.randperm(len(pieces), generator=chance).to(pieces.device), size):
            own = pieces[batch]
            sources = _mixed(len(own), own.shape[1], share, chance).to(own.device)
            received = own.gather(0, sources.unsqueeze(-1).expand(own.shape))
            scores = matcher(received, own, labels[batch])
            right = torch.arange(len(own), device=own.device).expand(own.shape[1], -1)
            loss = F.cross_entropy(scores.transpose(1, 2).flatten(0, 1), right.flatten())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        view.progress(epoch + 1, epochs)
    return matcher.eval()


def _mixed(records: int, places: int, share: float, chance: torch.Generator) -> Tensor:
    """Return record numbers (B, places): in a random part of the places, up to ``share``, the records are permuted."""
    others = torch.rand(places, records, generator=chance).argsort(dim=1).T
    part = share * float(torch.rand((), generator=chance)) ** 0.5
    return torch.where(
        torch.rand(places, generator=chance) < part, others, torch.arange(records)[:, None].expand(-1, places)
    )

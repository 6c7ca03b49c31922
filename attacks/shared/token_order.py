"""Shuffled tokens, put back in order: each row's token is guessed first, and what is left of the row tells its place.

Means of tokens and of places are learnt from auxiliary releases that the adversary puts in order itself, as it makes
them with the client's program: by what the same texts are without defenses. Whatever else the defenses do to the rows
is in the covariance that distances are measured by.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.arrangement import hungarian, squared_distances
from dtfl_private.attacks.shared.releaser import ReleasedImages, Releaser, batch_size, by_download, fingerprint
from dtfl_private.attacks.shared.token_means import token_means
from dtfl_private.attacks.shared.token_network import TokenNetwork, shapes_of
from dtfl_private.attacks.shared.token_training import Texts, known_places
from dtfl_private.attacks.shared.varied_texts import token_shares
from dtfl_private.models.padding import real_places
from dtfl_private.protection.base import name_of
from dtfl_private.protocol.messages import Seen
from dtfl_private.randomness import isolated, torch_stream

# So often rows are dealt to places, each time with the tokens that they are likeliest to be at the places before.
TURNS = 2


def with_rows_in_order(view: View, *, adaptive: bool) -> View:
    """Return a view with rows put in order, in what was received and in what is released, where tokens are shuffled.

    Elsewhere, and for an adversary that does not adapt to defenses, the same view.
    """
    if not adaptive or all(name_of(one) != "token-shuffle" for one in view.defense):
        return view
    orders = [(group, _learnt(view, group)) for group in by_download(view.seen).values()]

    def order_of(seen: Seen) -> "RowOrder":
        return next(order for group, order in orders if any(one.download is seen.download for one in group))

    def receive(program: ClientProgram, smashed: Tensor, labels: Tensor) -> Tensor:
        del labels  # rows are told by themselves
        return order_of(Seen(download=program.download, batches=(), update=None)).put(smashed)

    ordered = []
    for seen in view.seen:
        order = order_of(seen)
        batches = (replace(batch, smashed=order.put(batch.smashed)) for batch in seen.batches)
        ordered.append(replace(seen, batches=tuple(batches)))
    return view.derived("rows in order", ordered, receive)


class RowOrder:
    """Deals rows of texts to places.

    Args:
        means: a network that reads no better than its start: places' and tokens' means, and what whitens.
    """

    def __init__(self, means: TokenNetwork) -> None:
        self._means = means
        self._overall = means.mean.mean(dim=0)
        self._places = (means.mean - self._overall) * means.scale @ means.direct.weight.T

    @torch.no_grad()
    def put(self, smashed: Tensor) -> Tensor:
        """Return activations (B, T, C) with their real rows in order; padding stays where it is."""
        own, means = smashed.to(self._overall.device), self._means
        real = real_places(own)
        rows = (own - self._overall) * means.scale @ means.direct.weight.T
        apart = real[:, :, None] != real[:, None, :]
        placed = torch.zeros_like(rows)
        for _ in range(TURNS):
            nearness = (rows - placed) @ means.rows.T - means.penalty + means.free.bias
            left = rows - means.rows[nearness.argmax(dim=2)]
            costs = squared_distances(left, self._places.expand(len(left), -1, -1))
            order = hungarian(costs.masked_fill(apart, float(costs.abs().max() + 1) * costs.shape[1])).to(own.device)
            placed = self._places[order.argsort(dim=1)]
        return own.gather(1, order[..., None].expand(own.shape)).to(smashed.device)


class _TrueOrder(Releaser):
    """Makes releases whose rows are in order, as the adversary knows the texts."""

    def __init__(self, view: View, group: Sequence[Seen]) -> None:
        super().__init__(view, group, adaptive=True)
        self._plain = Releaser(view, group, adaptive=False)

    def release(self, images: Tensor, labels: Tensor, *path: str | int) -> ReleasedImages:
        """Return a release with each row where it is nearest to the undefended rows of the same text."""
        sent, plain = super().release(images, labels, *path), self._plain.release(images, labels, *path)
        order = hungarian(squared_distances(sent.smashed, plain.smashed)).to(sent.smashed.device)
        return sent._replace(smashed=sent.smashed.gather(1, order[..., None].expand(sent.smashed.shape)))


def _learnt(view: View, group: Sequence[Seen]) -> RowOrder:
    """Return what deals the rows of clients' rounds that began with the same weights; cached for other attacks."""
    with isolated(view.seed, "row order", view.tier):
        means = TokenNetwork(shapes_of(view), "small").requires_grad_(requires_grad=False).to(view.device)

    def learn() -> dict[str, Tensor]:
        texts = Texts(
            own=view.auxiliary,
            vocabulary=view.vocabulary,
            releaser=_TrueOrder(view, group),
            chance=torch_stream(view.seed, "row order", view.tier),
        )
        first = texts.first()
        means.standardise_by(first.smashed, known_places(first, view.vocabulary))
        shares = token_shares(view.auxiliary.images, view.vocabulary)
        means.start_from(*token_means(texts, means.mean, means.scale), shares)
        return means.state_dict()

    name = f"row order/{fingerprint(group[0].download)}/{batch_size(group)}"
    means.load_state_dict(dict(view.keep(name, learn)))
    return RowOrder(means)

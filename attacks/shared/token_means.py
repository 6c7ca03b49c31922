"""What activations at a place are like on average, token by token: where a network that reads tokens starts.

Behind some blocks a token shows by far more in what these make of it than in its own vector, which is added to that and
often drowned in dropout. So each token is put into auxiliary texts a number of times and sent through the client's own
program; the nearest mean, measured by how activations of one token differ, is Fisher's linear discriminant. At tier 1
undefended the means are the vectors themselves.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dtfl_private.attacks.shared.token_training import Texts, known_places

# So often each token is put somewhere, and the share of a text's places that are replaced for that.
TIMES = 8
REPLACED = 0.5
# Added to the covariance, relative to the mean variance.
PRECISION = 1e-6


class TokenMeans(NamedTuple):
    """Means (V, C) of whitened activations, and what whitens them (C, C)."""

    means: Tensor
    whitening: Tensor


@torch.no_grad()
def token_means(texts: Texts, mean: Tensor, scale: Tensor) -> TokenMeans:
    """Return each token's mean activations, from releases of auxiliary texts into which all tokens have been put.

    Args:
        texts: where releases are from.
        mean: (T, C), taken off activations first.
        scale: (C,), which they are then multiplied by.
    """
    tokens, channels = texts.vocabulary.size, mean.shape[1]
    sums, counts = mean.new_zeros(tokens, channels).double(), mean.new_zeros(tokens).double()
    squares = mean.new_zeros(channels, channels).double()
    for turn, (own, labels) in enumerate(_holding(texts)):
        released = texts.releaser.release(own, labels, "means", turn)
        known = known_places(released, texts.vocabulary)
        values, there = ((released.smashed - mean) * scale)[known].double(), released.images[known]
        sums.index_add_(0, there, values)
        counts.index_add_(0, there, torch.ones_like(there, dtype=torch.float64))
        squares += values.T @ values
    means = sums / counts.clamp(min=1)[:, None]
    within = (squares - (means.T * counts) @ means) / (counts.sum() - (counts > 0).sum()).clamp(min=1)
    floor = PRECISION * squares.diagonal().mean() / counts.sum().clamp(min=1)
    # As if there had been as many places more, at which channels have nothing to do with each other, as channels.
    share = channels / (channels + counts.sum())
    within = (1 - share) * within + share * within.diagonal().diag_embed()
    within = within + floor.clamp(min=1e-12) * torch.eye(channels, dtype=torch.float64, device=within.device)
    whitening = torch.linalg.inv(torch.linalg.cholesky(within))
    return TokenMeans((means @ whitening.T).float(), whitening.float())


def _holding(texts: Texts) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield texts (N, T) with labels (N,) until every token has been put somewhere `TIMES` times."""
    padding, own = texts.vocabulary.padding, texts.own.images
    left = torch.cat([torch.randperm(texts.vocabulary.size, generator=texts.chance) for _ in range(TIMES)])
    left = left if padding is None else left[left != padding]
    while len(left):
        put = own.clone()
        free = torch.rand(own.shape, generator=texts.chance) < REPLACED
        if padding is not None:
            free &= own != padding
        places = free.flatten().nonzero().flatten()[: len(left)]
        put.view(-1)[places] = left[: len(places)]
        left = left[len(places) :]
        yield put, texts.own.labels

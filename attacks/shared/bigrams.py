"""How likely texts are by their pairs of neighbouring tokens: interpolated Kneser-Ney (Ney, Essen and Kneser 1994).

    p(w | v) = max(c(v, w) - D, 0) / c(v) + D n(v) / c(v) q(w)

c counts pairs, n(v) how many different tokens follow v, and q(w) is the share of all different pairs that end in w,
with half a pair of each token added, so that none is impossible. Of few texts that is all that counting can learn.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# D, taken off every pair that was seen.
DISCOUNT = 0.75
# Pairs that are added for each token.
ADDED = 0.5


@dataclass(frozen=True, kw_only=True)
class Bigrams:
    """Counts of neighbouring tokens; the number after the last token stands for the beginning of a text.

    Attributes:
        tokens: V, kinds of tokens.
        pairs: (P,) v V + w of the pairs that were seen, ascending.
        counts: (P,) of these.
        before: (V + 1,) how many pairs begin with each token.
        different: (V + 1,) how many different ones.
        ends: (V,) q, the probability of each token whatever stands before it.
    """

    tokens: int
    pairs: Tensor
    counts: Tensor
    before: Tensor
    different: Tensor
    ends: Tensor

    @classmethod
    def of(cls, texts: Tensor, real: Tensor, tokens: int, device: str) -> "Bigrams":
        """Count the pairs of texts (N, T), int64, whose places are real (N, T)."""
        first = torch.where(_begins(real), tokens, _before(texts, tokens))
        seen, counts = torch.unique((first * tokens + texts)[real], return_counts=True)
        begin, end = seen // tokens, seen % tokens
        ends = torch.bincount(end, minlength=tokens).double() + ADDED
        return cls(
            tokens=tokens,
            pairs=seen.to(device),
            counts=counts.double().to(device),
            before=torch.bincount(begin, counts.double(), minlength=tokens + 1).to(device),
            different=torch.bincount(begin, minlength=tokens + 1).double().to(device),
            ends=(ends / ends.sum()).to(device),
        )

    def log_shares(self, first: Tensor, second: Tensor) -> Tensor:
        """Return log p(second | first), float64, of tokens of shapes that broadcast; first may be V, the beginning."""
        wanted = first * self.tokens + second
        if len(self.pairs):
            place = torch.searchsorted(self.pairs, wanted).clamp(max=len(self.pairs) - 1)
            counts = self.counts[place] * (self.pairs[place] == wanted)
        else:
            counts = torch.zeros(wanted.shape, dtype=torch.float64, device=wanted.device)
        before = self.before[first].clamp(min=1)
        left = torch.where(self.before[first] > 0, DISCOUNT * self.different[first] / before, 1.0)
        return ((counts - DISCOUNT).clamp(min=0) / before + left * self.ends[second]).log()

    def of_texts(self, texts: Tensor, real: Tensor) -> Tensor:
        """Return the log probability (N,), float64, of texts (N, T), of which only real places (N, T) count."""
        first = torch.where(_begins(real), self.tokens, _before(texts, self.tokens))
        known = texts.clamp(max=self.tokens - 1)
        return (self.log_shares(first.clamp(max=self.tokens), known) * real).sum(dim=1)


def likeliest_path(bigrams: Bigrams, candidates: Tensor, scores: Tensor, real: Tensor, weight: float) -> Tensor:
    """Return the texts (B, T) with the greatest sum of scores and weighed log probabilities of their pairs (Viterbi).

    Args:
        bigrams: the pairs' probabilities.
        candidates: (B, T, K) tokens to choose from at each place.
        scores: (B, T, K) of these.
        real: (B, T) places that count.
        weight: of the pairs' log probabilities.
    """
    begins, own = _begins(real), scores.double() * real[..., None]
    total = own[:, 0] + weight * bigrams.log_shares(torch.full_like(candidates[:, 0], bigrams.tokens), candidates[:, 0])
    back = []
    for place in range(1, candidates.shape[1]):
        step = bigrams.log_shares(candidates[:, place - 1, :, None], candidates[:, place, None, :])
        alone = bigrams.log_shares(torch.full_like(candidates[:, place], bigrams.tokens), candidates[:, place])
        step = torch.where(begins[:, place, None, None], alone[:, None, :], step) * real[:, place, None, None]
        best, chosen = (total[:, :, None] + weight * step).max(dim=1)
        total = best + own[:, place]
        back.append(chosen)
    path = [total.argmax(dim=1)]
    for chosen in reversed(back):
        path.append(chosen.gather(1, path[-1][:, None])[:, 0])
    places = torch.stack(path[::-1], dim=1)
    return candidates.gather(2, places[..., None])[..., 0]


def _before(texts: Tensor, first: int) -> Tensor:
    """Return the token before each place of texts (N, T); ``first`` before the first one."""
    return torch.cat([torch.full_like(texts[:, :1], first), texts[:, :-1]], dim=1)


def _begins(real: Tensor) -> Tensor:
    """Return the real places (N, T) that no real place stands before."""
    return real & ~torch.cat([torch.zeros_like(real[:, :1]), real[:, :-1]], dim=1)

"""Look every place's activations up among those that the client half makes of each token."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ONLY_TOKENS, AttackFacts, Target, TokenReconstruction, name_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.releaser import by_download
from dtfl_private.attacks.shared.token_table import ReceivedPlaces, TokenTable
from dtfl_private.errors import InputError
from dtfl_private.models.padding import real_places
from dtfl_private.protection.base import name_of as name_of_defense
from dtfl_private.protocol.messages import Seen


@dataclass(frozen=True, kw_only=True)
class TokenLookup(TokenReconstruction):
    """Compute what the client half makes of every token at every place, and take the nearest to what was received.

    At tier 1, where the client holds the embedding (with places, norm and dropout), undefended, this is exact by
    construction: a place's activations are a function of its token alone, and no two tokens have the same. Noise of a
    known deviation there makes it the maximum-likelihood token; with texts of the adversary's own, the likeliest token
    given how frequent each is in them. Other defenses count by what they do on average (`Defense.read`).

    At deeper tiers attention has mixed a text's places, and what is looked up are activations of sequences that hold
    one token alone, at all places: it may still find tokens, but shows no more than a lookup does. That it fails there
    proves nothing.

    Where tokens were shuffled (`token-shuffle`), each row is looked up at all places, and rows are dealt to places so
    that all together are likeliest (Hungarian assignment): what the embedding added tells a token's place as well.

    Places whose activations are zeros throughout are filled up, which shows.

    Attributes:
        prior: weight of the tokens' frequencies in the adversary's own texts, where noise leaves a choice; 0 for none.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed"}),
        recipe="nearest of what the known client half makes of each token, place by place",
        amortised=True,
        inputs=ONLY_TOKENS,
    )

    prior: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    def check(self, target: Target) -> None:
        """Refuse images, and activations that are not one row for each place."""
        super().check(target)
        if len(target.cut_shape) != 2 or target.cut_shape[0] != target.input_shape[0]:
            raise InputError(
                f"{name_of(self)} looks places up one by one, and activations of shape {target.cut_shape} are not a "
                f"row for each of {target.input_shape[0]} places"
            )

    def tokens(self, view: View) -> Tensor:
        """Return sequences (victims, length), int64."""
        groups = list(by_download(view.seen).values())
        found: dict[int, list[Tensor]] = {}
        for number, group in enumerate(groups):
            part = view.part(number / len(groups), (number + 1) / len(groups))
            for seen, guess in zip(group, self._read(part, group), strict=True):
                found.setdefault(id(seen), []).append(guess)
        return torch.cat([found[id(seen)].pop(0) for seen in view.seen])

    def _read(self, view: View, group: list[Seen]) -> list[Tensor]:
        """Return the sequences of each of some clients' rounds, which began with the same weights."""
        program = view.program(group[0], adaptive=self.adaptive)
        received = [torch.cat([batch.smashed for batch in seen.batches]) for seen in group]
        readings = [
            view.program(seen, adaptive=self.adaptive).read(one) for seen, one in zip(group, received, strict=True)
        ]
        table = TokenTable(program, view.vocabulary, view.cut_shape)
        places = [ReceivedPlaces.of(reading, drops=table.drops) for reading in readings]
        prior = self._log_prior(view)
        if self.adaptive and any(name_of_defense(one) == "token-shuffle" for one in view.defense):
            likely = table.nearest_in_any_order(places, prior, view.progress)
            nearest = [_in_order(*found, real_places(z).cpu()) for found, z in zip(likely, received, strict=True)]
        else:
            nearest = table.nearest(places, prior, view.progress)
        padding = view.vocabulary.padding
        if padding is not None:
            nearest = [one.where(real_places(z).cpu(), padding) for one, z in zip(nearest, received, strict=True)]
        return nearest

    def _log_prior(self, view: View) -> Tensor | None:
        """Return the weighed logarithm of each token's frequency in the adversary's texts (size,); None without any."""
        if not self.prior or not view.has("auxiliary-data"):
            return None
        size = view.vocabulary.size
        counts = torch.bincount(view.auxiliary.images.flatten(), minlength=size)[:size].double() + 1
        return self.prior * (counts / counts.sum()).log()


def _in_order(scores: Tensor, tokens: Tensor, real: Tensor) -> Tensor:
    """Return the tokens (B, T) of rows that are dealt to the real places of their text so that all are likeliest.

    Args:
        scores: (B, T, T) of each row at each place.
        tokens: (B, T, T), the likeliest of each row at each place.
        real: (B, T), which rows are real; the same places are.
    """
    from scipy.optimize import linear_sum_assignment  # scipy takes a while to load

    ordered = torch.zeros_like(tokens[:, :, 0])
    for record, there in enumerate(real):
        own = there.nonzero().flatten()
        rows, places = linear_sum_assignment(-scores[record][own][:, own].double().numpy())
        ordered[record, own[places]] = tokens[record, own[rows], own[places]]
    return ordered

"""Defenses that rewrite the message by a function without chance: an attacker computes it, and its derivatives, too.

A rotation, a change of signs, a shuffle with its key in the code. A defense that says in `Defense.read` what a release
shows is taken at its word; what draws is none of these, nor what reads the labels.
"""

from dataclasses import replace

import torch
from torch import Tensor

from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch


def fixed_rewritings(chain: DefenseChain, smashed: Tensor, at: ClientRound) -> tuple[int, ...]:
    """Return the places of the members that rewrite messages by a function without chance that has derivatives.

    Each is tried twice, with other draws, other labels and at another place of the round.

    Args:
        chain: of the client.
        smashed: activations (B, *cut shape) to try it on.
        at: the client's round, as the attacker knows it.
    """
    return tuple(
        place
        for place, defense in enumerate(chain.defenses)
        if type(defense).read is Defense.read
        and type(defense).protect_batch is not Defense.protect_batch
        and _is_fixed(defense, smashed.detach(), at.member(place))
    )


def rewritten(chain: DefenseChain, places: tuple[int, ...], smashed: Tensor, at: ClientRound) -> Tensor:
    """Return activations (B, *cut shape) as the members at these places rewrite them; differentiable."""
    for place in places:
        smashed = chain.defenses[place].protect_batch(_message(smashed, at), at.member(place)).smashed
    return smashed


def _is_fixed(defense: Defense, smashed: Tensor, at: ClientRound) -> bool:
    """Whether a defense's message depends on nothing but the activations, with a slope to follow."""
    with torch.enable_grad():
        tried = smashed.clone().requires_grad_()
        try:
            sent = defense.protect_batch(_message(tried, at), at).smashed
            again = defense.protect_batch(_message(tried, at, number=1), _elsewhere(at)).smashed
            if sent.shape != smashed.shape or not torch.equal(sent, again) or torch.equal(sent, smashed):
                return False
            # Any weights of the sum would do but equal ones: what is normalised has a sum without a slope.
            weights = torch.linspace(-1, 1, sent.numel(), device=sent.device).view_as(sent)
            (slope,) = torch.autograd.grad((sent * weights).sum(), tried)
        except (RuntimeError, ValueError):  # it leaves the tape, as by NumPy, or makes a message that must not be on it
            return False
    return bool(slope.isfinite().all() and (slope != 0).any())


def _elsewhere(at: ClientRound) -> ClientRound:
    """Return the same client and round with other draws and nothing remembered."""
    return replace(at, seed=at.seed + 1, memory={})


class _OwnMessage(SmashedBatch):
    """A message that an attacker makes of its own guess: it crosses no boundary, and may have a gradient."""

    def __post_init__(self) -> None:
        """Check nothing."""


def _message(smashed: Tensor, at: ClientRound, number: int = 0) -> SmashedBatch:
    labels = torch.full((len(smashed),), number, dtype=torch.int64, device=smashed.device)
    return _OwnMessage(client=at.client, round=at.round, tier=at.tier, batch=number, smashed=smashed, labels=labels)

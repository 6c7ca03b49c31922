"""Defenses that rewrite the message by a function without chance: an attacker computes it, and its derivatives, too.

A rotation, a change of signs, a shuffle with its key in the code, or with a key made of what is sent in clear beside
the activations: the labels, the number of the batch. A defense that says in `Defense.read` what a release shows is
taken at its word; what draws is none of these.
"""

from dataclasses import replace

import torch
from torch import Tensor

from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch


class OwnMessage(SmashedBatch):
    """A message that an attacker makes of its own guess: it crosses no boundary, and may have a gradient."""

    def __post_init__(self) -> None:
        """Check nothing."""


def rewriting(chain: DefenseChain) -> tuple[int, ...]:
    """Return the places of the members that rewrite messages and do not say what then shows."""
    return tuple(
        place
        for place, defense in enumerate(chain.defenses)
        if type(defense).read is Defense.read and type(defense).protect_batch is not Defense.protect_batch
    )


def fixed_rewritings(chain: DefenseChain, message: OwnMessage, at: ClientRound) -> tuple[int, ...]:
    """Return the places of the members that rewrite messages by a function without chance that has derivatives.

    Each is tried twice, with other draws. Labels and number of the batch are the same, as the attacker reads both.

    Args:
        chain: of the client.
        message: to try it on.
        at: the client's round, as the attacker knows it.
    """
    tried = replace(message, smashed=message.smashed.detach())
    return tuple(
        place for place in rewriting(chain) if _is_fixed(chain.defenses[place], tried, chain.round_of(place, at))
    )


def rewritten(chain: DefenseChain, places: tuple[int, ...], message: OwnMessage, at: ClientRound) -> Tensor:
    """Return activations (B, *cut shape) as the members at these places rewrite them; differentiable."""
    sent: SmashedBatch = message
    for place in places:
        sent = chain.defenses[place].protect_batch(sent, chain.round_of(place, at))
    return sent.smashed


def _is_fixed(defense: Defense, message: OwnMessage, at: ClientRound) -> bool:
    """Whether a defense's message depends on nothing but what is sent, with a slope to follow."""
    smashed = message.smashed
    with torch.enable_grad():
        tried = smashed.clone().requires_grad_()
        try:
            sent = defense.protect_batch(replace(message, smashed=tried), at).smashed
            again = defense.protect_batch(replace(message, smashed=tried), _elsewhere(at)).smashed
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

"""Who attacks, and what they see and may do: adversaries as sets of capabilities.

An attack states what it needs (`dtfl_private.attacking.base.AttackFacts.needs`). It runs only against an adversary that
has all of it, and what it gets to see is limited to what this adversary has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from dtfl_private.errors import InputError, unknown_name

Capability = Literal[
    "architecture",
    "client-weights",
    "smashed",
    "labels",
    "logits",
    "replies",
    "tail-gradients",
    "updates",
    "aggregate",
    "final-model",
    "auxiliary-data",
    "chooses-weights",
    "chooses-tier",
    "chooses-replies",
]
"""What an adversary has:

architecture: the network, the training procedure and the defenses with their settings, but not their draws.
client-weights: the weights that a client starts its round with.
smashed: each batch's activations at the cut, as they left the client.
labels: each batch's labels, as they left the client.
logits: what the client's own network says of each batch, where clients send that.
replies: the gradient at the cut that the server returns for each batch, where it returns one.
tail-gradients: the gradient that a client returns for each batch where it keeps the network's last modules, and what
    the server sent it for that.
updates: each single client's trained weights at the end of its round.
aggregate: their weighted mean over the clients that completed the round.
final-model: the global model after the last round.
auxiliary-data: labelled inputs of its own, like the clients' but none of those that it attacks.
chooses-weights: it sends the clients whatever weights it likes.
chooses-tier: it names whatever tier it likes.
chooses-replies: it returns whatever gradients it likes, where it returns some.
"""

MEANING: Mapping[Capability, str] = {
    "architecture": "knowledge of network and defenses",
    "client-weights": "the weights that a client starts from",
    "smashed": "the smashed data of each client",
    "labels": "the labels sent with them",
    "logits": "the clients' logits",
    "replies": "the gradients that the server returns",
    "tail-gradients": "the gradients before the clients' last modules",
    "updates": "the weight update of each single client",
    "aggregate": "the sum of the clients' weight updates",
    "final-model": "the final global model",
    "auxiliary-data": "auxiliary data",
    "chooses-weights": "the power to send other weights",
    "chooses-tier": "the power to name another tier",
    "chooses-replies": "the power to return other gradients",
}

AuxiliaryKind = Literal["same", "mixture", "client", "shifted", "architecture", "none"]
"""What an adversary knows in addition to what it sees: data of the same distribution, of the same with as many of each
class as the attacked clients have, those of another client, data of another distribution, the architecture only, or not
even that."""

WITH_DATA: frozenset[AuxiliaryKind] = frozenset({"same", "mixture", "client", "shifted"})


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """A party of the protocol that tries to learn more than it should.

    Attributes:
        name: as users write it.
        has: what it sees and may do, but for what it brings itself (``architecture``, ``auxiliary-data``).
        who: in words.
    """

    name: str
    has: frozenset[Capability]
    who: str

    def knowing(self, kind: AuxiliaryKind) -> frozenset[Capability]:
        """Return all that it has together with this auxiliary knowledge."""
        brought: set[Capability] = set()
        if kind != "none":
            brought.add("architecture")
        if kind in WITH_DATA:
            brought.add("auxiliary-data")
        return self.has | brought

    def without(self, hidden: frozenset[Capability]) -> "Adversary":
        """Return the same party where nobody has these."""
        return replace(self, has=self.has - hidden)


_CURIOUS: frozenset[Capability] = frozenset(
    {
        "client-weights",
        "smashed",
        "labels",
        "logits",
        "replies",
        "tail-gradients",
        "updates",
        "aggregate",
        "final-model",
    }
)

ADVERSARIES: Mapping[str, Adversary] = {
    adversary.name: adversary
    for adversary in (
        Adversary(
            name="server-honest-but-curious",
            has=_CURIOUS,
            who="the server, which follows the protocol and keeps all that it receives",
        ),
        Adversary(
            name="server-malicious",
            has=_CURIOUS | {"chooses-weights", "chooses-tier", "chooses-replies"},
            who="the server, which sends whatever weights and gradients and names whatever tier helps it",
        ),
        Adversary(
            name="server-with-secure-aggregation",
            has=frozenset({"client-weights", "aggregate", "final-model"}),
            who="the server, where secure aggregation shows it averages over clients only",
        ),
        Adversary(
            name="curious-client",
            has=frozenset({"client-weights", "final-model"}),
            who="a client, which sees the global weights of every round",
        ),
        Adversary(
            name="downlink-observer",
            has=frozenset({"client-weights", "replies", "final-model"}),
            who="a client, which also sees what the server sends the others",
        ),
        Adversary(
            name="model-recipient",
            has=frozenset({"final-model"}),
            who="whoever is given the final model",
        ),
    )
}

AUXILIARY_KINDS: tuple[AuxiliaryKind, ...] = get_args(AuxiliaryKind)


def find_adversary(name: str) -> Adversary:
    """Return the adversary of this name.

    Raises:
        InputError: there is none; the nearest is named.
    """
    if name not in ADVERSARIES:
        raise unknown_name("adversary", name, ADVERSARIES)
    return ADVERSARIES[name]


def require_shown(needs: frozenset[Capability], hidden: frozenset[Capability], attack: str, method: str) -> None:
    """Refuse an attack that needs what nobody has in a training method.

    Raises:
        InputError: the method hides something; the first is named.
    """
    for lacks in sorted(needs & hidden):
        raise InputError(
            f"{attack} needs {MEANING[lacks]} ({lacks}), which nobody has in a run of {method}: leave it out"
        )


def require(needs: frozenset[Capability], adversary: Adversary, kind: AuxiliaryKind, attack: str) -> None:
    """Refuse an attack whose needs an adversary does not meet.

    Raises:
        InputError: it lacks something; the first is named, with the adversaries that have it.
    """
    missing = sorted(needs - adversary.knowing(kind))
    if not missing:
        return
    lacks = missing[0]
    if lacks in ("architecture", "auxiliary-data"):
        remedy = "--aux same, shifted:DATASET" if lacks == "auxiliary-data" else "any --aux but none"
        raise InputError(f"{attack} needs {MEANING[lacks]} ({lacks}), which --aux {kind} does not bring: use {remedy}")
    able = [other.name for other in ADVERSARIES.values() if needs <= other.knowing("same")]
    raise InputError(
        f"{attack} needs {MEANING[lacks]} ({lacks}), which {adversary.name} does not have: "
        f"use --adversary {' or '.join(able)}"
    )

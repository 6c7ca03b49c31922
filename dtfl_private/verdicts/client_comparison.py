"""Leakage client by client: one comparison of the clients, at one tier by one metric, in audit.json."""

from typing import Annotated, Literal

from pydantic import Field

from dtfl_private.leakage.results.result import Finite, Name, Positive, Probability
from dtfl_private.verdicts.strict import Strict

LEVEL = 0.05
"""A difference with a p-value up to this is called beyond chance, and a client with one is said to stand out."""

Trait = Literal["label-entropy", "records", "oddness"]
"""What a client's leakage is compared with; see `ClientLeakage`."""

MAX_CLIENTS = 1_000_000


class ClientLeakage(Strict):
    """What leaks of one client.

    Attributes:
        client: id.
        n: of its records that were judged.
        value: mean of the metric over these.
        guess: the same of the trivial guess; None where that is the same for all.
        recovered: mean share of the way from the trivial guess to the truth, record by record: 0 is the guess, 1 the
            truth; the higher, the more exposed.
        shrunk, ci_low, ci_high: what ``recovered`` is expected to be for further records of this client, with its 95 %
            interval: few records say little, so clients with few are taken to be more like all others.
        above: whether it is above the clients that do not stand out more than itself.
        p_value: of a client being so far from these, or farther, in any of the clients, by chance.
        records: N_k.
        label_entropy: of its labels, bits.
        oddness: mean distance (root mean square over pixels) of its judged images to the nearest auxiliary image; None
            where there are none, or where no image was guessed.
    """

    client: Annotated[int, Field(ge=0)]
    n: Positive
    value: Finite
    guess: Finite | None
    recovered: Finite
    shrunk: Finite
    ci_low: Finite
    ci_high: Finite
    above: bool
    p_value: Probability
    records: Positive
    label_entropy: Annotated[Finite, Field(ge=0)]
    oddness: Annotated[Finite, Field(ge=0)] | None


class RankCorrelation(Strict):
    """Spearman's rank correlation of the clients' leakage (``recovered``) with a trait of theirs.

    Attributes:
        trait: which.
        value: of all clients.
        ci_low, ci_high: 95 % interval, over clients.
    """

    trait: Trait
    value: Annotated[Finite, Field(ge=-1, le=1)]
    ci_low: Annotated[Finite, Field(ge=-1, le=1)]
    ci_high: Annotated[Finite, Field(ge=-1, le=1)]


class ClientComparison(Strict):
    """The clients compared at one tier, all of them placed there, by one attack.

    Attributes:
        tier: client modules m.
        attack: whose guesses these are.
        metric: of ``value``.
        guess: name of the trivial guess.
        p_value: of clients that differ so much, or more, by chance.
        adjusted: the same, where all comparisons of the audit count as one (Holm 1979).
        deviation: standard deviation between clients of ``recovered``, without that between records.
        clients: by id.
        correlations: with clients' traits; empty of too few clients.
    """

    tier: Positive
    attack: Name
    metric: Name
    guess: Name
    p_value: Probability
    adjusted: Probability
    deviation: Annotated[Finite, Field(ge=0)]
    clients: Annotated[tuple[ClientLeakage, ...], Field(min_length=2, max_length=MAX_CLIENTS, strict=False)]
    correlations: Annotated[tuple[RankCorrelation, ...], Field(max_length=10, strict=False)] = ()

    @property
    def differs(self) -> bool:
        """Whether the clients differ beyond chance."""
        return self.adjusted <= LEVEL

    @property
    def more_exposed(self) -> list[int]:
        """The clients that are more exposed than others, beyond chance; none where clients do not differ so."""
        return [one.client for one in self._standing_out if one.above]

    @property
    def less_exposed(self) -> list[int]:
        """The clients that this attack reads less well than others, beyond chance; likewise."""
        return [one.client for one in self._standing_out if not one.above]

    @property
    def _standing_out(self) -> list[ClientLeakage]:
        return [one for one in self.clients if one.p_value <= LEVEL] if self.differs else []

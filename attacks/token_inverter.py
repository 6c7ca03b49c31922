"""A network trained on auxiliary texts reads tokens off smashed data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ONLY_TOKENS, AttackFacts, Target, TokenReconstruction, name_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.token_inverters import tokens_read_by, trained_readers
from dtfl_private.attacks.shared.token_network import require_rows
from dtfl_private.attacks.shared.token_order import with_rows_in_order
from dtfl_private.attacks.shared.token_training import NORMAL_STEPS, TokenTraining


@dataclass(frozen=True, kw_only=True)
class TokenInverter(TokenReconstruction):
    """Train a Transformer that reads tokens off activations, on auxiliary texts sent through the client's own program.

    The learnt inversion of Chen et al. 2025 (BiSR, KDD, step 1), where the client half is known: batches of the
    victims' size go through it and the defenses' own samplers, with fresh draws. The network attends to all places of a
    text, and starts from the nearest of what activations are on average where each token is (Fisher's discriminant). As
    few texts are the rule, half of them are varied in training: a random share of their tokens is replaced by others.

    Where tokens were shuffled (`token-shuffle`), rows are first dealt to places: each row's likeliest token by these
    means is taken off it, what is left tells the place (Hungarian assignment), and the network learns from rows in that
    order, mistakes included.

    Where it reads no more of the auxiliary validation texts than a trivial guess, such as the most frequent token
    everywhere, has aright, that guess is returned. Places of zeros are padding and are returned as such.

    Attributes:
        size: of the network: 1, 2 or 4 blocks of width 64, 128 or 256.
        steps: of training, of 32 texts each; 0 for as many as the effort allows.
        lr: first learning rate of Adam; falls as a half cosine.
        varied: learn from varied auxiliary texts too.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="network trained on auxiliary texts sent through the known client half",
        source="Chen et al. 2025, KDD",
        inputs=ONLY_TOKENS,
        amortised=True,
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"steps": NORMAL_STEPS}

    size: Literal["small", "medium", "large"] = "medium"
    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3
    varied: bool = True

    def check(self, target: Target) -> None:
        """Refuse images, and activations that are not one row for each place."""
        super().check(target)
        require_rows(target, name_of(self))

    @property
    def training(self) -> TokenTraining:
        """How its networks are trained."""
        return TokenTraining(
            size=self.size,
            steps=self.budget["steps"],
            lr=self.lr,
            adaptive=self.adaptive,
            varied=self.varied,
        )

    def tokens(self, view: View) -> Tensor:
        """Return tokens (victims, T)."""
        ordered = with_rows_in_order(view, adaptive=self.adaptive)
        return tokens_read_by(ordered, trained_readers(ordered, self.training))

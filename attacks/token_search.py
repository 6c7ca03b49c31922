"""Search for the texts that explain what was received best, starting from what a trained network reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import ONLY_TOKENS, AttackFacts, Target, TokenReconstruction, name_of
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.optimization import Ticks, victims_digest
from dtfl_private.attacks.shared.bigrams import Bigrams
from dtfl_private.attacks.shared.release_fit import ReleaseFit, without_chance
from dtfl_private.attacks.shared.releaser import ReleasedImages, Releaser, batch_size, validation_release
from dtfl_private.attacks.shared.text_search import TextSearch, Weights
from dtfl_private.attacks.shared.token_inverters import TokenReader, tokens_read_by, trained_readers
from dtfl_private.attacks.shared.token_network import require_rows
from dtfl_private.attacks.shared.token_order import with_rows_in_order
from dtfl_private.attacks.shared.token_training import NORMAL_STEPS, known_places
from dtfl_private.attacks.token_inverter import TokenInverter
from dtfl_private.protocol.messages import Seen

# Forward passes for each batch of victims.
SEARCH_STEPS = 600
# Weights to choose from, and by how many batches of validation texts, with this share of the steps.
WEIGHTS = (Weights(1.0, 0.0), Weights(1.0, 0.3), Weights(0.3, 0.3), Weights(0.1, 0.1), Weights(0.0, 1.0))
TUNING_BATCHES = 2
# Batches of texts that residuals are learnt from, at most.
LEARNT_FROM = 16
# Share of the attack's time that is over, about, when readers are trained.
READ = 0.5


class Way(NamedTuple):
    """How the terms are weighed, and whether the release's likelihood is that of known noise or learnt."""

    weights: Weights
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenSearch(TokenReconstruction):
    """Start at what `token-inverter` reads, and replace tokens as long as the client half's activations fit better.

    The second step of Chen et al. 2025 (BiSR, KDD), where the client half is known. What is minimised is the negative
    log likelihood of the release, with noise that is known or learnt from auxiliary releases, less the log
    probabilities of the tokens by the network, and of the text by its pairs of neighbours (Kneser-Ney, from the
    auxiliary texts). Gradient descent on vectors in place of those that the client half looks up, and the likeliest
    path by the pairs, give further starts; then tokens are replaced one by one, each judged by a forward pass of the
    whole text. So the end is never worse, by what is minimised, than what the network reads.

    How the terms are weighed, and whether the likelihood is that of known noise or learnt, is chosen by auxiliary
    validation texts; where no search reads more of their tokens than the network, the network's reading is returned.

    Attributes:
        size: of the network.
        reader_steps: of its training; 0 for as many as the effort allows.
        steps: forward passes of the search for each batch; 0 likewise.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="what a trained network reads, refined token by token until the activations fit",
        source="Chen et al. 2025, KDD",
        inputs=ONLY_TOKENS,
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"reader_steps": NORMAL_STEPS, "steps": SEARCH_STEPS}

    size: Literal["small", "medium", "large"] = "medium"
    reader_steps: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=0)] = 0

    def check(self, target: Target) -> None:
        """Refuse images, and activations that are not one row for each place."""
        super().check(target)
        require_rows(target, name_of(self))

    def tokens(self, view: View) -> Tensor:
        """Return tokens (victims, T); cached."""
        name, ordered = f"token search/{self}/{victims_digest(view)}", with_rows_in_order(view, adaptive=self.adaptive)
        return view.keep(name, lambda: {"tokens": self._found(ordered)})["tokens"]

    def _found(self, view: View) -> Tensor:
        inverter = TokenInverter(size=self.size, steps=self.reader_steps, adaptive=self.adaptive, effort=self.effort)
        readers, searching = trained_readers(view.part(0, READ), inverter.training), view.part(READ, 1)
        received = sum(len(seen.batches) for seen in view.seen)
        tick = Ticks(searching, self.budget["steps"] * (received + TUNING_BATCHES * len(WEIGHTS)))
        way = self._way(view, readers.of(view.seen[0]), tick)
        if way is None:
            return tokens_read_by(view, readers)
        parts = []
        for seen in view.seen:
            search, program = self.search(view, seen, readers.of(seen), way), self.program(view, seen)
            for batch in seen.batches:
                sender = program.sending(batch.labels, batch.batch)
                parts.append(search.of_batch(sender, batch.smashed, batch.labels, tick))
        return torch.cat(parts).cpu()

    def _way(self, view: View, reader: TokenReader, tick: Ticks) -> Way | None:
        """Return the way by which most validation tokens are found; None if the reader finds no fewer."""
        seen = view.seen[0]
        batches, program = validation_release(view, seen, self.adaptive, TUNING_BATCHES), self.program(view, seen)
        best, most = None, _right(view, batches, [reader.tokens(sent.smashed, sent.labels) for sent in batches])
        made = self.search(view, seen, reader, Way(WEIGHTS[0]))
        for way in self._ways(program, batches):
            search = replace(made, weights=way.weights, fit=replace(made.fit, exact=way.exact))
            found = [search.of_batch(sent.sent_by(program), sent.smashed, sent.labels, tick) for sent in batches]
            if (right := _right(view, batches, found)) > most:
                best, most = way, right
        return best

    @staticmethod
    def _ways(program: ClientProgram, batches: Sequence[ReleasedImages]) -> Sequence[Way]:
        """Return the ways to try: with the noise's own likelihood, too, where defenses say what it is."""
        known = program.read(batches[0].smashed).has_known_noise
        return [*(Way(weights) for weights in WEIGHTS), *([Way(WEIGHTS[0], exact=True)] if known else [])]

    def search(self, view: View, seen: Seen, reader: TokenReader, way: Way) -> TextSearch:
        """Return the search for texts of a client, whose reader is given, on the way that is."""
        return TextSearch(
            reader=reader,
            bigrams=_bigrams(view),
            fit=replace(self._fit(view, seen), exact=way.exact),
            weights=way.weights,
            steps=self.budget["steps"],
        )

    def program(self, view: View, seen: Seen) -> ClientProgram:
        """Return a client's program as the search runs it."""
        return without_chance(view.program(seen, adaptive=self.adaptive))

    def _fit(self, view: View, seen: Seen) -> ReleaseFit:
        """Return how well texts explain releases of a client, learnt from auxiliary ones."""
        size, own = batch_size([seen]), view.auxiliary
        released = Releaser(view, [seen], self.adaptive).release(
            own.images[: LEARNT_FROM * size], own.labels[: LEARNT_FROM * size], "residuals"
        )
        batches = [
            ReleasedImages(*parts) for parts in zip(*(torch.split(part, size) for part in released), strict=True)
        ]
        return ReleaseFit.learnt(self.program(view, seen), batches)


def _bigrams(view: View) -> Bigrams:
    """Return the pairs of the auxiliary texts."""
    texts, vocabulary = view.auxiliary.images, view.vocabulary
    real = torch.ones_like(texts, dtype=torch.bool) if vocabulary.padding is None else texts != vocabulary.padding
    return Bigrams.of(texts, real, vocabulary.size, view.device)


def _right(view: View, batches: Sequence[ReleasedImages], found: Sequence[Tensor]) -> int:
    """Return how many tokens of validation texts were found."""
    return sum(
        int(((tokens == sent.images) & known_places(sent, view.vocabulary)).sum())
        for sent, tokens in zip(batches, found, strict=True)
    )

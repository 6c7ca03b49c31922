"""Search for pixels behind a shuffle: where pieces belong is sought along with them."""

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import Tensor

from dtfl_private.attacking.program import ClientProgram, Receive
from dtfl_private.attacking.view import View
from dtfl_private.attacks.optimization import Pace, Ticks
from dtfl_private.attacks.shared.arrangement import Puzzle
from dtfl_private.attacks.shared.fallback import guesses_of
from dtfl_private.attacks.shared.feature_matching import match, residuals
from dtfl_private.attacks.shared.guesses import Guesses, Rule, best_rule
from dtfl_private.attacks.shared.releaser import ReleasedImages, validation_release
from dtfl_private.protocol.messages import SmashedBatch

# Searches from the decoded images: how they proceed, and weights of what is likely and of the distance to the start.
PIXELS = Pace(0.02, None, 0.0)
LIKELY_FADING, LIKELY = Pace(0.1, 0.99, 4.0, likely=True), Pace(0.1, 0.99, 0.0, likely=True)
SEARCHES = (
    (PIXELS, 1e-4, 0.0),
    (PIXELS, 1e-2, 0.0),
    (PIXELS, 1e-3, 0.3),
    (PIXELS, 1e-2, 3.0),
    (LIKELY_FADING, 1e-2, 0.0),
    (LIKELY, 1e-3, 0.0),
    (LIKELY, 1e-2, 0.0),
    (LIKELY, 1e-1, 0.0),
)
VALIDATION_BATCHES = 2


class ShuffledSearch:
    """Searches for pixels whose activations, in some order, are those received, from decoded images on.

    Args:
        view: of the adversary; told of the steps by which `rule` is found.
        puzzle: the shuffle.
        steps: of each search.
    """

    def __init__(self, *, view: View, puzzle: Puzzle, steps: int) -> None:
        self._view, self._puzzle, self._steps = view, puzzle, steps
        self._ways = [
            pace.matching(view, steps=steps, smoothness=smoothness, proximity=proximity)
            for pace, smoothness, proximity in SEARCHES
        ]
        self._trivial = list(guesses_of(view.auxiliary).values())
        self.candidates = range(1, 1 + len(self._ways) + len(self._trivial))

    def guesses(
        self,
        program: ClientProgram,
        batch: SmashedBatch | ReleasedImages,
        decoded: Tensor,
        tick: Callable[[], None],
        wanted: Collection[int],
    ) -> Guesses:
        """Return the decoded images (B, C, H, W) of a batch, and those wanted of searches' from them and trivial ones.

        Candidates by number: 0 is the decoded images, then come searches, then trivial guesses.
        """
        smashed = batch.smashed.to(decoded.device)

        def arrange(activations: Tensor) -> Tensor:
            return self._puzzle.put(smashed, self._puzzle.match(smashed, activations))

        make: list[Callable[[], Tensor]] = [lambda: decoded]
        make += [partial(match, program, smashed, decoded, way, tick, arrange) for way in self._ways]
        make += [partial(guess, batch.labels.to(decoded.device)) for guess in self._trivial]
        images = {number: make[number]() for number in (0, *wanted)}
        with torch.no_grad():
            left = {number: residuals(program, one, arrange(program.expected(one))) for number, one in images.items()}
        return Guesses(images=images, residuals=left)

    def work(self, wanted: Collection[int]) -> int:
        """Return the steps of those searches that are among the wanted candidates."""
        return self._steps * sum(number <= len(SEARCHES) for number in wanted)

    def rule(self, decode: Receive) -> Rule:
        """Return which candidate serves best on auxiliary validation images, decoded as is given."""
        seen = self._view.seen[0]
        program = self._view.program(seen, adaptive=True)
        ticks = Ticks(self._view, self._steps * len(SEARCHES) * VALIDATION_BATCHES)
        found = []
        for batch in validation_release(self._view, seen, True, VALIDATION_BATCHES):
            decoded = decode(program, batch.smashed, batch.labels)
            found.append((partial(self.guesses, batch.sent_by(program), batch, decoded, ticks), batch.images))
        return best_rule(found, self.candidates)

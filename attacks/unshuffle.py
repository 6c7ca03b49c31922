"""Put shuffled pieces of activations back in order, then decode as if nothing had been shuffled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target, name_of
from dtfl_private.attacking.program import ClientProgram, Receive, batches_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.optimization import SEARCH_STEPS, Ticks
from dtfl_private.attacks.shared.arrangement import Puzzle, puzzle_of
from dtfl_private.attacks.shared.decoder_training import NORMAL_STEPS, DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import TrainedDecoder, trained_decoder
from dtfl_private.attacks.shared.exchange_matcher import ExchangeMatcher, train_exchange_matcher
from dtfl_private.attacks.shared.guesses import needed
from dtfl_private.attacks.shared.inverse_network import map_shape
from dtfl_private.attacks.shared.piece_matcher import PieceMatcher, train_matcher
from dtfl_private.attacks.shared.releaser import batch_size, by_download, fingerprint
from dtfl_private.attacks.shared.shuffled_search import ShuffledSearch
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, SmashedBatch

# A second decoder is worth its time if this share of pieces more is in place than when the first was trained.
WORTH = 0.02
# Shares of the attack's time that are over, about, when its networks are trained and when the search is tuned.
SOLVED, TUNED = 0.6, 0.8


@dataclass(frozen=True, kw_only=True)
class Unshuffle(Reconstruction):
    """Match pieces to places, decode, and match again to what the decoded images would have sent.

    A network from pieces to slots is trained on auxiliary records, whose pieces the adversary can put in order as it
    runs the client's program itself; an assignment of least cost (Hungarian method, Kuhn 1955) puts each record in
    order. A decoder is trained on activations put back in the same way, mistakes included. Its images are then sent
    through the known client half, and the pieces received are assigned anew by their distance from those: analysis by
    synthesis. From there pixels are searched for, by gradient, whose activations are the pieces received, which are
    assigned anew every few steps. Whether the decoded or the found images or a trivial guess are taken is decided on
    auxiliary images.
    An order that lasts is found from all records of a client together. Where records exchange
    pieces, which keep their places, the network tells instead which of a batch's pieces fits the rest of a record.

    Assumes that the adversary knows which shuffle it is and how large its pieces are (``architecture``), no order.
    Defenses that come after a shuffle, such as noise, are matched through: the pieces learnt from have passed them.

    Attributes:
        size: of the decoders' network.
        decoder_steps: of a decoder's training; 0 for as many as the effort allows.
        matching_epochs: passes over the auxiliary images at most, of the matcher.
        refinements: how often images are decoded and the pieces matched to them.
        steps: of each search for pixels; 0 for as many as `optimization` takes.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="learnt matching of pieces to places, Hungarian assignment, decoder; matched again to its images",
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"decoder_steps": NORMAL_STEPS, "steps": SEARCH_STEPS}

    size: Literal["small", "medium", "large", "best"] = "medium"
    decoder_steps: Annotated[int, Field(ge=0)] = 0
    matching_epochs: Annotated[int, Field(ge=1)] = 15
    refinements: Annotated[int, Field(ge=0)] = 3
    steps: Annotated[int, Field(ge=0)] = 0

    def check(self, target: Target) -> None:
        """Refuse runs without a shuffle, and activations that are no map."""
        super().check(target)
        if not self.adaptive:
            raise InputError(f"{name_of(self)} is about a defense and knows it: leave adaptive=false out")
        map_shape(target.cut_shape, name_of(self))
        puzzle_of(target.defense, target.cut_shape, name_of(self))

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        groups = by_download(view.seen)
        solvers = {
            name: self._solver(view.part(SOLVED * number / len(groups), SOLVED * (number + 1) / len(groups)), group)
            for number, (name, group) in enumerate(groups.items())
        }
        search = ShuffledSearch(
            puzzle=puzzle_of(view.defense, view.cut_shape, name_of(self)),
            steps=self.budget["steps"],
            view=view.part(SOLVED, TUNED),
        )
        rule = search.rule(solvers[fingerprint(view.seen[0].download)].decode)
        wanted = needed([rule], search.candidates)
        ticks = Ticks(view.part(TUNED, 1), search.work(wanted) * sum(len(seen.batches) for seen in view.seen))
        parts = []
        for seen in view.seen:
            solver, program = solvers[fingerprint(seen.download)], view.program(seen, adaptive=True)
            decoded = torch.split(solver.images(seen), [len(batch.labels) for batch in seen.batches])
            for batch, images in zip(seen.batches, decoded, strict=True):
                sender = program.sending(batch.labels, batch.batch)
                parts.append(search.guesses(sender, batch, images, ticks, wanted).chosen(rule))
        return torch.cat(parts).cpu()

    def _solver(self, view: View, group: Sequence[Seen]) -> "_Solver":
        puzzle = puzzle_of(view.defense, view.cut_shape, name_of(self))
        lesson = _Lesson(view.part(0, 0.2), puzzle, group)
        matcher = lesson.matcher(self.matching_epochs)
        solver = _Solver(view, puzzle, matcher)
        # Pieces are put back by hand, so that the decoder's own share of the defenses is what is left of them.
        training = DecoderTraining(size=self.size, steps=self.budget["decoder_steps"], adaptive=True)
        solver.decoder = _decoder(view.part(0.2, 0.6), f"matched/{self}", solver.first, group, training)
        if self.refinements == 0:
            return solver
        solver.refinements = self.refinements
        if lesson.gain(solver) > WORTH:
            better = _Solver(view, puzzle, matcher)
            better.before = solver
            better.decoder = _decoder(view.part(0.6, 1), f"refined/{self}", solver.refined, group, training)
            better.refinements = 1
            return better
        return solver


def _decoder(
    view: View, name: str, receive: Receive, group: Sequence[Seen], training: DecoderTraining
) -> TrainedDecoder:
    """Return a decoder of what is made of the releases; the victims' own are not needed for it."""
    return trained_decoder(view.derived(f"unshuffle/{name}", group, receive), group, training)


class _Solver:
    """Puts activations in order, and decodes them.

    Args:
        view: of the adversary.
        puzzle: the shuffle.
        matcher: of pieces to slots, or to records.
    """

    decoder: TrainedDecoder

    def __init__(self, view: View, puzzle: Puzzle, matcher: PieceMatcher | ExchangeMatcher) -> None:
        self._view, self._puzzle, self._matcher = view, puzzle, matcher
        self.refinements = 0
        self.before: _Solver | None = None

    def first(self, program: ClientProgram, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return activations as well in order as the matcher, or the solver before, can put them."""
        if self.before is not None:
            return self.before.refined(program, smashed, labels)
        if isinstance(self._matcher, ExchangeMatcher):
            return self._puzzle.put(smashed, self._matcher.order(self._puzzle, smashed, labels))
        costs = self._matcher.costs(self._puzzle.groups(smashed))
        return self._puzzle.put(smashed, self._puzzle.solve(costs))

    def refined(self, program: ClientProgram, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return activations (B, *cut shape) of a batch in the order that fits the images decoded from them."""
        ordered = self.first(program, smashed, labels)
        for _ in range(self.refinements):
            with torch.no_grad():
                synthetic = program.activations(self.decoder.decode_by_network(ordered, labels))
            ordered = self._puzzle.put(smashed, self._puzzle.match(smashed, synthetic))
        return ordered

    def images(self, seen: Seen) -> Tensor:
        """Return the images of a client's batches, an order that lasts being sought in all of them together."""
        program = self._view.program(seen, adaptive=True)
        if not self._puzzle.lasting or len({len(batch.labels) for batch in seen.batches}) > 1:
            parts = [self.decode(program, batch.smashed, batch.labels) for batch in seen.batches]
            return torch.cat(parts)
        whole = _joined(seen)
        return self.decode(program, whole.smashed, whole.labels)

    def decode(self, program: ClientProgram, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return the images (B, C, H, W) of activations as they were received."""
        return self.decoder.decode_by_network(self.refined(program, smashed, labels), labels)


def _joined(seen: Seen) -> SmashedBatch:
    smashed = torch.cat([batch.smashed for batch in seen.batches])
    return replace(seen.batches[0], smashed=smashed, labels=torch.cat([batch.labels for batch in seen.batches]))


class _Lesson:
    """Auxiliary records whose pieces the adversary has put in order itself.

    It runs the program once with the defenses and once without, and assigns each piece released to the nearest of the
    same record's: this holds whatever else the defenses do to the pieces.
    """

    def __init__(self, view: View, puzzle: Puzzle, group: Sequence[Seen]) -> None:
        self._view, self._puzzle, self._group = view, puzzle, group

    def matcher(self, epochs: int) -> PieceMatcher | ExchangeMatcher:
        """Return a matcher; cached for other attacks on the same weights."""
        slots, values = self._puzzle.pieces(torch.empty(2, *self._view.cut_shape)).shape[1:]
        matcher: PieceMatcher | ExchangeMatcher = PieceMatcher(slots, values)
        if not self._puzzle.within_record:
            matcher = ExchangeMatcher(slots, values, self._view.classes)
        name = f"matcher/{fingerprint(self._group[0].download)}/{batch_size(self._group)}/{self._puzzle}/{epochs}"
        matcher.load_state_dict(dict(self._view.keep(name, lambda: self._train(epochs).state_dict())))
        return matcher.to(self._view.device)

    def _train(self, epochs: int) -> PieceMatcher | ExchangeMatcher:
        data = self._view.auxiliary
        ordered, labels = self._ordered(data.images, data.labels, "train")
        if not self._puzzle.within_record:
            size = batch_size(self._group)
            return train_exchange_matcher(self._view, ordered, labels, self._puzzle.share, size, epochs)
        validation, _ = self._ordered(data.validation_images, data.validation_labels, "validation")
        return train_matcher(self._view, self._puzzle, ordered, validation, epochs)

    @torch.no_grad()
    def _ordered(self, images: Tensor, labels: Tensor, use: str) -> tuple[Tensor, Tensor]:
        """Return the pieces (N, slots, values) of released records, in order, and their labels."""
        parts, kinds = [], []
        for program, own, own_labels in self._batches(images, labels, use):
            sent = program.release(own, own_labels)
            parts.append(self._puzzle.pieces(self._puzzle.put(sent, self._order(program, sent, own))))
            kinds.append(own_labels)
        return torch.cat(parts), torch.cat(kinds)

    @torch.no_grad()
    def gain(self, solver: _Solver) -> float:
        """Return how much larger the share of pieces in place is after refinement, on validation images."""
        data, gains = self._view.auxiliary, []
        for program, own, labels in self._batches(data.validation_images, data.validation_labels, "gain"):
            sent = program.release(own, labels)
            truth = self._puzzle.put(sent, self._order(program, sent, own))
            right = [
                (self._puzzle.groups(guess) == self._puzzle.groups(truth)).all(dim=2).double().mean()
                for guess in (solver.first(program, sent, labels), solver.refined(program, sent, labels))
            ]
            gains.append(right[1] - right[0])
        return float(torch.stack(gains).mean())

    @torch.no_grad()
    def _order(self, program: ClientProgram, sent: Tensor, images: Tensor) -> Tensor:
        return self._puzzle.match(sent, program.activations(images))

    def _batches(self, images: Tensor, labels: Tensor, use: str) -> Sequence[tuple[ClientProgram, Tensor, Tensor]]:
        """Return batches of the victims' size with a program for each: a lasting secret must not be learnt."""
        batches, chance = [], self._view.chance("lesson", use)
        for turn, batch in enumerate(batches_of(len(images), batch_size(self._group), chance)):
            seen = self._group[turn % len(self._group)]
            program = self._view.program(seen, adaptive=True, draw=f"lesson/{use}/{turn}")
            batches.append((program, images[batch].to(program.device), labels[batch].to(program.device)))
        return batches

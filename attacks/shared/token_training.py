"""How networks that read tokens are trained on what the client's own program makes of auxiliary texts.

Each release is of fresh variations of the texts (`varied_texts`), with fresh draws of the defenses. What is kept is the
average of the weights over the last steps, at the step where it read most validation texts' tokens aright.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacks.shared.decoder_training import STEP, WARM_UP, drawn_places, forgetting, in_batches
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.releaser import ReleasedImages, Releaser
from dtfl_private.attacks.shared.token_network import Size, TokenNetwork
from dtfl_private.attacks.shared.varied_texts import token_shares, varied_texts
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.models.padding import real_places
from dtfl_private.protocol.vocabulary import Vocabulary

# Texts at a time without gradients.
CHUNK = 64
# A release is of so many texts, and goes through training so often; the next one has other variations and draws.
FEWEST_RELEASED, MOST_RELEASED = 512, 4096
PASSES = 2
NORMAL_STEPS = 3000
# Steps between looks at the validation texts, of which there are at least so many; at so many of these texts at most.
LOOK_EVERY = 100
FEWEST_LOOKS = 5
MOST_LOOKED_AT = 256
# Logits of one step, at most: of a large vocabulary not all places take part in each.
MOST_LOGITS = 2**24


@dataclass(frozen=True, kw_only=True)
class TokenTraining:
    """How networks that read tokens are trained.

    Attributes:
        size: of the network.
        steps: of Adam, of `STEP` texts each.
        lr: first learning rate; falls as a half cosine.
        adaptive: through the defenses' samplers.
        varied: on variations of the auxiliary texts; otherwise on the texts as they are.
    """

    size: Size = "medium"
    steps: int = NORMAL_STEPS
    lr: float = 2e-3
    adaptive: bool = True
    varied: bool = True


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Where a network learns from: releases of the adversary's texts, and chance.

    Attributes:
        own: the adversary's.
        vocabulary: what their numbers are.
        releaser: makes releases of them.
        chance: of orders and variations.
    """

    own: Auxiliary
    vocabulary: Vocabulary
    releaser: Releaser
    chance: torch.Generator

    def first(self) -> ReleasedImages:
        """Return a release of the texts as they are."""
        return self.releaser.release(self.own.images, self.own.labels, "train", 0)

    def validation(self) -> ReleasedImages:
        """Return a release of the validation texts, or of the first of many."""
        images, labels = self.own.validation_images[:MOST_LOOKED_AT], self.own.validation_labels[:MOST_LOOKED_AT]
        return self.releaser.release(images, labels, "validate")

    def batches(self, steps: int, *, vary: bool) -> Iterator[ReleasedImages]:
        """Yield batches to train on without end, from releases of texts drawn without repetition, for so many steps."""
        texts, labels = self.own.images, self.own.labels
        shares = token_shares(texts, self.vocabulary)
        count = min(max(len(texts), FEWEST_RELEASED), MOST_RELEASED, max(FEWEST_RELEASED, steps * STEP))
        for number in itertools.count(1):
            drawn = drawn_places(len(texts), count, self.chance)
            own = varied_texts(texts[drawn], shares, self.vocabulary, self.chance) if vary else texts[drawn]
            released = self.releaser.release(own, labels[drawn], "train", number)
            yield from in_batches(released, self.chance, passes=PASSES)


class Reading(NamedTuple):
    """How well tokens of released texts are read.

    Attributes:
        accuracy: share of the tokens at real places that are read aright.
        loss: mean cross-entropy of them, in nats; not finite where only a guess was made.
    """

    accuracy: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """What is greater for a better one."""
        return self.accuracy, -self.loss


def train_network(
    network: TokenNetwork, texts: Texts, training: TokenTraining, advance: Callable[[int, int], None]
) -> tuple[TokenNetwork, Reading]:
    """Train a network; return the average of its weights that read best, and how well it reads validation texts."""
    validation = texts.validation()
    average = AveragedModel(network, multi_avg_fn=forgetting)
    optimizer = EagerAdam(network.parameters(), lr=training.lr, fused=True)
    look_every = max(1, min(LOOK_EVERY, training.steps // FEWEST_LOOKS))
    best, reading = copy.deepcopy(network), None
    batches = texts.batches(training.steps, vary=training.varied)
    for step, batch in enumerate(itertools.islice(batches, training.steps), start=1):
        warm = min(1.0, step / WARM_UP)
        optimizer.param_groups[0]["lr"] = training.lr * warm * half_cosine(step - 1, training.steps)
        loss = _loss(network, batch, texts.vocabulary, texts.chance)
        if loss is not None:
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            average.update_parameters(network)
        if step % look_every == 0 or step == training.steps:
            latest = cast(TokenNetwork, average.module)
            now = reading_of(latest.eval(), validation, texts.vocabulary)
            if reading is None or now.rank > reading.rank:
                best, reading = copy.deepcopy(latest), now
        advance(step, training.steps)
    assert reading is not None
    return best, reading


def known_places(released: ReleasedImages, vocabulary: Vocabulary) -> Tensor:
    """Return which places (N, T) of released texts are those of tokens, and seen to be."""
    real = real_places(released.smashed)
    return real if vocabulary.padding is None else real & (released.images != vocabulary.padding)


def _loss(
    network: TokenNetwork, batch: ReleasedImages, vocabulary: Vocabulary, chance: torch.Generator
) -> Tensor | None:
    """Return the mean cross-entropy of a batch's tokens, of as many places as `MOST_LOGITS` allows; None of none."""
    known = known_places(batch, vocabulary)
    places = known.flatten().nonzero().flatten()
    if not len(places):
        return None
    most = max(1, MOST_LOGITS // vocabulary.size)
    if len(places) > most:
        places = places[torch.randperm(len(places), generator=chance)[:most].to(places.device)]
    own, hidden = network.features(batch.smashed, batch.labels, real_places(batch.smashed))
    logits = network.read(own.flatten(0, 1)[places], hidden.flatten(0, 1)[places])
    return F.cross_entropy(logits.float(), batch.images.flatten()[places])


@torch.no_grad()
def reading_of(network: TokenNetwork, released: ReleasedImages, vocabulary: Vocabulary) -> Reading:
    """Return how well a network reads released texts."""
    right, loss, count = 0, 0.0, 0
    for parts in zip(*(torch.split(part, CHUNK) for part in released), strict=True):
        batch = ReleasedImages(*parts)
        known = known_places(batch, vocabulary)
        logits = network(batch.smashed, batch.labels, real_places(batch.smashed))[known].float()
        wanted = batch.images[known]
        right += int((logits.argmax(dim=-1) == wanted).sum())
        loss += float(F.cross_entropy(logits, wanted, reduction="sum").double())
        count += len(wanted)
    return Reading(right / max(1, count), loss / max(1, count))

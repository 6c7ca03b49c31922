"""Readers of clients' rounds: trained networks, one for each distinct download; shared by several attacks.

Chance comes from the repetition's seed and not from the attack's stream, so that the cached network is the same
whichever attack trains it. Where a network reads no more of the validation texts than a trivial guess has aright, which
needs no smashed data, the best of these takes its place.

readers = trained_readers(view, TokenTraining())
tokens = readers.of(seen).tokens(smashed, labels)
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.releaser import Releaser, batch_size, by_download, fingerprint
from dtfl_private.attacks.shared.token_means import token_means
from dtfl_private.attacks.shared.token_network import TokenNetwork, shapes_of
from dtfl_private.attacks.shared.token_training import CHUNK, Reading, Texts, TokenTraining, known_places, train_network
from dtfl_private.attacks.shared.varied_texts import token_shares
from dtfl_private.leakage.token_baselines import ATTAINABLE, TOKEN_BASELINES, KnownTexts
from dtfl_private.models.padding import real_places
from dtfl_private.protocol.messages import Seen
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import isolated, torch_stream

ACCURACY, LOSS = "validation accuracy", "validation loss"


class TokenReader:
    """A trained network, or a trivial guess in its place.

    Args:
        network: trained.
        device: to compute on.
        vocabulary: what the tokens are.
        instead: from labels as sent (N,) to tokens (N, T), if the network serves no better.

    Attributes:
        vocabulary: what the tokens are.
        reads: whether it goes by what it is shown; otherwise it guesses.
    """

    def __init__(
        self,
        network: TokenNetwork,
        device: str,
        vocabulary: Vocabulary,
        instead: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._network = network.to(device).eval().requires_grad_(requires_grad=False)
        self._device, self._instead = device, instead
        self.vocabulary, self.reads = vocabulary, instead is None

    def tokens(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return tokens (N, T), int64, of activations (N, T, C) and labels (N,); padding where nothing is real."""
        if self._instead is not None:
            return self.padded(self._instead(labels).to(self._device), smashed)
        pairs = zip(torch.split(smashed, CHUNK), torch.split(labels, CHUNK), strict=True)
        return self.padded(torch.cat([self.log_shares(z, y).argmax(dim=-1) for z, y in pairs]), smashed)

    @torch.no_grad()
    def log_shares(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Return the network's log probability (N, T, V) of each token at each place, whether it serves or not."""
        own = smashed.to(self._device)
        logits: Tensor = self._network(own, labels.to(self._device), real_places(own))
        return logits.float().log_softmax(dim=-1)

    def padded(self, tokens: Tensor, smashed: Tensor) -> Tensor:
        """Return tokens (N, T) with padding where activations (N, T, C) are zero throughout."""
        if self.vocabulary.padding is None:
            return tokens
        return tokens.masked_fill(~real_places(smashed.to(tokens.device)), self.vocabulary.padding)


class TokenReaders:
    """The readers of all clients' rounds: one for each distinct download."""

    def __init__(self, by_download: Mapping[str, TokenReader]) -> None:
        self._by_download = by_download

    def of(self, seen: Seen) -> TokenReader:
        """Return the reader for the weights that a client began with."""
        return self._by_download[fingerprint(seen.download)]


def trained_readers(view: View, training: TokenTraining) -> TokenReaders:
    """Return readers for all rounds of ``view.seen``, trained on auxiliary texts; cached for other attacks."""
    groups = by_download(view.seen)
    return TokenReaders(
        {
            name: _trained_reader(view.part(number / len(groups), (number + 1) / len(groups)), group, training)
            for number, (name, group) in enumerate(groups.items())
        }
    )


def tokens_read_by(view: View, readers: TokenReaders) -> Tensor:
    """Return the victims' tokens (victims, T) as their readers see them, on the CPU."""
    parts = [readers.of(seen).tokens(batch.smashed, batch.labels) for seen in view.seen for batch in seen.batches]
    return torch.cat(parts).cpu()


def _trained_reader(view: View, group: Sequence[Seen], training: TokenTraining) -> TokenReader:
    """Return a reader for clients' rounds that began with the same weights."""
    settings = f"{training.size}/{training.steps}/{training.lr}/{training.adaptive}/{training.varied}"
    name = f"token reader/{fingerprint(group[0].download)}/{batch_size(group)}/{settings}"
    trained = dict(view.keep(name, partial(_train, view, group, training)))
    reading = Reading(float(trained.pop(ACCURACY)), float(trained.pop(LOSS)))
    network = _network(view, training)
    network.load_state_dict(trained)
    right, instead = _best_guess(view, group, training)
    return TokenReader(network, view.device, view.vocabulary, instead if reading.accuracy <= right else None)


def _best_guess(view: View, group: Sequence[Seen], training: TokenTraining) -> tuple[float, Callable[[Tensor], Tensor]]:
    """Return the trivial guess that has most of the validation texts' tokens aright, with the share of these."""
    validation = _texts(view, group, training).validation()
    known = known_places(validation, view.vocabulary)
    guesses = {name: partial(_guessed, view.auxiliary, view.vocabulary, name) for name in ATTAINABLE}
    right = {
        name: float((guess(validation.labels) == validation.images.cpu())[known.cpu()].double().mean())
        for name, guess in guesses.items()
    }
    best = max(right, key=right.__getitem__)
    return right[best], guesses[best]


def _guessed(own: Auxiliary, vocabulary: Vocabulary, name: str, labels: Tensor) -> Tensor:
    """Return a trivial guess (N, T) of texts with these labels as sent (N,), on the CPU."""
    nothing = own.images.new_zeros(len(labels), own.images.shape[1])  # in place of the truth
    known = KnownTexts(
        sequences=own.images, labels=own.labels, victim_labels=labels.cpu(), truth=nothing, vocabulary=vocabulary
    )
    return TOKEN_BASELINES[name](known)


def _train(view: View, group: Sequence[Seen], training: TokenTraining) -> dict[str, Tensor]:
    """Train one network; return its best weights and how it reads validation texts."""
    texts = _texts(view, group, training)
    network = _network(view, training).to(view.device)
    first = texts.first()
    network.standardise_by(first.smashed, known_places(first, view.vocabulary))
    shares = token_shares(view.auxiliary.images, view.vocabulary)
    network.start_from(*token_means(texts, network.mean, network.scale), shares)
    best, reading = train_network(network, texts, training, view.progress)
    accuracy, loss = (torch.tensor(part, dtype=torch.float64) for part in reading)
    return {**best.state_dict(), ACCURACY: accuracy, LOSS: loss}


def _network(view: View, training: TokenTraining) -> TokenNetwork:
    """Return a network as it is before training."""
    with isolated(view.seed, "token reader", view.tier, training.size):
        return TokenNetwork(shapes_of(view), training.size)


def _texts(view: View, group: Sequence[Seen], training: TokenTraining) -> Texts:
    return Texts(
        own=view.auxiliary,
        vocabulary=view.vocabulary,
        releaser=Releaser(view, group, training.adaptive),
        chance=torch_stream(view.seed, "order of training", view.tier, "tokens"),
    )

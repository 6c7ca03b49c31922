"""The client's program in the hands of an adversary: from its own inputs to what a client would have sent.

The adversary knows network, training procedure and defenses (their samplers, not their draws), and the weights that a
client began its round with. So it can run the client half on inputs of its own, and take derivatives through it.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dtfl_private.attacking.batch_norms import BatchNorms
from dtfl_private.data.preprocess import Preprocessor, as_stored
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.client_context import ClientRound, known_memory
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.fixed_rewriting import OwnMessage, fixed_rewritings, rewriting, rewritten
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, WeightUpdate
from dtfl_private.randomness import isolated, stream
from dtfl_private.training.optimizers import OptimizerSettings, make_optimizer

# Prefixes of the parts among `Parameters`.
HALF, HEAD = "client_half.", "head."

Parameters = Mapping[str, Tensor]
"""Named tensors of the client half (``client_half.``) and its auxiliary head (``head.``)."""

Receive = Callable[["ClientProgram", Tensor, Tensor], Tensor]
"""From the program, smashed data (B, *cut shape) and labels (B,), as they were received, to the smashed data as the
adversary goes on with them."""


class ClientProgram:
    """A client half with auxiliary head, the defenses around it, and a seed of the adversary's own.

    Images are (B, C, H, W) in [0, 1], float32, on the numerics' device; of a network for tokens, they are sequences
    (B, T), int64, and nothing is differentiable in them. Batch norm couples the images of a batch: a
    batch must be run as a whole, and one's own images in batches of the client's size. Use changes neither the weights
    nor the running statistics.

    Args:
        modules: md1..md_m; copied by the caller, as its weights are overwritten.
        head: auxiliary head of the tier, likewise.
        download: the weights that the client began with.
        preprocessor: from images to inputs.
        defense: the client's; the empty chain for an adversary that does not take it into account.
        numerics: device and precision.
        training: whether the client sends in training mode; not if it trains first and then sends with frozen weights.
        seed: of the adversary's draws of the defenses.
        records: N_k, as the adversary knows it from the weight of the client in the average.
        classes: number of classes.
        memory: what the client's defenses keep; of it, the adversary has what `known_memory` says.
        labelled: whether clients send labels; otherwise what is sent in their place are zeros.
    """

    def __init__(
        self,
        *,
        modules: StagedModel,
        head: nn.Module,
        download: ModelDownload,
        preprocessor: Preprocessor,
        defense: DefenseChain,
        numerics: Numerics,
        training: bool,
        seed: int,
        records: int,
        classes: int,
        memory: Mapping[str, Tensor] | None = None,
        labelled: bool = True,
    ) -> None:
        # A client may have been sent modules behind the server's, too.
        modules.load_state_dict({name: download.weights[name] for name in modules.state_dict()})
        head.load_state_dict(download.head)
        self.download = download
        self._whole = _Classifier(modules, head)
        self._whole.train(training)
        self._whole.requires_grad_(requires_grad=False)
        self._norms = BatchNorms(self._whole)
        self._preprocess = preprocessor
        self._defense = defense
        self._numerics = numerics
        self._at = ClientRound(
            # The samplers are known, the draws are not: even with the run's seed these streams are not the clients'.
            seed=int(stream(seed, "adversary", download.client, download.round).integers(2**62)),
            client=download.client,
            round=download.round,
            tier=download.tier,
            records=records,
            classes=classes,
            device=numerics.device,
            memory=known_memory(memory or {}),
            download=download,
        )
        self._labelled = self._sent = 0
        self._sends_labels = labelled
        self._receive: Receive | None = None
        self._beside: tuple[Tensor, int] | None = None
        self._fixed: tuple[int, ...] | None = None

    @property
    def device(self) -> str:
        """Where tensors are computed."""
        return self._numerics.device

    @property
    def modules(self) -> StagedModel:
        """The client half md1..md_m with the downloaded weights; not to be changed."""
        return self._whole.client_half

    @property
    def class_weights(self) -> Tensor | None:
        """Weights of the classes in the local loss (classes,); None where all count alike."""
        return self._defense.class_weights

    @property
    def norms(self) -> BatchNorms:
        """The batch norms of client half and head, by their names among `Parameters`."""
        return self._norms

    def inputs(self, images: Tensor) -> Tensor:
        """Return what the network takes for images (B, C, H, W) in [0, 1], or for tokens (B, T); differentiable."""
        return self._numerics.place_images(self._preprocess(as_stored(images)))

    def activations(self, images: Tensor, *, defended: bool = True, weights: Parameters | None = None) -> Tensor:
        """Return the activations at the cut (B, *cut shape), float32, differentiable in images and weights.

        Args:
            images: (B, C, H, W) in [0, 1].
            defended: with what defenses change inside the forward pass. What they do to the finished message is in
                `release` only.
            weights: of the client half, as its own state names them, in place of those downloaded.
        """
        inputs = self.inputs(images)
        with self._numerics.autocast():
            smashed: Tensor = functional_call(self.modules, dict(weights or {}), (inputs,))
            if defended:
                smashed = self._defense.encode(smashed, self._at.during(self.modules, inputs.detach()))
        return smashed.float()

    def expected(self, images: Tensor) -> Tensor:
        """Return the activations (B, *cut shape), float32, that `read` is compared with; differentiable in images.

        As the defenses rewrite them in the end, where that is a function without chance: of what is sent beside them,
        too, which `sending` says.

        Raises:
            ValueError: a defense of a user's own rewrites messages, and which one this is has not been said.
        """
        inputs = self.inputs(images)
        at = self._at.during(self.modules, inputs.detach())
        with self._numerics.autocast():
            smashed: Tensor = self.modules(inputs)
            smashed = self._defense.expect(smashed, at)
        smashed = smashed.float()
        if not self.rewrites:
            return smashed
        if self._beside is None:
            raise ValueError("a defense rewrites messages: say which one is expected by sending(labels, batch)")
        labels, batch = self._beside
        message = OwnMessage(
            client=at.client, round=at.round, tier=at.tier, batch=batch, smashed=smashed, labels=labels
        )
        if self._fixed is None:
            self._fixed = fixed_rewritings(self._defense, message, at)
        return rewritten(self._defense, self._fixed, message, at)

    @property
    def rewrites(self) -> bool:
        """Whether a defense rewrites messages without saying what then shows; perhaps by labels, batch and row."""
        return bool(rewriting(self._defense))

    def sending(self, labels: Tensor, batch: int) -> "ClientProgram":
        """Return the program as it sends one batch, for `expected`.

        Args:
            labels: (B,) of the batch, as they were received.
            batch: its number in the client's round.
        """
        program = copy.copy(self)
        program._beside, program._fixed = (labels.to(self.device), batch), None
        return program

    def read(self, received: Tensor) -> Reading:
        """Return what a release (B, *cut shape) shows of the activations that it was made from."""
        return self._defense.read(Reading.of(received.to(self.device), known=self._at.memory, tier=self._at.tier))

    @torch.no_grad()
    def release(self, images: Tensor, labels: Tensor, batch: int = 0) -> Tensor:
        """Return smashed data (B, *cut shape), float32, as a client with these images would send them.

        The whole way of a message: through the defenses of inputs, forward pass and message, with fresh draws, and in
        the type in which it is sent.

        Args:
            images: (B, C, H, W) in [0, 1].
            labels: (B,).
            batch: number of the batch in the client's round.
        """
        inputs = self.inputs(images)
        inputs = self._defense.protect_inputs(inputs, self._at.fetching(self._next_records(len(inputs))))
        at = self._at.during(self.modules, inputs)
        with self._numerics.autocast():
            smashed = self._defense.encode(self.modules(inputs), at)
        message = SmashedBatch(
            client=self._at.client,
            round=self._at.round,
            tier=self._at.tier,
            batch=batch,
            smashed=smashed.detach().to(self._numerics.wire_dtype),
            labels=labels.to(self.device),
        )
        received = self._defense.protect_batch(message, at).smashed.float()
        return received if self._receive is None else self._receive(self, received, message.labels)

    def _next_records(self, count: int) -> Tensor:
        """Return record numbers (B,) for images that are sent: one of its own for each, in turn."""
        self._sent += count
        return torch.arange(self._sent - count, self._sent) % self._at.records

    def received_by(self, receive: Receive) -> "ClientProgram":
        """Let the adversary rewrite all that is released, as it rewrites what it receives; return the program."""
        self._receive = receive
        return self

    def untrained(self, seed: int) -> ModelDownload:
        """Return the client half and its head with newly drawn weights, as before any training.

        Parts that cannot draw their weights themselves get normal ones of deviation 0.02.
        """
        whole = copy.deepcopy(self._whole)
        with isolated(seed, "untrained"):
            for part in whole.modules():
                if callable(reset := getattr(part, "reset_parameters", None)):
                    reset()
                else:
                    for parameter in part.parameters(recurse=False):
                        nn.init.normal_(parameter, std=0.02)
        return replace(self.download, weights=whole.client_half.state_dict(), head=whole.head.state_dict())

    def retrained(
        self, batches: Sequence[tuple[Tensor, Tensor]], optimizer: OptimizerSettings, lr: float
    ) -> ModelDownload:
        """Return client half and head after a step of local training on each of these batches, as a client takes it.

        Args:
            batches: images (B, C, H, W) in [0, 1], and labels (B,).
            optimizer: the clients'.
            lr: its learning rate.
        """
        whole = copy.deepcopy(self._whole).requires_grad_().train()
        self._norms.thaw(whole)
        steps = make_optimizer(whole.parameters(), optimizer, lr)
        for images, labels in batches:
            with self._numerics.autocast():
                loss = self._defense.classification_loss(whole(self.inputs(images)), labels)
            steps.zero_grad()
            torch.autograd.backward(loss)
            steps.step()
        return replace(self.download, weights=snapshot(whole.client_half), head=snapshot(whole.head))

    def sent_labels(self, labels: Tensor) -> Tensor:
        """Return labels (B,) as a client with such records would send them: a record of its own for each, in turn.

        Zeros where clients send none.
        """
        return self.protected_labels(labels) if self._sends_labels else torch.zeros_like(labels, device=self.device)

    def protected_labels(self, labels: Tensor) -> Tensor:
        """Return labels (B,) as a client with such records would train on them, whether it sends them or not."""
        records = torch.arange(self._labelled, self._labelled + len(labels)) % self._at.records
        self._labelled += len(labels)
        return self._defense.protect_labels(labels.to(self.device), records.to(self.device), self._at)

    def parameters(self) -> dict[str, Tensor]:
        """Return a copy of the trainable parameters of client half and head, as `local_loss` takes them."""
        return {name: tensor.detach().clone() for name, tensor in self._whole.named_parameters()}

    def sent_parameters(self, trained: Parameters) -> dict[str, Tensor]:
        """Return trained parameters, as `parameters` names them, as the server would get them: after the defenses.

        Running statistics too, if they are among them.
        """
        half = {name.removeprefix(HALF): tensor for name, tensor in trained.items() if name.startswith(HALF)}
        head = {name.removeprefix(HEAD): tensor for name, tensor in trained.items() if name.startswith(HEAD)}
        update = WeightUpdate(
            client=self._at.client,
            round=self._at.round,
            tier=self._at.tier,
            examples=self._at.records,
            weights={**self.download.weights, **half},
            head={**self.download.head, **head},
        )
        sent = self._defense.protect_update(update, self._at)
        return {name: tensor.to(self.device) for name, tensor in self.of_update(sent).items() if name in trained}

    @staticmethod
    def of_update(update: WeightUpdate) -> dict[str, Tensor]:
        """Return the weights of an update under the names of `parameters`; buffers too."""
        half = {f"{HALF}{name}": tensor for name, tensor in update.weights.items()}
        return half | {f"{HEAD}{name}": tensor for name, tensor in update.head.items()}

    def local_loss(self, parameters: Parameters, images: Tensor, labels: Tensor) -> Tensor:
        """Return the plain local loss of a batch, differentiable in parameters and images.

        Terms that defenses add to the loss are left out.

        Args:
            parameters: as `parameters` names them.
            images: (B, C, H, W) in [0, 1].
            labels: (B,) class numbers, or (B, classes) probabilities.
        """
        with self._numerics.autocast():
            loss: Tensor = self._defense.classification_loss(self.logits(parameters, images), labels)
        return loss

    def logits(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Return the logits (B, classes) that the local loss is computed from, differentiable likewise."""
        inputs = self.inputs(images)
        with self._numerics.autocast():
            logits: Tensor = functional_call(self._whole, dict(parameters), (inputs,))
        return logits


class _Classifier(nn.Module):
    """Client half and head as one function from inputs to logits."""

    def __init__(self, client_half: StagedModel, head: nn.Module) -> None:
        super().__init__()
        self.client_half = client_half
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.head(self.client_half(inputs))
        return logits


def batches_of(count: int, size: int, generator: torch.Generator) -> Iterable[Tensor]:
    """Yield random index batches of exactly ``size`` out of 0..count-1, each index at most once; a rest is left out."""
    order = torch.randperm(count, generator=generator)
    size = min(size, count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]

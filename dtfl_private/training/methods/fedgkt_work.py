"""What FedGKT trains: a network on each client and one on the server, each with the logits of the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import snapshot, split
from dtfl_private.protection.defense_chain import weighted_cross_entropy
from dtfl_private.protocol.messages import LogitBatch, SmashedBatch, State, below
from dtfl_private.randomness import isolated
from dtfl_private.training.optimizers import make_optimizer
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import Worker, require_finite


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Cross-entropy and, with weight ``alpha``, the distance to a teacher's answers at this temperature."""

    alpha: float
    temperature: float

    def loss(
        self, logits: Tensor, labels: Tensor, teacher: Tensor | None, class_weights: Tensor | None = None
    ) -> Tensor:
        """Return the mean loss of logits (B, classes); without a teacher (B, classes), the cross-entropy alone.

        The distance is T^2 KL(softmax(teacher / T) || softmax(logits / T)) (Hinton et al., 2015). Weights of classes
        are for the cross-entropy.
        """
        loss = weighted_cross_entropy(logits, labels, class_weights)
        if teacher is None or self.alpha == 0:
            return loss
        ours = F.log_softmax(logits / self.temperature, dim=1)
        theirs = F.log_softmax(teacher.to(logits.dtype) / self.temperature, dim=1)
        distance = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return loss + self.alpha * self.temperature**2 * distance


class _Client:
    """A client's network (md1..md_m and the head) and what the server last answered about its records."""

    def __init__(self, worker: Worker, task: ClientTask, distillation: Distillation) -> None:
        self.task = task
        self.losses: list[Tensor] = []
        self.server_losses: list[Tensor] = []
        self.traffic = {"up_smashed": 0, "up_labels": 0, "up_logits": 0, "down_logits": 0}
        self._setup = worker.setup
        # All clients of the round are under way at once: each has modules of its own.
        self._modules = copied(split(worker.model, task.tier)[0])
        self._head = copied(worker.heads[task.tier])
        self._modules.load_state_dict(below("net/", task.extras))
        self._head.load_state_dict(below("head/", task.extras))
        self._answers = task.extras["logits"].clone().to(self._setup.numerics.device)
        self._answered = bool(task.extras["answered"])
        self._distillation = distillation
        self._weights = self._setup.defense.class_weights
        self._data = worker.data(task)

    def train(self) -> None:
        """Train on the labels and the server's answers."""
        self._modules.train()
        self._head.train()
        parameters = [*self._modules.parameters(), *self._head.parameters()]
        optimizer = make_optimizer(parameters, self._setup.optimizer, self.task.lr)
        for records in islice(self._data.batches, self.task.batches):
            inputs, labels = self._data.fetch(records)
            teacher = self._answers[records.to(self._answers.device)] if self._answered else None
            with self._setup.numerics.autocast():
                loss = self._distillation.loss(self._head(self._modules(inputs)), labels, teacher, self._weights)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            self.losses.append(loss.detach())

    def send(self) -> Iterator[tuple[Tensor, SmashedBatch, LogitBatch]]:
        """Yield each record once: record numbers, features and labels, logits."""
        self._modules.eval()
        self._head.eval()
        task, numerics = self.task, self._setup.numerics
        once = len(self._data.batches) // self._setup.local_epochs
        for number, records in enumerate(self._data.batches[: min(once, task.sends)]):
            inputs, labels = self._data.fetch(records)
            with torch.no_grad(), numerics.autocast():
                features = self._modules(inputs)
                logits = self._head(features).to(numerics.wire_dtype)
            smashed = SmashedBatch(
                client=task.client,
                round=task.round,
                tier=task.tier,
                batch=number,
                smashed=features.to(numerics.wire_dtype),
                labels=labels,
            )
            smashed = self._setup.defense.written(smashed)
            theirs = LogitBatch(client=task.client, round=task.round, batch=number, logits=logits)
            self.traffic["up_smashed"] += smashed.smashed_bytes
            self.traffic["up_labels"] += smashed.label_bytes
            self.traffic["up_logits"] += theirs.logit_bytes
            yield records, smashed, theirs

    def receive(self, records: Tensor, answer: LogitBatch) -> None:
        """Keep what the server answered about these records."""
        self.traffic["down_logits"] += answer.logit_bytes
        self._answers[records.to(self._answers.device)] = answer.logits.to(self._answers.dtype)

    def result(self, server: State) -> ClientResult:
        """Return the result of the round, with the server's network as it is after it; none if it drops out."""
        if not self.task.completes:
            return _nothing_left(self.task)
        modules, head = snapshot(self._modules), snapshot(self._head)
        local_loss, server_loss = _mean(self.losses), _mean(self.server_losses)
        require_finite(local_loss, self.task, "local loss")
        require_finite(server_loss, self.task, "server loss")
        weights = [*modules.values(), *server.values(), *head.values()]
        require_finite(sum(float(w.abs().max()) for w in weights), self.task, "largest weight")
        own = {f"net/{name}": tensor.clone() for name, tensor in modules.items()}
        own |= {f"head/{name}": tensor.clone() for name, tensor in head.items()}
        return replace(
            _nothing_left(self.task),
            examples=len(self._answers),
            model={**modules, **server},
            head=head,
            local_loss=local_loss,
            server_loss=server_loss,
            traffic=self.traffic,
            extras={**own, "logits": self._answers.cpu(), "answered": torch.tensor(True)},
        )


def _mean(losses: Sequence[Tensor]) -> float:
    return float(torch.stack(list(losses)).cpu().double().mean()) if losses else 0.0


def _nothing_left(task: ClientTask) -> ClientResult:
    """Return the result of a client that dropped out, in a run before it had sent anything."""
    return ClientResult(
        client=task.client,
        tier=task.tier,
        examples=0,
        model={},
        head={},
        local_loss=None,
        server_loss=None,
        traffic={},
        memory=task.memory,
    )


class _Server:
    """The server's network md_(m+1)..md_L, trained on the features of all clients."""

    def __init__(self, worker: Worker, task: ClientTask, weights: GlobalWeights, distillation: Distillation) -> None:
        self._numerics = worker.setup.numerics
        self._modules = split(worker.model, task.tier)[1]
        self._modules.load_state_dict({name: weights.model[name] for name in self._modules.state_dict()})
        self._modules.train()
        self._optimizer = make_optimizer(self._modules.parameters(), worker.setup.optimizer, task.lr)
        self._distillation = distillation
        self._weights = worker.setup.defense.class_weights

    def train_on(self, batch: SmashedBatch, theirs: LogitBatch, losses: list[Tensor]) -> LogitBatch:
        """Take one step on labels and the client's logits, note its loss, and return the logits it was made from."""
        features = batch.smashed
        if self._numerics.precision != "bf16":
            features = features.to(self._numerics.weight_dtype)
        with self._numerics.autocast():
            logits = self._modules(features)
            loss = self._distillation.loss(logits, batch.labels, theirs.logits, self._weights)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        losses.append(loss.detach())
        return replace(theirs, logits=logits.detach().to(self._numerics.wire_dtype))

    def weights(self) -> State:
        """Return a copy of the trained weights."""
        return snapshot(self._modules)


@dataclass(frozen=True, kw_only=True)
class FedGktWork:
    """The clients' training, then that of the one server network on what they send."""

    distillation: Distillation

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, in the order of the tasks."""
        seed, number = worker.setup.seed, tasks[0].round
        server = _Server(worker, tasks[0], weights, self.distillation)
        clients = [_Client(worker, task, self.distillation) for task in tasks if task.sends]
        for client in clients:
            with isolated(seed, "layers", client.task.client, number):
                client.train()
        with isolated(seed, "server layers", number):
            for client, (records, batch, theirs) in _round_robin(clients):
                worker.observe(batch)
                worker.observe(theirs)
                client.receive(records, server.train_on(batch, theirs, client.server_losses))
        done = {client.task.client: client.result(server.weights()) for client in clients}
        return [done.get(task.client) or _nothing_left(task) for task in tasks]


def _round_robin(clients: Sequence[_Client]) -> Iterator[tuple[_Client, tuple[Tensor, SmashedBatch, LogitBatch]]]:
    """Yield a batch of each client, then another of each, until none has any left."""
    for batches in zip_longest(*(client.send() for client in clients)):
        for client, batch in zip(clients, batches, strict=True):
            if batch is not None:
                yield client, batch

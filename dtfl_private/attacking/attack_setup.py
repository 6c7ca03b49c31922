"""What all attacks on a run share: its parts, where they compute, and all that there is to see at a tier."""

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from dtfl_private.attacking.evidence import (
    AttackedRound,
    Beginning,
    Candidates,
    Evidence,
    LocalSteps,
    Network,
    Shadows,
    TrainingKnowledge,
)
from dtfl_private.attacking.knowledge.adversary_data import AuxiliarySplit
from dtfl_private.attacking.knowledge.record_sets import IndexSets, in_pairs
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.victims.acting_defenses import defense_of, differ_in_a_tier, least_defended
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import Victims
from dtfl_private.data.preprocess import as_stored, plain
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import client_modules, split
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, Seen, State
from dtfl_private.randomness import stream
from dtfl_private.training.methods.full import FullModelWork
from dtfl_private.training.worker import honest_download


@dataclass(frozen=True, kw_only=True)
class AttackSetup:
    """All that attacks on a run share, whatever the tier.

    Attributes:
        opened: the run.
        split: the adversary's data and the non-members.
        numerics: where attacks compute.
        shadows: training runs of the adversary's own.
        shows_updates: whether the server sees each client's weight update; not if it is assumed to see their sum.
    """

    opened: OpenedRun
    split: AuxiliarySplit
    numerics: Numerics
    shadows: Shadows
    shows_updates: bool = True

    def index_sets(self, victims: Victims) -> IndexSets:
        """Return which records are whose; checks that nobody's are anybody else's."""
        records = len(self.opened.prepared.worker.train_labels)
        return IndexSets(
            victims=victims.records,
            auxiliary=self.split.train_records,
            validation=self.split.validation_records,
            non_members=records + self.split.non_member_places,
        )

    def evidence(self, tier: int, victims: Victims | None, earlier: Sequence[Seen] = ()) -> Evidence:
        """Return what can be observed at a tier; without victims, what is known before the clients' round."""
        return Evidence(
            round=self._attacked_round(tier, victims, earlier),
            network=self._network(tier, victims),
            auxiliary=self.split.auxiliary,
            training=TrainingKnowledge(
                initial_model=self.opened.before.weights.model,
                final_model=self.opened.after.weights.model,
                logits=self.logits,
                honest=self.honest,
                shadows=self.shadows,
            ),
            candidates=None if victims is None else self.candidates(victims)[0],
        )

    def _attacked_round(self, tier: int, victims: Victims | None, earlier: Sequence[Seen]) -> AttackedRound:
        seen = [] if victims is None else victims.seen
        count = 1 if victims is None else victims.summed
        number = seen[0].download.round if seen else self.opened.plan.round
        return AttackedRound(
            seen=[self._on_device(self._as_known(one, count)) for one in seen],
            earlier=[self._on_device(self._as_known(one, count)) for one in earlier],
            local_steps=_of_sum(local_steps(self.opened, number), count),
            summed=count,
            server_half=partial(self.server_half, tier) if number == self.opened.plan.round else None,
            replies_to=partial(self.replies_to, tier, itertools.count()) if self._answers(number) else None,
            tail=self.tail if self.opened.prepared.worker.tail else None,
            beginnings={} if self.opened.prepared.method.sends_weights else self._beginnings(seen),
            begun={one.download.client: one.download for one in seen} if self._sends_last else {},
        )

    def _answers(self, number: int) -> bool:
        """Whether the server returns gradients, by a half that is known: that of the last round."""
        return "replies" not in self.opened.prepared.method.hides and number == self.opened.plan.round

    @property
    def _sends_last(self) -> bool:
        """Whether clients train first, and send afterwards."""
        return self.opened.prepared.worker.defense.releases_apart

    def replies_to(self, tier: int, draws: Iterator[int], images: Tensor, labels: Tensor) -> Tensor:
        """Return the gradients at the cut (B, *cut shape) that the server returns first in a round, float32.

        Args:
            tier: client modules.
            draws: numbers of the defenses' draws, a new one for each call.
            images: (B, C, H, W) in [0, 1] of a client, or sequences (B, T) int64.
            labels: (B,), sent as they are.
        """
        download = self.honest(tier)
        program = self.program(Seen(download=download, batches=(), update=None), True, next(draws))
        own = labels.to(program.device)
        sent = program.release(images.to(program.device), own).to(self.numerics.weight_dtype).requires_grad_()
        half = self.server_half(tier).train()
        with self.numerics.autocast():
            loss = self.defense_of(download).classification_loss(half(sent.clone()), own)
        (gradient,) = torch.autograd.grad(loss, sent)
        return gradient.to(self.numerics.wire_dtype).float()

    def _beginnings(self, seen: Sequence[Seen]) -> dict[int, Beginning]:
        """Return what the networks of clients that are sent none were before the run, and their training since."""
        worker = self.opened.prepared.worker
        found = {}
        for one in seen:
            client, last = one.download.client, one.download.round
            done = [record for record in self.opened.records[:last] if client in record["participants"]]
            rounds = sum(client not in record["dropped"] for record in done)
            per_round = worker.local_epochs * math.ceil(len(worker.parts[client]) / worker.batch_size)
            found[client] = Beginning(download=self._beginning(one.download), steps=rounds * per_round)
        return found

    def defense_of(self, download: ModelDownload) -> DefenseChain:
        """Return what acts at a client in the round and tier that a message opens."""
        return defense_of(self.opened, download)

    def _network(self, tier: int, victims: Victims | None) -> Network:
        worker = self.opened.prepared.worker
        seen = [] if victims is None else victims.seen
        return Network(
            program=self.program,
            input_shape=tuple(worker.train_images.shape[1:]),
            vocabulary=self.opened.vocabulary,
            classes=worker.classes,
            tier=tier,
            cut_shape=self.opened.cut_shapes[tier],
            defense=self.defense_of(seen[0].download if seen else self.honest(tier)),
            augmentations=tuple(worker.augmentations),
            records=sum(map(len, worker.parts)),
            device=self.numerics.device,
        )

    def _as_known(self, seen: Seen, summed: int) -> Seen:
        """Return a client's round with the weights under which it sent, as far as they are known.

        With some defenses a client trains first and sends afterwards: with the weights of its update, not of its
        download. Where only a sum of updates is seen, no single one is shown.
        """
        if not self.shows_updates and summed == 1:
            return replace(seen, update=None)
        if seen.update is None or not self._sends_last:
            return seen
        return replace(seen, download=replace(seen.download, weights=seen.update.weights, head=seen.update.head))

    def server_half(self, tier: int) -> nn.Module:
        """Return a fresh copy of the server's half beyond a tier, as the round began with it."""
        half = copied(split(self.opened.prepared.worker.model, tier)[1])
        half.load_state_dict({name: self.opened.weights.model[name] for name in half.state_dict()})
        return self.numerics.place(half)

    def tail(self) -> nn.Module:
        """Return a fresh copy of the last modules that clients keep."""
        worker = self.opened.prepared.worker
        return self.numerics.place(copied(worker.model[-worker.tail :]))

    def candidates(self, victims: Victims) -> tuple[Candidates, Tensor]:
        """Return victims and non-members in random order, and which of them are members: bool (N,).

        Of each class there are as many members as non-members: otherwise labels alone would tell them apart wherever
        clients hold some classes more than others.
        """
        worker = self.opened.prepared.worker
        members, others, order = self._candidate_records(victims)
        images = torch.cat([worker.train_images[members], worker.test_images[others]])
        labels = torch.cat([worker.train_labels[members], worker.test_labels[others]])
        member = torch.arange(len(images)) < len(members)
        return Candidates(images=plain(images[order]), labels=labels[order]), member[order]

    def candidate_members(self, victims: Victims) -> Tensor:
        """Return the numbers of the records that are members, in the order in which the candidates have them."""
        members, _, order = self._candidate_records(victims)
        return members[order[order < len(members)]]

    def _candidate_records(self, victims: Victims) -> tuple[Tensor, Tensor, Tensor]:
        """Return the members' records, the non-members' places in the test set, and an order of both together."""
        worker = self.opened.prepared.worker
        chosen = torch.tensor(sorted(set(victims.records.tolist())), dtype=torch.int64)
        members, others = in_pairs(
            chosen, worker.train_labels[chosen], self.split.non_member_places, worker.test_labels
        )
        order = stream(worker.seed, "candidates").permutation(len(members) + len(others))
        return members, others, torch.from_numpy(order)

    def honest(self, tier: int) -> ModelDownload:
        """Return what the protocol sends the first client of the round in this tier, of those that are attacked."""
        tasks = self.opened.tasks
        if differ_in_a_tier(self.opened):
            among = least_defended(self.opened, tier, {task.client: task.profile for task in tasks})
            tasks = [task for task in tasks if task.client in among]
        task = replace(tasks[0], tier=tier)
        return honest_download(self.opened.prepared.worker, task, self.opened.weights)

    def program(self, seen: Seen, adaptive: bool, seed: int) -> ClientProgram:
        """Return a fresh copy of a client's program."""
        worker, tier = self.opened.prepared.worker, seen.download.tier
        return ClientProgram(
            modules=self.numerics.place(copied(client_modules(worker.model, tier))),
            head=self.numerics.place(copied(self.opened.heads[tier])),
            download=seen.download if seen.download.weights else self._beginning(seen.download),
            preprocessor=copy.deepcopy(worker.normaliser).to(self.numerics.device),
            defense=(self.defense_of(seen.download) if adaptive else worker.defense.undefended).on_wire(
                seen.download.wire
            ),
            numerics=self.numerics,
            training=not self.opened.sends_once,
            seed=seed,
            records=len(worker.parts[seen.download.client]),
            classes=worker.classes,
            memory=self.opened.before.memories.get(seen.download.client),
            labelled="labels" not in self.opened.prepared.method.hides,
        )

    def _beginning(self, download: ModelDownload) -> ModelDownload:
        """Return a download of the weights that clients begin the run with, where they are sent none later."""
        initial, tier = self.opened.prepared.initial.weights, download.tier
        half = client_modules(self.opened.prepared.worker.model, tier)
        weights = {name: initial.model[name] for name in half.state_dict()}
        return replace(download, weights=weights, head=initial.heads[tier])

    def logits(self, model: State, images: Tensor) -> Tensor:
        """Return logits (N, classes), float32, of images in [0, 1] or tokens under a model's weights."""
        worker = self.opened.prepared.worker
        network = self.numerics.place(copied(worker.model))
        network.load_state_dict(model)
        network.eval()
        normalise = copy.deepcopy(worker.normaliser).to(self.numerics.device)
        with torch.no_grad(), self.numerics.autocast():
            parts = [
                network(self.numerics.place_images(normalise(as_stored(part).to(self.numerics.device)))).float().cpu()
                for part in torch.split(images, 500)
            ]
        return torch.cat(parts)

    def _on_device(self, seen: Seen) -> Seen:
        device = self.numerics.device
        batches = tuple(
            replace(batch, smashed=batch.smashed.float().to(device), labels=batch.labels.to(device))
            for batch in seen.batches
        )
        outputs = tuple(replace(one, outputs=one.outputs.float().to(device)) for one in seen.outputs)
        gradients = tuple(replace(one, gradient=one.gradient.float().to(device)) for one in seen.tail_gradients)
        return replace(seen, batches=batches, outputs=outputs, tail_gradients=gradients)


def _of_sum(steps: LocalSteps, clients: int) -> LocalSteps:
    """Return how one client would have trained whose update is like the mean of so many clients'.

    It takes as many steps as each of them, on their batches together: the same for one step of SGD without momentum and
    batch norm, and to first order in the learning rate for several.
    """
    return steps if steps.batch_size is None else replace(steps, batch_size=steps.batch_size * clients)


def local_steps(opened: OpenedRun, number: int) -> LocalSteps:
    """Return how the clients of a round trained."""
    worker = opened.prepared.worker
    settings = worker.optimizer
    return LocalSteps(
        optimizer=settings.name,
        lr=opened.records[min(number, len(opened.records)) - 1]["lr"],  # played on after the last: at its rate
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        proximal=worker.work.proximal if isinstance(worker.work, FullModelWork) else 0.0,
        batch_size=worker.batch_size,
        epochs=worker.local_epochs,
        send_every=worker.send_every,
    )

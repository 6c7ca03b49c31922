"""What all attacks on a run share: disjoint records, fair candidates."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from fast_attacks import SEES, LeastSquares
from torch import nn

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_setup import AttackSetup
from dtfl_private.attacking.base import (
    AttackFacts,
    Reconstruction,
)
from dtfl_private.attacking.knowledge.record_sets import IndexSets
from dtfl_private.attacking.runner import attack
from dtfl_private.experiments.train import train
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.plugins.registry import create
from dtfl_private.randomness import isolated


def test_victims_auxiliary_data_and_non_members_are_disjoint(trained, mount, more_patterns, monkeypatch):
    seen: list[IndexSets] = []
    make = AttackSetup.index_sets
    monkeypatch.setattr(AttackSetup, "index_sets", lambda self, victims: seen.append(make(self, victims)))
    mount(trained(), [LeastSquares()], tiers=[1])
    (sets,) = seen
    records = len(more_patterns.train_labels)
    assert (sets.victims < records).all()
    assert torch.cat([sets.auxiliary, sets.validation, sets.non_members]).min() >= records
    with pytest.raises(ValueError, match="auxiliary and victims share 1 records"):
        IndexSets(
            victims=sets.victims, auxiliary=sets.victims[:1], validation=sets.validation, non_members=sets.non_members
        )


def test_labels_alone_do_not_tell_members_from_others(trained, mount, monkeypatch):
    seen = []
    make = AttackSetup.candidates

    def watched(self, victims):
        seen.append(make(self, victims))
        return seen[-1]

    monkeypatch.setattr(AttackSetup, "candidates", watched)
    mount(trained(partition="shards:1"), [LeastSquares()], tiers=[1], victims=8)
    candidates, member = seen[0]
    assert sorted(candidates.labels[member].tolist()) == sorted(candidates.labels[~member].tolist())
    assert member.any()


@dataclass(frozen=True, kw_only=True)
class Explains(Reconstruction):
    """Keeps how well the client's program explains what was sent: the residual of the best of all training images."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    images: Any = None
    residuals: Any = None

    def reconstruct(self, view):
        program = view.program(view.seen[0], adaptive=True)
        known = program.activations(self.images.float() / 255).flatten(1)
        for record in view.seen[0].batches[0].smashed.flatten(1):
            self.residuals.append(float(((known - record).square().sum(dim=1) / record.square().sum()).min()))
        return torch.zeros(view.victims, *view.input_shape)


@dataclass(frozen=True, kw_only=True)
class Trained(Reconstruction):
    """Keeps how far each client's update is from what the protocol sent it, and from the download in its round."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES | {"updates"}, recipe="")

    apart: Any = None

    def reconstruct(self, view):
        honest = view.download(view.tier).weights
        for seen, update in view.updates:
            for begun in (honest, seen.download.weights):
                changes = [(update.weights[name] - begun[name]).abs().max() for name in begun]
                self.apart.append(float(max(changes)))
        return torch.zeros(view.victims, *view.input_shape)


@pytest.mark.usefixtures("mount")  # no pictures
def test_who_trains_first_sends_with_trained_weights_and_both_are_known(tmp_path, more_patterns, tiny_config):
    with isolated(0, "plain network"):
        network = StagedModel(
            [
                ("stem", nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())),
                ("top", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))),
            ]
        )
    noisy = create("defense", "dp-weights:noise_multiplier=0.5")
    given = {"dataset": more_patterns, "model": network, "defenses": [noisy]}
    train(tiny_config(rounds=2, scheduler="static:1", lr=0.05), out=tmp_path / "run", **given)
    residuals: list[float] = []
    probe = Explains(images=more_patterns.train_images, residuals=residuals)
    changes: list[float] = []
    config = AttackConfig(victims=8, seeds=1, threads=1)
    attack(tmp_path / "run", config, attacks=[probe, Trained(apart=changes)], out=tmp_path / "found", **given)
    # It knows what they trained from, too.
    assert changes[0::2] == changes[1::2]
    assert min(changes) > 1e-3
    # Images are scaled by constants and nothing couples them: under the right weights the residual is rounding.
    assert max(residuals) < 1e-6


@dataclass(frozen=True, kw_only=True)
class Writes(Reconstruction):
    """Keeps the format that each client was told, and how many different values a channel has that it writes."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    written: Any = None

    def reconstruct(self, view):
        images = torch.rand(8, *view.input_shape, generator=torch.Generator().manual_seed(0))
        for seen in view.seen:
            for adaptive in (True, False):
                sent = view.program(seen, adaptive=adaptive).release(images, torch.zeros(8, dtype=torch.int64))
                channels = sent.flatten(2).flatten(0, 1)
                self.written.append((seen.download.wire, max(len(channel.unique()) for channel in channels)))
        return torch.zeros(view.victims, *view.input_shape)


def test_the_adversary_writes_as_each_client_was_told(trained, mount):
    """Tier 1 has 64 values a channel: 16 steps of int4 show."""
    written: list[tuple[str, int]] = []
    run = trained(wire="scheduled", cpu_gmacs=0.0005, rounds=2)
    mount(run, [Writes(written=written)], tiers=[1], victims=1000)
    assert {"int4", "bf16"} <= {wire for wire, _ in written}
    assert all((different <= 16) == (wire == "int4") for wire, different in written)


def test_an_adversary_is_given_what_is_known_of_the_clients_memories(trained, mount, monkeypatch):
    """The scales of learned noise with which each client's last round began, and nothing of its decoder."""
    made = []
    make = AttackSetup.program

    def watched(self, seen, adaptive, seed):
        made.append((self.opened.before.memories[seen.download.client], make(self, seen, adaptive, seed)))
        return made[-1][1]

    monkeypatch.setattr(AttackSetup, "program", watched)
    run = trained(defense=["learned-noise", "adversarial-decoder"], rounds=2, scheduler="static:1")
    mount(run, [LeastSquares()], tiers=[1])
    assert made
    for memory, program in made:
        reading = program.read(torch.ones(2, *memory["0/known/1/weight/log_scale"].shape))
        deviations = memory["0/known/1/weight/log_scale"].exp()
        assert deviations.std() > 0
        torch.testing.assert_close(torch.as_tensor(reading.deviation)[1], deviations)
        assert not [name for name in reading.known if name.startswith("1/")]
        assert [name for name in memory if name.startswith("1/")]

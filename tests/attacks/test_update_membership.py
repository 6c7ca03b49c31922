"""Clients of a few digits train a whole small network; the truth is known, since the test takes their steps."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.attacking.base import Target
from dtfl_private.attacking.evidence import AttackedRound, Auxiliary, Candidates, Evidence, LocalSteps, Network
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.simulated_client import local_batches
from dtfl_private.attacks.update_membership import UpdateMembership, drawn_members
from dtfl_private.defenses.update_noise import UpdateNoise
from dtfl_private.errors import InputError
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.base import Defense
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import find_adversary
from dtfl_private.protocol.messages import ModelDownload, Seen, WeightUpdate
from dtfl_private.randomness import isolated, torch_stream
from dtfl_private.training.optimizers import make_optimizer

STEPS = LocalSteps(optimizer="sgd", lr=0.05, batch_size=16)


def network(norm: type[nn.Module] = nn.BatchNorm2d) -> StagedModel:
    with isolated(0, "network"):
        made = nn.GroupNorm(2, 8) if norm is nn.GroupNorm else norm(8)
        first = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), made, nn.ReLU())
        last = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
        return StagedModel([("md1", first), ("md2", last)])


def inputs(values: Tensor) -> Tensor:
    return values / 127.5 - 1


def trained(model: StagedModel, images: Tensor, labels: Tensor, steps: LocalSteps, chance: torch.Generator) -> None:
    optimizer = make_optimizer(model.parameters(), steps.settings, steps.lr)
    for batch in local_batches(steps, len(labels), chance):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs(images[batch] * 255)), labels[batch]).backward()
        optimizer.step()


@pytest.fixture
def attacked(digits) -> Callable[..., tuple[View, Tensor]]:
    """View of clients who trained on their records, and which candidates they had: ``attacked(norm)``."""

    def make(
        norm: type[nn.Module] = nn.BatchNorm2d,
        *defenses: Defense,
        clients: int = 1,
        candidates: int = 64,
        auxiliary: int = 150,
        only: int | None = None,
        steps: LocalSteps = STEPS,
    ) -> tuple[View, Tensor]:
        pixels, labels = digits
        if only is not None:
            pixels, labels = pixels[labels == only], labels[labels == only]
        members = candidates // 2
        own, others = slice(members), slice(members, candidates)
        model = network(norm)
        with isolated(0, "network"):
            trained(model, pixels[-200:], labels[-200:], replace(STEPS, epochs=4), torch_stream(0, "before"))
        seen = []

        def program(one: Seen, adaptive: bool, seed: int) -> ClientProgram:
            return ClientProgram(
                modules=copy.deepcopy(model),
                head=nn.Identity(),
                download=one.download,
                preprocessor=inputs,  # type: ignore[arg-type] # nothing to be moved to a device
                defense=DefenseChain(defenses if adaptive else ()),
                numerics=Numerics(),
                training=True,
                seed=seed,
                records=members // clients,
                classes=10,
            )

        for client, part in enumerate(torch.arange(members).chunk(clients)):
            about = {"client": client, "round": 1, "tier": 2}
            after = copy.deepcopy(model)
            trained(after, pixels[own][part], labels[own][part], steps, torch_stream(1, "order", client))
            update = WeightUpdate(**about, examples=len(part), weights=snapshot(after), head={})
            download = ModelDownload(**about, weights=snapshot(model), head={})
            seen.append(Seen(download=download, batches=(), update=update))
        order = torch.randperm(candidates, generator=torch_stream(2, "candidates"))
        rest = slice(candidates, candidates + auxiliary)
        held = slice(candidates + auxiliary, candidates + auxiliary + max(1, auxiliary // 5))
        evidence = Evidence(
            round=AttackedRound(seen=seen, local_steps=steps),
            network=Network(
                program=program,
                input_shape=(1, 16, 16),
                classes=10,
                tier=2,
                cut_shape=(10,),
                defense=DefenseChain(defenses),
            ),
            auxiliary=Auxiliary(
                name="digits",
                images=pixels[rest],
                labels=labels[rest],
                validation_images=pixels[held],
                validation_labels=labels[held],
            ),
            candidates=Candidates(images=pixels[: others.stop][order], labels=labels[: others.stop][order]),
        )
        adversary = find_adversary("server-honest-but-curious")
        return View(evidence, adversary=adversary, knows="same", attack="update-membership", seed=0), order < members

    return make


def auc(scores: Tensor, member: Tensor) -> float:
    return float((scores[member][:, None] > scores[~member]).double().mean())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.GroupNorm])
def test_members_are_told_from_others(norm, optimizer, attacked):
    view, member = attacked(norm, steps=replace(STEPS, optimizer=optimizer, lr=0.05 if optimizer == "sgd" else 0.003))
    scores = UpdateMembership(effort=0.1).scores(view)
    assert scores.dtype == torch.float64
    assert auc(scores, member) > 0.8


def test_the_same_view_gives_the_same_scores(attacked):
    view, _ = attacked(candidates=32)
    attack = UpdateMembership(shadows=20, effort=0.1)
    assert torch.equal(attack.scores(view), attack.scores(view))


@pytest.mark.parametrize(
    "changes",
    [
        {"candidates": 4},
        {"only": 3, "candidates": 24, "auxiliary": 30},
        {"auxiliary": 3, "candidates": 32},
        {"steps": LocalSteps(optimizer="adam", lr=0.003), "candidates": 32},
    ],
    ids=["few candidates", "one class", "few auxiliary records", "one step"],
)
def test_it_runs_on_clients_of_all_kinds(changes, attacked):
    view, member = attacked(**changes)
    scores = UpdateMembership(shadows=20, effort=0.1).scores(view)
    assert torch.isfinite(scores).all()
    assert scores.shape == member.shape


@pytest.mark.parametrize(
    "changes",
    [{"clients": 2}, {"steps": LocalSteps(optimizer="sgd", lr=0.05, momentum=0.9, batch_size=4, epochs=3)}],
    ids=["two clients", "many steps"],
)
def test_members_of_several_clients_and_of_many_steps_are_told_from_others(changes, attacked):
    view, member = attacked(candidates=32, **changes)
    scores = UpdateMembership(shadows=40, effort=0.1).scores(view)
    assert scores.shape == member.shape
    assert auc(scores, member) > 0.75


def test_too_few_simulated_rounds_are_refused():
    target = Target(tier=2, input_shape=(1, 8, 8), cut_shape=(10,), classes=10, defense=DefenseChain(), whole=True)
    with pytest.raises(InputError, match="shadows=1 are too few, expected 20 or more"):
        UpdateMembership(shadows=1).check(target)


def test_noise_that_a_defense_adds_makes_it_less_sure(attacked):
    noise = UpdateNoise(sd=0.1)
    view, _ = attacked(nn.BatchNorm2d, noise, candidates=24)
    odds = UpdateMembership(effort=0.1).scores(view)
    clear, _ = attacked(candidates=24)
    assert odds.std() < 0.5 * UpdateMembership(effort=0.1).scores(clear).std()


def test_simulated_members_are_an_equal_share_of_each_class():
    labels, chance = torch.arange(40) % 4, torch_stream(0, "members")
    drawn = torch.stack([drawn_members(labels, 0.5, 100, chance) for _ in range(200)])
    assert (torch.stack([drawn[:, labels == label].sum(dim=1) for label in range(4)]) == 5).all()
    assert drawn.double().mean(dim=0).min() > 0.3
    assert drawn.double().mean(dim=0).max() < 0.7
    assert drawn_members(labels, 0.5, 7, chance).sum() == 7
    single = torch.stack([drawn_members(torch.arange(3), 0.5, 100, chance) for _ in range(200)])
    assert 0.3 < single.double().mean() < 0.7

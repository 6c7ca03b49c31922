"""A client of a few digits takes steps of plain SGD; the truth is known, since the test takes the steps."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.evidence import AttackedRound, Auxiliary, Evidence, LocalSteps, Network
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.update_target import UpdateTarget
from dtfl_private.attacks.update_inversion import UpdateInversion
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.update_noise import UpdateNoise
from dtfl_private.errors import InputError
from dtfl_private.leakage.image_metrics import mse, psnr
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import find_adversary
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch, WeightUpdate
from dtfl_private.randomness import isolated

ATTACK = UpdateInversion(steps=250)


def preprocess(inputs: Tensor) -> Tensor:
    return inputs / 127.5 - 1


def halves(activation: type[nn.Module] = nn.ReLU, *, batch_norm: bool = False) -> tuple[StagedModel, nn.Module]:
    """Two modules of the client (tier 2), and its head."""
    with isolated(0, "halves"):
        norm = nn.BatchNorm2d(8) if batch_norm else nn.GroupNorm(2, 8)
        first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), norm, activation())
        second = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), activation())
        return StagedModel([("md1", first), ("md2", second)]), nn.Sequential(nn.Flatten(), nn.Linear(768, 10))


@pytest.fixture
def trained(digits) -> Callable[..., tuple[View, Tensor]]:
    """Let a client take a step on each batch: ``trained([2, 2])`` is the view of it, and the truth."""

    def make(
        sizes: list[int],
        *,
        seed: int = 0,
        drops: bool = False,
        activation: type[nn.Module] = nn.ReLU,
        batch_norm: bool = False,
        **changes: str,
    ) -> tuple[View, Tensor]:
        images, labels = (part[: sum(sizes)] for part in digits)
        auxiliary = Auxiliary(
            name="digits",
            images=digits[0][100:400],
            labels=digits[1][100:400],
            validation_images=digits[0][400:450],
            validation_labels=digits[1][400:450],
        )
        modules, head = halves(activation, batch_norm=batch_norm)
        about = {"client": 0, "round": 1, "tier": 2}
        download = ModelDownload(**about, weights=snapshot(modules), head=snapshot(head))
        optimizer = torch.optim.SGD([*modules.parameters(), *head.parameters()], lr=0.05)
        batches = []
        for number, (own, kinds) in enumerate(zip(images.split(sizes), labels.split(sizes), strict=True)):
            smashed = modules(preprocess(own * 255))
            optimizer.zero_grad()
            F.cross_entropy(head(smashed), kinds).backward()
            optimizer.step()
            batches.append(SmashedBatch(**about, batch=number, smashed=smashed.detach(), labels=kinds))
        update = WeightUpdate(**about, examples=len(labels), weights=snapshot(modules), head=snapshot(head))
        seen = Seen(download=download, batches=tuple(batches), update=None if drops else update)

        def program(one: Seen, _: bool, own: int) -> ClientProgram:
            return ClientProgram(
                modules=copy.deepcopy(modules),
                head=copy.deepcopy(head),
                download=one.download,
                preprocessor=preprocess,  # type: ignore[arg-type] # nothing to be moved to a device
                defense=DefenseChain(),
                numerics=Numerics(),
                training=True,
                seed=own,
                records=len(labels),
                classes=10,
            )

        evidence = Evidence(
            round=AttackedRound(seen=[seen], local_steps=LocalSteps(optimizer="sgd", lr=0.05)),
            network=Network(program=program, input_shape=(1, 16, 16), classes=10, tier=2, cut_shape=(12, 8, 8)),
            auxiliary=auxiliary,
        )
        adversary = find_adversary(changes.get("adversary", "server-honest-but-curious"))
        knows = "same" if batch_norm else "architecture"
        return View(evidence, adversary=adversary, knows=knows, attack="update-inversion", seed=seed), images

    return make


def error(attack: UpdateInversion, view: View, truth: Tensor) -> float:
    return float(mse(attack.reconstruct(view), truth).mean())


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid])
def test_the_gradient_of_one_image_is_inverted_as_published(activation, trained):
    """Geiping et al. 2020, section 5: a single image under an untrained network; 20 dB is recognition without doubt."""
    view, truth = trained([1], activation=activation)
    guess = replace(ATTACK, steps=120).reconstruct(view)
    assert float(psnr(guess, truth).mean()) > 20


def test_one_step_gives_its_images_away(trained, digits):
    view, truth = trained([4])
    trivial = float(mse(digits[0][100:].mean(dim=0).expand_as(truth), truth).mean())
    assert error(replace(ATTACK, steps=100), view, truth) < trivial / 3


def test_with_the_smashed_data_it_is_no_worse(trained):
    view, truth = trained([4])
    short = replace(ATTACK, steps=60)
    assert error(replace(short, joint=True), view, truth) <= error(short, view, truth)


def test_two_steps_are_told_apart(trained, digits):
    view, truth = trained([2, 2])
    trivial = float(mse(digits[0][100:].mean(dim=0).expand_as(truth), truth).mean())
    assert error(replace(ATTACK, steps=100), view, truth) < trivial / 2


def test_the_statistics_of_batch_norm_help(trained):
    """In as many steps as bring the search near: 2.6e-4 and 1.3e-3."""
    view, truth = trained([6], batch_norm=True)
    short = replace(ATTACK, steps=100)
    assert error(short, view, truth) < error(replace(short, norms=0.0), view, truth) / 2


@pytest.mark.parametrize(
    ("sizes", "sent", "epochs", "defense", "exact"),
    [
        ([3], True, 1, None, True),
        ([3], False, 1, None, True),
        ([2, 1], True, 1, None, True),
        ([2, 1], False, 1, None, False),
        ([3], True, 2, None, False),
        ([3], True, 1, GaussianNoise(), True),
        ([3], True, 1, UpdateNoise(), False),
    ],
)
def test_an_update_is_explained_exactly_where_steps_and_records_are_known(sizes, sent, epochs, defense, exact, trained):
    view, _ = trained(sizes)
    (seen, update), program = view.updates[0], view.program(view.seen[0], adaptive=True)
    target = UpdateTarget.of(program, seen, update, replace(view.local_steps, epochs=epochs))
    known = target if sent else replace(target, smashed=())
    assert known.exact(DefenseChain([defense] if defense else [])) is exact


@pytest.mark.parametrize("sizes", [[3], [2, 1]])
def test_the_true_images_explain_the_update_exactly(sizes, trained):
    view, truth = trained(sizes)
    (seen, update), program = view.updates[0], view.program(view.seen[0], adaptive=True)
    target = UpdateTarget.of(program, seen, update, view.local_steps)
    made = target.retraced(program, truth.split(sizes))
    change, residual = made.change, made.residual
    for name, tensor in target.change.items():
        torch.testing.assert_close(change[name].detach(), tensor, atol=1e-6, rtol=1e-4)
    assert residual.item() < 1e-8


def test_the_seed_decides(trained):
    short = replace(ATTACK, steps=5)
    first, again, other = (short.reconstruct(trained([2], seed=seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_needs_the_update(trained):
    with pytest.raises(InputError, match="client 0 sent no weight update"):
        ATTACK.reconstruct(trained([2], drops=True)[0])
    with pytest.raises(InputError, match="updates"):
        ATTACK.reconstruct(trained([2], adversary="server-with-secure-aggregation")[0])

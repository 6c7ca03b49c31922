import pytest
import torch
from torch import Tensor

from dtfl_private.defenses.adversarial_decoder import AdversarialDecoder
from dtfl_private.defenses.shared.inverter import forward_macs, initial_weights, reconstruct, weight_shapes
from dtfl_private.errors import InputError
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protection.cost import Cut

SHAPES = {"maps": ((1, 6, 6), (4, 3, 3)), "tokens": ((1, 6, 6), (9, 4))}


def at(tier: int = 1, memory: dict[str, Tensor] | None = None) -> ClientRound:
    return ClientRound(seed=0, client=0, round=1, tier=tier, records=9, classes=2, memory=memory or {})


def a_step(kind: str = "maps", count: int = 8, seed: int = 0) -> LocalStep:
    """Return a batch whose activations tell the inputs, by their means over a neighbourhood."""
    inputs = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed)).cumsum(dim=3)
    smashed = inputs.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).squeeze(1).movedim(3, 1)
    if kind == "tokens":
        smashed = smashed.flatten(2).transpose(1, 2)
    labels = torch.zeros(count).long()
    return LocalStep(
        inputs=inputs, smashed=smashed.clone().requires_grad_(), logits=torch.zeros(count, 2), labels=labels
    )


def penalty(defense: AdversarialDecoder, step: LocalStep, now: ClientRound) -> float:
    return -float(defense.local_loss(torch.tensor(0.0), step, now).detach())


@pytest.mark.parametrize("kind", SHAPES)
def test_the_decoder_learns_to_invert_and_its_error_is_what_the_loss_loses(kind):
    defense, now, step = AdversarialDecoder(strength=2, lr=0.01), at(), a_step(kind)
    errors = [penalty(defense, step, now) for _ in range(50)]
    assert errors[0] > 1.4  # of 2, where it would be no better than the guess
    assert 0 < errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize("kind", SHAPES)
def test_the_gradient_points_to_activations_that_are_harder_to_invert(kind):
    defense, now, step = AdversarialDecoder(strength=1, lr=0.01), at(), a_step(kind)
    for _ in range(40):
        penalty(defense, step, now)
    decoder = {name.removeprefix("1/weight/"): tensor for name, tensor in now.memory.items() if "/weight/" in name}
    loss = defense.local_loss(torch.tensor(0.0), step, now)
    (gradient,) = torch.autograd.grad(loss, step.smashed)
    moved = (step.smashed - 20 * gradient).detach()

    def error(smashed: Tensor) -> float:
        return float((reconstruct(decoder, smashed, (1, 6, 6)) - step.inputs).square().mean())

    with torch.no_grad():
        assert error(moved) > 1.02 * error(step.smashed)


def test_the_loss_cannot_run_away():
    step = a_step()
    huge = LocalStep(**{**vars(step), "smashed": (1e6 * step.smashed).detach().requires_grad_()})
    loss = AdversarialDecoder(strength=3).local_loss(torch.tensor(1.0), huge, at())
    assert float(loss.detach()) == -2
    (gradient,) = torch.autograd.grad(loss, huge.smashed)
    assert not gradient.any()


def test_blank_inputs_leave_the_loss_alone():
    step = a_step()
    blank = LocalStep(**{**vars(step), "inputs": torch.ones_like(step.inputs)})
    loss = torch.tensor(1.0)
    assert AdversarialDecoder().local_loss(loss, blank, at()) is loss


def test_its_decoder_and_adams_state_live_on_in_memory():
    """Six batches in one go equal three, a checkpoint, and three more."""
    defense, steps = AdversarialDecoder(lr=0.01), [a_step(seed=seed) for seed in range(6)]
    whole = at()
    for step in steps:
        penalty(defense, step, whole)
    first = at()
    for step in steps[:3]:
        penalty(defense, step, first)
    second = at(memory={name: tensor.clone() for name, tensor in first.remembered().items()})
    for step in steps[3:]:
        penalty(defense, step, second)
    assert whole.memory.keys() == second.memory.keys()
    assert all(torch.equal(tensor, second.memory[name]) for name, tensor in whole.memory.items())
    assert int(whole.memory["1/step/first.weight"]) == 6


def test_every_tier_has_a_decoder_of_its_own():
    defense = AdversarialDecoder()
    one = at(tier=1)
    penalty(defense, a_step("maps"), one)
    two = at(tier=2, memory=dict(one.remembered()))
    penalty(defense, a_step("tokens"), two)
    assert {name.partition("/")[0] for name in two.memory} == {"1", "2"}
    assert all(torch.equal(two.memory[name], tensor) for name, tensor in one.memory.items())


@pytest.mark.parametrize("kind", SHAPES)
def test_its_work_is_that_of_its_layers(kind):
    input_shape, cut_shape = SHAPES[kind]
    weights = initial_weights(weight_shapes(cut_shape, input_shape, 5), torch.Generator().manual_seed(0))
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        reconstruct(weights, torch.randn(1, *cut_shape), input_shape)
    assert forward_macs(cut_shape, input_shape, 5) == counter.get_total_flops() // 2
    cut = Cut(tier=1, input_shape=input_shape, cut_shape=cut_shape, smashed_bytes=1, forward_macs=1, batch_size=1)
    assert AdversarialDecoder(width=5, steps=2).extra_macs(cut) == 8 * forward_macs(cut_shape, input_shape, 5)


def test_tokens_as_inputs_are_refused():
    cut = Cut(tier=1, input_shape=(16,), cut_shape=(16, 4), smashed_bytes=1, forward_macs=1, batch_size=1)
    with pytest.raises(InputError, match="images, not tokens"):
        AdversarialDecoder().check(cut)

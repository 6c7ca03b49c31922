from dataclasses import replace

import pytest
import torch

from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.accounting import released_epsilon
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import RoundRelease, RunFacts
from dtfl_private.protocol.guarantees import GaussianRelease, PrivacyTarget
from dtfl_private.protocol.messages import SmashedBatch

RUN = RunFacts(rounds=25, batch_size=32, local_epochs=1, classes=10, records_K=(100, 250))
SHAPES = [(6, 4, 5, 5), (6, 7, 8)]
HARDLY_ANY = 1e-9


def at():
    return ClientRound(seed=1, client=3, round=2, tier=1, records=20, classes=3)


def a_batch(shape=SHAPES[0], dtype=torch.float32, scale=1.0):
    smashed = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(shape[0])
    return SmashedBatch(client=3, round=2, tier=1, batch=0, smashed=smashed.to(dtype), labels=labels)


def norms(smashed):
    return smashed.double().flatten(1).norm(dim=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("clip", [0.5, 20.0])
def test_each_record_is_clipped_by_itself(shape, scale, clip):
    before = a_batch(shape, torch.float64, scale)
    after = DpActivations(noise_multiplier=HARDLY_ANY, clip=clip).protect_batch(before, at())
    expected = before.smashed * (clip / norms(before.smashed)).clamp(max=1).view(-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(after.smashed, expected, rtol=1e-5, atol=1e-6)
    assert (norms(after.smashed) <= clip * (1 + 1e-6)).all()
    assert torch.equal(after.labels, before.labels)


def test_what_one_record_is_replaced_by_moves_no_other_and_itself_by_twice_the_norm_at_most():
    first = a_batch(dtype=torch.float64, scale=100)
    opposite = replace(first, smashed=torch.cat([-first.smashed[:1], first.smashed[1:]]))
    defense = DpActivations(clip=2.0)
    moved = defense.protect_batch(first, at()).smashed - defense.protect_batch(opposite, at()).smashed
    assert float(moved[0].norm()) == pytest.approx(4.0, rel=1e-5)
    assert float(moved[0].norm()) <= 4.0
    assert (moved[1:] == 0).all()


def test_records_of_zeros_stay_finite():
    zeros = replace(a_batch(), smashed=torch.zeros(6, 4, 5, 5))
    noisy = DpActivations(noise_multiplier=0.5, clip=2.0).protect_batch(zeros, at()).smashed
    assert noisy.isfinite().all()
    assert float(noisy.std()) == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_noise_is_drawn_in_float32_and_rounded_to_the_type_of_the_wire(dtype):
    after = DpActivations(clip=3.0).protect_batch(a_batch(dtype=dtype), at()).smashed
    assert after.dtype == dtype
    if dtype == torch.bfloat16:
        exact = replace(a_batch(), smashed=a_batch(dtype=dtype).smashed.float())
        assert torch.equal(after, DpActivations(clip=3.0).protect_batch(exact, at()).smashed.to(dtype))


def test_without_a_clipping_norm_the_cut_gives_one_that_everybody_knows():
    chosen = DpActivations().protect_batch(a_batch(), at()).smashed
    assert torch.equal(chosen, DpActivations(clip=50**0.5).protect_batch(a_batch(), at()).smashed)


def test_the_noise_of_two_batches_differs():
    defense, where = DpActivations(), at()
    assert not torch.equal(
        defense.protect_batch(a_batch(), where).smashed, defense.protect_batch(a_batch(), where).smashed
    )


def test_what_it_guarantees_of_a_round():
    released = RoundRelease(records=100, batch_size=32, steps=4, epochs=1)
    defense = DpActivations(noise_multiplier=5.0, epsilon=3.0)
    assert defense.guarantees(released) == (
        GaussianRelease(noise_multiplier=5.0, releases=1, target=PrivacyTarget(delta=1e-5, epsilon=3.0)),
    )
    assert defense.guarantees(replace(released, batches=False)) == ()


@pytest.mark.parametrize("epsilon", [0.5, 10.0, 300.0])
def test_a_target_epsilon_is_for_all_planned_releases(epsilon):
    defense = DpActivations(epsilon=epsilon).calibrated(RUN)
    release = GaussianRelease(noise_multiplier=defense.noise, releases=25, target=defense.target)
    assert 0.97 * epsilon < released_epsilon([release], 1e-5) <= epsilon


def test_wrong_settings_and_impossible_targets_are_refused():
    with pytest.raises(InputError, match="clip=0 is refused"):
        create("defense", "dp-activations:clip=0")
    with pytest.raises(InputError, match=r"clip=-1\.0 is refused"):
        DpActivations(clip=-1.0)
    with pytest.raises(InputError, match="cannot be met in 25 releases of each record"):
        DpActivations(epsilon=1e-5).calibrated(RUN)

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dtfl_private.defenses.label_rr import LabelRr, keep_probability
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import RoundRelease
from dtfl_private.protocol.guarantees import RandomizedResponse

RECORDS = 200
TRUTH = torch.arange(RECORDS) % 7


def at(round_=1, client=3, seed=1, tier=1):
    return ClientRound(seed=seed, client=client, round=round_, tier=tier, records=RECORDS, classes=7)


def drawn(where, epsilon=1.0):
    return LabelRr(epsilon=epsilon).protect_labels(TRUTH, torch.arange(RECORDS), where)


def test_a_records_label_is_the_same_in_every_batch_round_and_tier():
    first = drawn(at())
    assert torch.equal(first, drawn(at(round_=9, tier=4)))
    where = at(round_=2)
    some = torch.tensor([150, 3, 77, 3])
    for _ in range(2):
        assert torch.equal(LabelRr(epsilon=1.0).protect_labels(TRUTH[some], some, where), first[some])


def test_a_resumed_run_draws_them_again_alike():
    saved = at(round_=4).remembered()
    assert saved == {}
    assert torch.equal(drawn(replace(at(round_=5), memory=dict(saved))), drawn(at()))


def test_clients_and_seeds_draw_by_themselves():
    assert not torch.equal(drawn(at()), drawn(at(client=4)))
    assert not torch.equal(drawn(at()), drawn(at(seed=2)))


def test_the_label_told_is_a_class_and_the_true_ones_are_not_written_to():
    before = TRUTH.clone()
    told = drawn(at(), epsilon=0.01)
    assert torch.equal(before, TRUTH)
    assert told.dtype == torch.int64
    assert set(told.tolist()) == set(range(7))


def test_a_lie_depends_on_the_truth_by_its_offset_only():
    """Replacing one record's label changes what is told of that record alone."""
    other = TRUTH.clone()
    other[5] = (other[5] + 1) % 7
    told = LabelRr(epsilon=1.0).protect_labels(other, torch.arange(RECORDS), at())
    assert (told != drawn(at())).nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("epsilon", [1e-3, 2.0, 1000.0])
def test_the_two_probabilities_differ_by_e_to_the_epsilon(classes, epsilon):
    keep = keep_probability(epsilon, classes)
    other = (1 - keep) / (classes - 1)
    assert 0 < keep <= 1
    if epsilon < 100:
        assert keep == pytest.approx(math.exp(epsilon) / (math.exp(epsilon) + classes - 1))
        assert math.log(keep / other) == pytest.approx(epsilon)


@pytest.mark.parametrize("epsilon", [0.01, 2.0, 8.0])
def test_the_corrected_loss_is_that_of_the_transition_matrix(epsilon):
    """Forward correction of Patrini et al. 2017: -log (softmax(logits) T)_drawn."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(9, 7, generator=generator, dtype=torch.float64)
    labels = torch.arange(9) % 7
    keep = keep_probability(epsilon, 7)
    transition = torch.full((7, 7), (1 - keep) / 6, dtype=torch.float64).fill_diagonal_(keep)
    told = logits.softmax(1) @ transition
    expected = -told[torch.arange(9), labels].log().mean()
    assert float(LabelRr(epsilon=epsilon).classification_loss(logits, labels)) == pytest.approx(float(expected))


def test_the_corrected_loss_has_gradients_and_stays_finite_at_its_ends():
    logits = torch.tensor([[200.0, -200.0, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    labels = torch.tensor([1, 0])
    for epsilon in (1e-3, 2.0, 700.0):
        loss = LabelRr(epsilon=epsilon).classification_loss(logits, labels)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()
    small = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda values: LabelRr(epsilon=0.5).classification_loss(values, torch.tensor([0, 1, 2, 2])), (small,)
    )


def test_the_corrected_loss_is_least_at_the_true_distribution():
    """What a classifier learns from drawn labels: the true class probabilities, not the drawn ones."""
    truth = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    keep = keep_probability(1.0, 3)
    drawn_share = (keep - (1 - keep) / 2) * truth + (1 - keep) / 2
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for _ in range(400):
        losses = torch.stack(
            [LabelRr(epsilon=1.0).classification_loss(logits[None], torch.tensor([label])) for label in range(3)]
        )
        (gradient,) = torch.autograd.grad((drawn_share * losses).sum(), logits)
        logits = (logits - 5 * gradient).detach().requires_grad_()
    torch.testing.assert_close(logits.softmax(0), truth, rtol=1e-3, atol=1e-4)


def test_without_noise_to_speak_of_the_corrected_loss_is_cross_entropy_and_it_can_be_left_off():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0])
    loss = LabelRr(epsilon=30.0).classification_loss(logits, labels)
    assert float(loss) == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert create("defense", "label-rr:epsilon=1,correct=no").classification_loss(logits, labels) is None


def test_what_it_guarantees_of_a_round():
    released = RoundRelease(records=100, batch_size=32, steps=4, epochs=1)
    draw = (RandomizedResponse(epsilon=1.5),)
    assert LabelRr(epsilon=1.5).guarantees(released) == draw
    assert LabelRr(epsilon=1.5).guarantees(replace(released, update=False)) == draw
    assert LabelRr(epsilon=1.5).guarantees(replace(released, update=False, batches=False)) == ()


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("inf"), float("nan")])
def test_wrong_epsilons_are_refused(epsilon):
    with pytest.raises(InputError, match="is refused"):
        LabelRr(epsilon=epsilon)
    with pytest.raises(InputError, match="is refused"):
        create("defense", f"label-rr:{epsilon}")

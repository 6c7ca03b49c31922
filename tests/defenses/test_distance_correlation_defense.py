import dcor
import pytest
import torch

from dtfl_private.defenses.distance_correlation import DistanceCorrelation
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protection.cost import Cut, RunFacts


def at(client: int = 0) -> ClientRound:
    return ClientRound(seed=0, client=client, round=1, tier=1, records=9, classes=2)


def a_step(count: int) -> LocalStep:
    generator = torch.Generator().manual_seed(0)
    smashed = torch.randn(count, 2, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(count, 1, 6, 6, generator=generator, dtype=torch.float64)
    return LocalStep(inputs=inputs, smashed=smashed, logits=torch.zeros(count, 2), labels=torch.zeros(count).long())


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_the_loss_is_the_weighted_sum_of_correlation_and_loss(alpha):
    step = a_step(8)
    loss = DistanceCorrelation(alpha=alpha).local_loss(torch.tensor(2.0), step, at())
    correlation = dcor.distance_correlation(step.inputs.flatten(1).numpy(), step.smashed.detach().flatten(1).numpy())
    assert float(loss.detach()) == pytest.approx(alpha * correlation + (1 - alpha) * 2, abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_tiny_batches_have_no_correlation_term(count):
    assert float(DistanceCorrelation(alpha=0.25).local_loss(torch.tensor(2.0), a_step(count), at())) == 1.5


def test_weight_zero_is_the_loss_itself():
    loss = torch.tensor(2.0)
    assert DistanceCorrelation(alpha=0).local_loss(loss, a_step(8), at()) is loss


def test_clients_may_have_weights_of_their_own():
    defense = create("defense", "distance-correlation:alpha=0.5,per_client=3:0.75;5:0.25")
    assert [defense.alpha_of(client) for client in (0, 3, 4, 5)] == [0.5, 0.75, 0.5, 0.25]
    assert defense == DistanceCorrelation(alpha=0.5, per_client={3: 0.75, 5: 0.25})
    loss = torch.tensor(2.0)
    assert defense.local_loss(loss, a_step(3), at(3)) == 0.5


@pytest.mark.parametrize(
    "wrong", ["alpha=1.1", "alpha=-0.1", "per_client=3:2", "per_client=-1:0.5", "per_client=3", "alpha=nan"]
)
def test_weights_that_are_none_are_refused(wrong):
    with pytest.raises(InputError, match="is refused"):
        create("defense", f"distance-correlation:{wrong}")


def test_weights_of_clients_that_do_not_exist_are_refused():
    run = RunFacts(rounds=1, batch_size=4, local_epochs=1, classes=2, records_K=(9, 9))
    DistanceCorrelation(per_client={1: 0.5}).calibrated(run)
    with pytest.raises(InputError, match=r"client 2, but there are 2: 0\.\.1"):
        DistanceCorrelation(per_client={2: 0.5}).calibrated(run)


def test_training_on_it_lowers_the_correlation():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 4, generator=generator)
    smashed = (inputs @ torch.randn(4, 6, generator=generator)).requires_grad_()
    optimizer = torch.optim.SGD([smashed], lr=30)
    values = []
    for _ in range(60):
        step = LocalStep(inputs=inputs, smashed=smashed, logits=smashed, labels=torch.zeros(8).long())
        loss = DistanceCorrelation(alpha=1).local_loss(torch.tensor(0.0), step, at())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[0] > 0.9
    assert values[-1] < values[0] - 0.2


def test_its_work_is_that_of_the_gram_matrices():
    cut = Cut(tier=1, input_shape=(3, 8, 8), cut_shape=(4, 8, 8), smashed_bytes=1024, forward_macs=1, batch_size=10)
    assert DistanceCorrelation().extra_macs(cut) == 10 * (192 + 2 * 256)

import pytest
import torch

from dtfl_private.defenses.distance_correlation import DistanceCorrelation
from dtfl_private.errors import InputError
from dtfl_private.leakage.dcor import bias_corrected_squared, distance_correlation
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
    correlation = float(distance_correlation(step.inputs, step.smashed.detach()))
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


def a_round_of_steps(
    defense: DistanceCorrelation, sizes: list[int]
) -> tuple[list[LocalStep], list[float], ClientRound]:
    """Return steps that follow each other in one round, and their losses where the plain loss is 0."""
    now, steps, losses = at(), [], []
    for number, count in enumerate(sizes):
        generator = torch.Generator().manual_seed(number)
        inputs = torch.randn(count, 1, 6, 6, generator=generator, dtype=torch.float64)
        smashed = (inputs.flatten(1)[:, :18] + 0.5 * torch.randn(count, 18, generator=generator)).reshape(-1, 2, 3, 3)
        steps.append(
            LocalStep(
                inputs=inputs,
                smashed=smashed.requires_grad_(),
                logits=torch.zeros(count, 2),
                labels=torch.zeros(count).long(),
            )
        )
        losses.append(float(defense.local_loss(torch.tensor(0.0), steps[-1], now).detach()))
    return steps, losses, now


# Both are those of the dcor package, as its tests show.
STATISTICS = {"plain": distance_correlation, "corrected": bias_corrected_squared}


@pytest.mark.parametrize("estimator", STATISTICS)
@pytest.mark.parametrize(("memory", "sample"), [(0, [6, 6, 6]), (8, [6, 12, 14]), (50, [6, 12, 18])])
def test_the_correlation_is_that_of_the_batch_and_what_is_remembered(estimator, memory, sample):
    steps, losses, _ = a_round_of_steps(DistanceCorrelation(alpha=1, estimator=estimator, memory=memory), [6, 6, 6])
    inputs, smashed = (torch.cat([getattr(step, part).flatten(1) for step in steps]) for part in ("inputs", "smashed"))
    for number, (loss, count) in enumerate(zip(losses, sample, strict=True)):
        end = 6 * (number + 1)
        own = slice(end - count, end)
        expected = float(STATISTICS[estimator](inputs[own], smashed[own].detach()))
        assert loss == pytest.approx(max(expected, 0), abs=1e-6)


def test_a_memory_lets_batches_of_one_record_count_and_is_gone_after_the_round():
    _, losses, now = a_round_of_steps(DistanceCorrelation(alpha=1, memory=8), [1, 1, 1, 1, 1])
    assert losses[:3] == [0, 0, 0]
    assert min(losses[3:]) > 0.5
    assert not now.remembered()
    assert len(now.scratch["inputs"]) == 5


def test_no_gradient_goes_to_what_is_remembered():
    defense, now, steps = DistanceCorrelation(alpha=1, memory=8), at(), [a_step(6), a_step(6)]
    for step in steps:
        loss = defense.local_loss(torch.tensor(0.0), step, now)
    first, second = torch.autograd.grad(loss, [step.smashed for step in steps], allow_unused=True)
    assert first is None
    assert second.abs().max() > 0


def test_of_independent_records_in_many_dimensions_only_the_corrected_estimate_is_near_zero():
    generator = torch.Generator().manual_seed(0)
    inputs, smashed = (torch.randn(32, values, generator=generator) for values in (784, 3136))
    step = LocalStep(inputs=inputs, smashed=smashed, logits=torch.zeros(32, 2), labels=torch.zeros(32).long())
    plain, corrected = (
        float(DistanceCorrelation(alpha=1, estimator=name).local_loss(torch.tensor(0.0), step, at()))
        for name in ("plain", "corrected")
    )
    assert plain > 0.9
    assert corrected < 0.1


def test_the_work_grows_with_the_memory():
    cut = Cut(tier=1, input_shape=(3, 8, 8), cut_shape=(4, 8, 8), smashed_bytes=1024, forward_macs=1, batch_size=10)
    assert DistanceCorrelation(memory=30).extra_macs(cut) == 160 * (192 + 2 * 256)


def a_text_step(tokens: list[list[int]], smashed: torch.Tensor, padding: int = 0) -> LocalStep:
    inputs = torch.tensor(tokens)
    real = inputs != padding
    count = len(tokens)
    return LocalStep(
        inputs=inputs, smashed=smashed, logits=torch.zeros(count, 2), labels=torch.zeros(count).long(), real=real
    )


TEXTS = [[3, 1, 2, 0, 0], [1, 1, 2, 4, 0], [2, 4, 0, 0, 0], [4, 3, 1, 1, 2], [1, 2, 2, 0, 0]]


def test_pooled_texts_are_compared_by_their_tokens_and_mean_activations():
    smashed = torch.randn(5, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = DistanceCorrelation(alpha=1, tokens="pooled").local_loss(
        torch.tensor(2.0), a_text_step(TEXTS, smashed), at()
    )
    shares, means = [], []
    for text, values in zip(TEXTS, smashed, strict=True):
        real = [place for place, token in enumerate(text) if token]
        shares.append([sum(text[place] == token for place in real) / len(real) for token in (1, 2, 3, 4)])
        means.append(values[real].mean(dim=0).tolist())
    assert float(loss) == pytest.approx(
        float(
            distance_correlation(torch.tensor(shares, dtype=torch.float64), torch.tensor(means, dtype=torch.float64))
        ),
        abs=1e-6,
    )


def test_pooled_texts_are_the_same_in_any_order_of_their_tokens_and_with_more_padding():
    smashed = torch.randn(5, 5, 3, generator=torch.Generator().manual_seed(0))
    defense = DistanceCorrelation(alpha=1, tokens="pooled", memory=3)
    loss = torch.tensor(2.0)
    turned = [[*reversed(text[: text.index(0) if 0 in text else 5]), *[0] * text.count(0)] for text in TEXTS]
    longer = [[*text, 0, 0] for text in TEXTS]
    expected = defense.local_loss(loss, a_text_step(TEXTS, smashed), at())
    assert expected > 0
    assert torch.allclose(defense.local_loss(loss, a_text_step(turned, smashed), at()), expected)
    filled = torch.cat([smashed, torch.full((5, 2, 3), 7.0)], dim=1)
    assert torch.allclose(defense.local_loss(loss, a_text_step(longer, filled), at()), expected)


def test_pooled_texts_are_remembered_as_they_were_sent():
    smashed = torch.randn(8, 5, 3, generator=torch.Generator().manual_seed(0))
    texts = [*TEXTS, *TEXTS[:3]]
    defense, kept = DistanceCorrelation(alpha=1, tokens="pooled", memory=4), at()
    loss = torch.tensor(2.0)
    defense.local_loss(loss, a_text_step(texts[:4], smashed[:4]), kept)
    together = defense.local_loss(loss, a_text_step(texts[4:], smashed[4:]), kept)
    assert torch.equal(together, defense.local_loss(loss, a_text_step(texts, smashed), at()))


@pytest.mark.parametrize(("inputs", "cut"), [((1, 8, 8), (4, 8)), ((8,), (4,)), ((8,), (4, 2, 2))])
def test_what_is_no_text_is_not_pooled(inputs, cut):
    where = Cut(tier=1, input_shape=inputs, cut_shape=cut, smashed_bytes=8, forward_macs=1, batch_size=4)
    DistanceCorrelation().check(where)
    with pytest.raises(InputError, match=r"tokens=pooled pools texts; inputs here are of shape \("):
        DistanceCorrelation(tokens="pooled").check(where)

"""Updates that make the average useless are left out, whoever else is in it; an honest round is judged once."""

import torch

from dtfl_private.deployed.server.vetting import Vetting
from dtfl_private.training.aggregate import WeightedAverage
from dtfl_private.training.tasks import ALL_TEST_IMAGES, ClientResult, Evaluation, ImageRange

BEFORE = {"w": torch.zeros(2)}
INPUT = torch.full((2,), 1e20)


class Judge:
    """A network of one layer, whose loss is not finite where its float32 is not."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model, images: ImageRange) -> Evaluation:
        self.calls += 1
        return Evaluation(correct=0, loss_sum=float(model["w"] @ INPUT), images=1)


def result(client: int, weight: float) -> ClientResult:
    model = {} if weight == 0 else {"w": torch.tensor([weight, -1.0])}
    return ClientResult(
        client=client,
        tier=1,
        examples=10,
        model=model,
        head={},
        local_loss=None,
        server_loss=None,
        traffic={},
    )


def vetted(*results: ClientResult) -> set[int]:
    return Vetting(Judge(), [ALL_TEST_IMAGES]).breaking(results, BEFORE)


def test_only_those_are_left_out_without_whom_the_average_can_be_judged():
    assert vetted(result(0, 1.0), result(1, -1.0), result(2, 0.0)) == set()
    assert vetted(result(0, 1.0), result(1, 1e30), result(2, 3.0)) == {1}
    assert vetted(result(0, 1e31), result(1, 1.0), result(2, -1e30)) == {0, 2}
    assert vetted(result(4, 1e30)) == {4}
    assert vetted() == set()


def test_an_average_that_was_judged_is_not_judged_again_and_any_other_is():
    judge = Judge()
    vetting = Vetting(judge, [ALL_TEST_IMAGES])
    results = [result(0, 1.0), result(1, 2.0)]
    vetting.breaking(results, BEFORE)
    average = WeightedAverage()
    for one in results:
        average.add(one.model, one.examples)
    model = average.result(BEFORE)
    found = vetting.evaluate(model, ALL_TEST_IMAGES)
    assert judge.calls == 1
    assert found == judge(model, ALL_TEST_IMAGES)
    calls = judge.calls
    other = {"w": model["w"] + 1}
    assert vetting.evaluate(other, ALL_TEST_IMAGES).loss_sum != found.loss_sum
    vetting.evaluate(model, ImageRange(stop=1))
    assert judge.calls == calls + 2

"""Clipping holds to the last bit that counts."""

import pytest
import torch

from dtfl_private.defenses.shared.clipping import clipped, clipped_sum

RECORDS = 5


def norm_of(gradients, record):
    return torch.cat([gradient[record].flatten() for gradient in gradients]).double().norm()


def test_the_clipped_sum_is_that_of_the_slow_loop():
    generator = torch.Generator().manual_seed(2)
    gradients = [torch.randn(RECORDS, *shape, generator=generator) for shape in ((3, 4), (7,), (2, 2, 2))]
    gradients = [
        gradient * torch.logspace(-2, 2, RECORDS).view(-1, *[1] * (gradient.ndim - 1)) for gradient in gradients
    ]
    slow = [torch.zeros_like(gradient[0]) for gradient in gradients]
    for record in range(RECORDS):
        factor = min(1.0, 1.5 / float(norm_of(gradients, record)))
        for total, gradient in zip(slow, gradients, strict=True):
            total += factor * gradient[record]
    for ours, theirs in zip(clipped_sum(gradients, 1.5), slow, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("clip", [0.1, 1.0, 30.0])
def test_no_record_adds_more_than_the_clipping_norm(scale, clip):
    """The sensitivity itself: what the sum changes by when a record is left out."""
    generator = torch.Generator().manual_seed(3)
    gradients = [scale * torch.randn(64, *shape, generator=generator) for shape in ((9, 5), (4,))]
    for record in range(64):
        alone = clipped_sum([gradient[record : record + 1] for gradient in gradients], clip)
        assert float(torch.cat([part.double().flatten() for part in alone]).norm()) <= clip
        full = float(norm_of(gradients, record))
        assert float(torch.cat([part.flatten() for part in alone]).norm()) == pytest.approx(min(full, clip), rel=1e-5)


def test_zero_gradients_and_no_records_add_nothing():
    for records in (0, 3):
        (total,) = clipped_sum([torch.zeros(records, 4)], 1.0)
        assert torch.equal(total, torch.zeros(4))


OVERFLOWS = [float("nan"), float("inf"), -float("inf"), 3e38]


@pytest.mark.parametrize("value", OVERFLOWS)
def test_a_record_that_overflows_is_no_record_and_changes_no_other(value):
    """A server chooses the weights: if NaN went out, it would learn of single records, past all noise."""
    generator = torch.Generator().manual_seed(4)
    records = torch.randn(RECORDS, 3, 4, generator=generator)
    spoilt = records.clone()
    spoilt[2, 1] = value
    ours, before = clipped(spoilt, 1.5), clipped(records, 1.5)
    others = [0, 1, 3, 4]
    assert torch.equal(ours[others], before[others])
    assert torch.equal(ours[2], torch.zeros(3, 4))

    sums, without = clipped_sum([spoilt, records], 1.5), clipped_sum([records[others], records[others]], 1.5)
    for total, rest in zip(sums, without, strict=True):
        torch.testing.assert_close(total, rest)

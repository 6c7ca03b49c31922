"""Distance correlation of two samples: how strongly one depends on the other, in any dimension.

Two estimators for n pairs (x_i, y_i): `distance_correlation`, the plain one, and the bias-corrected one, whose square
is `corrected_correlation` as a loss term, `bias_corrected_squared` as a figure that is reported. In high dimensions the
plain one is near 1 even of independent samples; never report it.
"""

import torch
from torch import Tensor

# Squared distances below this multiple of the rounding error of a Gram matrix cannot be told from zero.
ROUNDING_ERRORS = 16


def distances(sample: Tensor) -> Tensor:
    """Return the Euclidean distances (n, n) between the rows of a sample (n, ...), with a gradient that is finite.

    Whole numbers are tokens: the distance is that of their one-hot codes. Floating-point rows are computed in float32,
    or in float64 if they are that.
    """
    rows = sample.flatten(1)
    if not rows.is_floating_point():
        return _token_distances(rows)
    with torch.autocast(rows.device.type, enabled=False):
        # Without centring, |a|^2 + |b|^2 - 2 a.b of rows far from the origin is the difference of large numbers.
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        rows = rows - rows.mean(dim=0, keepdim=True)
        gram = rows @ rows.T
        squares = gram.diagonal()
        scale = squares[:, None] + squares[None, :]
        return _root(scale - 2 * gram, ROUNDING_ERRORS * torch.finfo(rows.dtype).eps * scale.detach())


def _token_distances(rows: Tensor) -> Tensor:
    differing = [(rows != row).sum(dim=1) for row in rows]
    return (2.0 * torch.stack(differing)).sqrt()


def _root(squares: Tensor, floor: Tensor | float = 0.0) -> Tensor:
    """Return the square root, 0 with gradient 0 where it is not above ``floor``: there the derivative is infinite."""
    positive = squares > floor
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)


def distance_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the distance correlation (V-statistic) of two samples of n records each, a scalar within 0..1.

    Differentiable, with finite gradients also for equal rows and constant samples. 0 if a sample is constant.
    Szekely, Rizzo and Bakirov 2007 (0803.4101), definition 3; biased towards 1, the more so the higher the dimensions.

    Args:
        first: (n, ...); whole numbers are taken for tokens, see `distances`.
        second: (n, ...).
    """
    a, b = _double_centred(distances(first)), _double_centred(distances(second))
    # Distances of tokens are float32 whatever the other sample is.
    a, b = a.to(torch.promote_types(a.dtype, b.dtype)), b.to(torch.promote_types(a.dtype, b.dtype))
    variances = (a * a).mean() * (b * b).mean()
    covariance = (a * b).mean()
    scale = _root(variances)
    present = scale > 0
    return _root(torch.where(present, covariance / torch.where(present, scale, 1), 0))


def _double_centred(matrix: Tensor) -> Tensor:
    return matrix - matrix.mean(dim=0, keepdim=True) - matrix.mean(dim=1, keepdim=True) + matrix.mean()


def bias_corrected_squared(first: Tensor, second: Tensor) -> float:
    """Return the bias-corrected squared distance correlation of two samples of n records each, in float64.

    Near 0 for independent samples in any dimension, and then negative about as often as positive; at most 1. 0 if a
    sample is constant. Szekely and Rizzo 2014 (1310.2926), section 2.

    Raises:
        ValueError: fewer than 4 records.
    """
    if len(first) < 4:
        raise ValueError(f"{len(first)} records are too few for the bias-corrected distance correlation: at least 4")
    a, b = u_centred(first), u_centred(second)
    variances = float((a * a).sum() * (b * b).sum())
    return float((a * b).sum()) / variances**0.5 if variances > 0 else 0.0


def corrected_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return what `bias_corrected_squared` does of n >= 4 records, as a scalar with a finite gradient; 0 at least.

    Where it is negative, as of independent samples half of the time, there is nothing to lower, and no gradient.
    """
    a, b = _u_centred(distances(first)), _u_centred(distances(second))
    common = torch.promote_types(a.dtype, b.dtype)
    a, b = a.to(common), b.to(common)
    scale = _root((a * a).sum() * (b * b).sum())
    present = scale > 0
    return torch.where(present, (a * b).sum() / torch.where(present, scale, 1), 0).clamp(min=0)


def u_centred(sample: Tensor) -> Tensor:
    """Return the U-centred distances (n, n) of a sample of n >= 4 records, float64, without gradient.

    The statistic of permuted pairs needs no new distances: permute rows and columns of one of the two matrices.
    """
    values = sample.detach().cpu()
    return _u_centred(distances(values.double() if values.is_floating_point() else values).double())


def _u_centred(matrix: Tensor) -> Tensor:
    """Return distances (n, n) centred so that rows and columns sum to 0, with a diagonal of 0, for n > 2."""
    count = len(matrix)
    rows, total = matrix.sum(dim=1), matrix.sum()
    centred = matrix - (rows[:, None] + rows[None, :]) / (count - 2) + total / ((count - 1) * (count - 2))
    return centred.masked_fill(torch.eye(count, dtype=torch.bool, device=matrix.device), 0)

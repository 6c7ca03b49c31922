"""What a Gaussian prior tells of images before anything is seen: the information of their shrunk covariance."""

import torch
from torch import Tensor


@torch.no_grad()
def prior_information(images: Tensor) -> float:
    """Return tr(J_prior) / d, J_prior the inverse of the images' shrunk covariance, d their number of values.

    In units of the images' values to the power of -2. Fewer images than values have a singular covariance S; Ledoit and
    Wolf (2004) mix it with a multiple of the identity, (1 - r) S + r m I with m = tr(S) / d. Computed from inner
    products where d is large.

    Args:
        images: (k, ...) with k >= 2.

    Raises:
        ValueError: all images are equal.
    """
    rows = images.detach().cpu().double().flatten(1)
    rows = rows - rows.mean(dim=0)
    count, values = rows.shape
    # Both matrices have the same positive eigenvalues; the smaller one is enough.
    gram = (rows @ rows.T if count < values else rows.T @ rows) / count
    mean_variance = float(gram.trace()) / values
    if mean_variance <= 0:
        raise ValueError("images that are all equal have no covariance")
    shrinkage = _shrinkage(rows, gram)
    eigenvalues = torch.linalg.eigvalsh(gram).clamp(min=0)
    informations = 1 / ((1 - shrinkage) * eigenvalues + shrinkage * mean_variance)
    rest = (values - len(eigenvalues)) / (shrinkage * mean_variance) if count < values else 0.0
    return (float(informations.sum()) + rest) / values


def _shrinkage(rows: Tensor, gram: Tensor) -> float:
    """Return Ledoit and Wolf's r within 0..1 of centred rows (k, d), given their inner products or covariance."""
    count, values = rows.shape
    squares = float(gram.square().sum())
    mean_variance = float(gram.trace()) / values
    distance = squares / values - mean_variance**2
    error = (float(rows.square().sum(dim=1).square().sum()) / count - squares) / (count * values)
    return min(error, distance) / distance if distance > 0 else 1.0

"""How many records of each class a client trained on, from what its training did to the last linear layer.

Under cross-entropy the slope of the bias of class c is the mean over the records of p_c - [y = c], where p is what the
network says of a record, and that of its weights the mean of (p_c - [y = c]) h with h, what enters the layer. Let P_kc
be the mean p_c of the records of class k; then the counts n solve n (P - 1) = N slope, with sum n = N. P is taken from
the slopes themselves: as long as classes are told apart poorly, the slopes of a class divide to about the mean h of its
records, which the known layer turns into P; counts and P are then improved in turns. So the system of equations of
Ma et al. 2023 (CVPR, "Instance-wise batch label restoration via gradients in federated learning"); that the slope of
the bias counts, once what the network says is estimated, is from Geng et al. 2021 (arXiv 2110.09074) and Wainakh et al.
2022 (PoPETs, "User-level label leakage from gradients").
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.attacking.evidence import LocalSteps

ROUNDS = 20
# Below so many records a class tells nothing of its own mean h.
FEW = 0.3
# A bias that falls by less than this share of all that fall has not fallen: to divide by it would be to divide by 0.
LEAST = 1e-6
# A logit beyond which a network is quite sure.
SURE = 1e6


@dataclass(frozen=True, kw_only=True)
class LinearLayer:
    """The last linear layer's weights (classes, D) and bias (classes,), or slopes or changes of them."""

    weight: Tensor
    bias: Tensor


def mean_slopes(begin: LinearLayer, change: LinearLayer, how: LocalSteps, steps: int) -> LinearLayer:
    """Return the mean slope of a layer over so many steps of SGD, from what they added to it.

    With momentum the gradients of late steps had less time to act: the mean is weighted so.
    """
    acted = sum(sum(how.momentum**later for later in range(steps - step)) for step in range(steps))

    def slope(at: Tensor, added: Tensor) -> Tensor:
        return -added / (how.lr * acted) - how.weight_decay * at

    return LinearLayer(weight=slope(begin.weight, change.weight), bias=slope(begin.bias, change.bias))


def label_counts(layer: LinearLayer, slopes: LinearLayer, records: int, class_weights: Tensor | None = None) -> Tensor:
    """Return the estimated records of each class (classes,), float64, not below 0, that add up to ``records``.

    Args:
        layer: as the batch met it; for several steps, in the middle of them.
        slopes: of the mean cross-entropy of these records.
        records: N.
        class_weights: weights w of the classes in that mean (classes,); None where all are 1. The equations are then of
            w_k n_k in place of n_k, and say what these are by sum_k (w_k n_k) / w_k = N.
    """
    classes = len(layer.bias)
    each = torch.ones(classes, dtype=torch.float64) if class_weights is None else 1 / class_weights.double().cpu()
    weight, bias = layer.weight.double().cpu(), layer.bias.double().cpu()
    weight_slopes, bias_slopes = slopes.weight.double().cpu(), slopes.bias.double().cpu()

    def said(inputs_KD: Tensor) -> Tensor:
        # Of equations that hardly determine anything the solution may be beyond all numbers.
        return torch.softmax(torch.nan_to_num(inputs_KD @ weight.T + bias).clamp(-SURE, SURE), dim=1)

    # A class whose bias falls has records: for the others the mean of all h stands in.
    falls = (-bias_slopes).clamp(min=0)
    if not falls.sum() > 0:
        return torch.full_like(bias, records / len(bias))
    falls = torch.where(falls > LEAST * falls.sum(), falls, 0)
    own = weight_slopes / torch.where(falls > 0, bias_slopes, 1)[:, None]
    start = torch.where(falls[:, None] > 0, own, (falls[:, None] * own).sum(dim=0) / falls.sum())
    said_KK, unit = said(start), torch.eye(len(bias), dtype=torch.float64)
    counts = _solved(said_KK, bias_slopes, records, each)
    for _ in range(ROUNDS):
        # The rows of these equations add up to 0 = 0: of all solutions, that of the smallest h.
        explained = torch.linalg.pinv((said_KK.T - unit) * counts) @ (records * weight_slopes)
        said_KK = said(torch.where(counts[:, None] > FEW, explained, start))
        counts = _solved(said_KK, bias_slopes, records, each)
    return counts * each


def whole_counts(counts: Tensor) -> Tensor:
    """Return whole numbers (classes,), int64, with the same sum: rounded down, the largest remainders up."""
    total, found = round(float(counts.sum())), counts.floor()
    missing = total - int(found.sum())
    found[(counts - found).argsort(descending=True, stable=True)[:missing]] += 1
    return found.long()


def _solved(said_KK: Tensor, bias_slopes: Tensor, records: int, each: Tensor) -> Tensor:
    """Return the weighted counts that explain the slopes of the bias, if the classes' records are answered so.

    ``each`` is what a record of a class counts in ``records`` when it counts 1 in them: the reciprocal of its weight.
    """
    classes = len(bias_slopes)
    equations = torch.cat([said_KK.T - torch.eye(classes, dtype=torch.float64), each[None]])
    given = torch.cat([records * bias_slopes, torch.tensor([float(records)])])
    found: Tensor = torch.linalg.lstsq(equations, given[:, None], driver="gelsd").solution[:, 0].clamp(min=0)
    if not found.sum() > 0:
        return records / classes / each
    scaled: Tensor = found * records / (found * each).sum()
    return scaled

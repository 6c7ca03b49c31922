"""Batch norm's running statistics, measured anew for given weights: "precise batch norm" (Wu & Johnson, 2021).

Running statistics are a moving average of a training's batches, hence of weights that changed on the way. When weights
are set otherwise than by that training, their statistics are those of other weights, and a network in
evaluation mode normalises by them. Other kinds of normalisation keep no such statistics, or of the input alone.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import State, tensor_bytes

MEAN, VARIANCE = "running_mean", "running_var"


def batch_norms(model: nn.Module) -> Mapping[str, _BatchNorm]:
    """Return the layers that keep running statistics, by name; one that is used twice under both of its names."""
    return {
        name: layer
        for name, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    }


def statistics_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances as the model has them, by their names in its state."""
    return {
        f"{name}.{kind}": getattr(layer, kind)
        for name, layer in batch_norms(model).items()
        for kind in (MEAN, VARIANCE)
    }


def statistics_bytes(model: nn.Module) -> int:
    """Return the bytes of all running means and variances."""
    return sum(tensor_bytes(tensor) for tensor in statistics_of(model).values())


class _Moments:
    """Count, sum and sum of squares of what a layer was given, per channel; a forward pre-hook.

    The sums are in float64 on the CPU, whatever the device.
    """

    def __init__(self, layer: _BatchNorm, dtype: torch.dtype) -> None:
        self._count = 0
        self._sum = torch.zeros(layer.num_features, dtype=torch.float64)
        self._squares = torch.zeros(layer.num_features, dtype=torch.float64)
        self._dtype = dtype

    def __call__(self, _layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0].detach().to(self._dtype)
        variance, mean = torch.var_mean(values, dim=[d for d in range(values.ndim) if d != 1], correction=0)
        variance, mean = variance.cpu().double(), mean.cpu().double()
        count = values.numel() // values.shape[1]
        self._count += count
        self._sum += count * mean
        self._squares += count * (variance + mean.square())

    def mean_and_variance(self) -> tuple[Tensor, Tensor] | None:
        """Return both over all that was given, between batches included; None if nothing was."""
        if not self._count:
            return None
        mean = self._sum / self._count
        return mean, (self._squares / self._count - mean.square()).clamp(min=0)


def measure_statistics(model: nn.Module, batches: Iterable[Tensor], numerics: Numerics) -> dict[str, Tensor]:
    """Return the statistics of batches of inputs under the model's present weights, on the CPU, by name in its state.

    The network is in evaluation mode but for batch norm, which normalises each batch by its own statistics: what a
    layer is given does not depend on statistics that have yet to be measured. The variance is that of a population, as
    batch norm itself normalises by; a layer that was not used keeps its statistics. The model's own are overwritten
    and mean nothing afterwards.
    """
    kept = {name: tensor.detach().to("cpu", copy=True) for name, tensor in statistics_of(model).items()}
    layers = batch_norms(model)
    moments = {layer: _Moments(layer, numerics.weight_dtype) for layer in layers.values()}
    model.eval()
    for layer in moments:
        layer.train()
    hooks = [layer.register_forward_pre_hook(seen) for layer, seen in moments.items()]
    try:
        for inputs in batches:
            with torch.no_grad(), numerics.autocast():
                model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    measured = {name: moments[layer].mean_and_variance() for name, layer in layers.items()}
    for name, found in measured.items():
        for kind, value in zip((MEAN, VARIANCE), found or (), strict=False):
            kept[f"{name}.{kind}"] = value.to(kept[f"{name}.{kind}"].dtype)
    return kept


class PooledStatistics:
    """Statistics of all examples from those of each client: the variance between clients is part of the variance."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._examples = 0

    def add(self, statistics: State, examples: int) -> None:
        """Add one client's means and variances with its number of examples."""
        for name, tensor in _moments(statistics).items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(tensor)) + examples * tensor
        self._examples += examples

    def result(self, model: State) -> State:
        """Return a model's state with the pooled statistics, or as it is when nothing was added."""
        if not self._examples:
            return model
        means = {name: total / self._examples for name, total in self._sums.items()}
        pooled = dict(means)
        for name in means:
            if name.endswith(VARIANCE):
                pooled[name] = (means[name] - means[_mean_of(name)].square()).clamp(min=0)
        return {**model, **{name: tensor.to(model[name].dtype) for name, tensor in pooled.items()}}


def _moments(statistics: State) -> dict[str, Tensor]:
    """Return means and, in the place of variances, means of squares, in float64."""
    return {
        name: tensor.double() + statistics[_mean_of(name)].double().square()
        if name.endswith(VARIANCE)
        else tensor.double()
        for name, tensor in statistics.items()
    }


def _mean_of(variance: str) -> str:
    return variance.removesuffix(VARIANCE) + MEAN

"""torch's optimisers without torch's compiler, which torch's own load when they are made: two seconds of a process.

What is computed is torch's own code, called below the wrappers by which a network's steps could be compiled.
"""

import inspect

import torch


class EagerAdam(torch.optim.Adam):
    """Adam, whose step and gradients no compiler traces."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)


class EagerSGD(torch.optim.SGD):
    """Stochastic gradient descent, whose step and gradients no compiler traces."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)

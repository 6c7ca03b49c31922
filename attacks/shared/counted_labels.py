"""How many records of each class a client has, from its update of a whole network: by equations, by example, by signs.

By equations (`dtfl_private.attacks.shared.label_counts`): for plain steps of SGD, which are sums of slopes. By example:
the adversary trains as the client did on auxiliary records of label shares that it draws itself, and learns from what
that does to the last layer to read shares from it; so for any optimiser, many steps, and behind defenses. Which reads
better is decided on drawn shares that were not learnt from; of one step of SGD the equations are all but exact. By
signs, for one record or an adversary without images: the bias of a class that a client has rises, and that of one that
it lacks falls.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dtfl_private.attacking.program import HALF, ClientProgram, Parameters
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.label_counts import LinearLayer, label_counts, mean_slopes, whole_counts
from dtfl_private.attacks.shared.learnt_shares import held_out, learnt_shares, simulated_rounds
from dtfl_private.attacks.shared.simulated_client import simulated_change
from dtfl_private.attacks.shared.update_target import changes, steps_taken
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen, WeightUpdate


def counted_labels(view: View, seen: Seen, update: WeightUpdate, effort: float, *, adaptive: bool) -> Tensor:
    """Return the estimated records of each class (classes,), int64, which add up to those of the client.

    Raises:
        InputError: the network does not end in a linear layer with a bias.
    """
    program = view.program(seen, adaptive=adaptive)
    reader = _Reader.of(view, program, update)
    change = changes(program, update)
    sgd = view.local_steps.optimizer == "sgd"
    if update.examples == 1:
        shares = reader.by_signs(change)  # one bias rises: exact
    elif view.has("auxiliary-data") and not (sgd and reader.steps == 1):
        shares = _by_example(view, seen, reader, change, effort, adaptive=adaptive)
    else:
        shares = reader.by_equations(change) if sgd else reader.by_signs(change)
    return whole_counts(shares * update.examples)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads a change of the last layer.

    Attributes:
        view: of the attack.
        weight: name of the layer's weights among the parameters.
        bias: and of its bias.
        before: the layer as the round began.
        records: of the client.
        steps: that it took.
        class_weights: weights of the classes in its loss (classes,); None where all count alike.
    """

    view: View
    weight: str
    bias: str
    before: LinearLayer
    records: int
    steps: int
    class_weights: Tensor | None

    @classmethod
    def of(cls, view: View, program: ClientProgram, update: WeightUpdate) -> "_Reader":
        """Return what reads the changes of clients like this one."""
        weight, bias = last_layer(program, view.classes)
        begin = program.parameters()
        return cls(
            view=view,
            weight=weight,
            bias=bias,
            before=LinearLayer(weight=begin[weight], bias=begin[bias]),
            records=update.examples,
            steps=steps_taken(update, view.local_steps),
            class_weights=program.class_weights,
        )

    def by_equations(self, change: Parameters) -> Tensor:
        """Return the shares of the classes (classes,), float64, from the sum of slopes that SGD's steps are."""
        moved = LinearLayer(weight=change[self.weight], bias=change[self.bias])
        # One step begins and ends where the gradient was taken; of several the middle stands for all.
        share = 0.5 * (self.steps > 1)
        between = LinearLayer(
            weight=self.before.weight + share * moved.weight, bias=self.before.bias + share * moved.bias
        )
        slopes = mean_slopes(self.before, moved, self.view.local_steps, self.steps)
        return label_counts(between, slopes, self.records, self.class_weights) / self.records

    def by_signs(self, change: Parameters) -> Tensor:
        """Return the shares of the classes (classes,), float64, by how steadily each class's bias rises."""
        steady = change[self.bias].double().cpu() / (self.view.local_steps.lr * self.steps)
        rises = (1 + steady).clamp(min=0)
        return rises / rises.sum() if rises.sum() > 0 else torch.full_like(rises, 1 / len(rises))

    def values(self, change: Parameters) -> Tensor:
        """Return what is learnt from (F,): the changes of the layer, in the run's learning rates."""
        parts = [change[self.bias], change[self.weight].sum(dim=1), change[self.weight].flatten()]
        return (torch.cat(parts) / self.view.local_steps.lr).double().cpu()


def _by_example(
    view: View, seen: Seen, reader: _Reader, change: Parameters, effort: float, *, adaptive: bool
) -> Tensor:
    """Return the shares of the classes (classes,), float64, as learnt from simulated rounds."""
    rounds = simulated_rounds(effort, reader.steps)
    examples = view.keep(
        f"label shares/{seen.download.client}/{rounds}/{adaptive}",
        lambda: _simulated(view, seen, reader, rounds, adaptive=adaptive),
    )
    biases = slice(0, 2 * view.classes)  # with the sums of the weights; all changes are many values for few rounds
    error, found = learnt_shares(examples["values"], examples["shares"], (biases, slice(None)), reader.values(change))
    if view.local_steps.optimizer == "sgd":
        wrong = (examples["equations"] - examples["shares"])[held_out(rounds)].abs().sum(dim=1).mean()
        return reader.by_equations(change) if float(wrong) < error else found
    return found


def _simulated(view: View, seen: Seen, reader: _Reader, rounds: int, *, adaptive: bool) -> dict[str, Tensor]:
    """Return rounds of clients of drawn label shares: ``values`` (R, F), true ``shares`` and those by ``equations``."""
    chance, steps = view.chance("label shares", seen.download.client), view.local_steps
    values, shares, equations = [], [], []
    for number in range(rounds):
        places = drawn_records(view.auxiliary.labels, view.classes, reader.records, chance)
        images, labels = view.auxiliary.images[places], view.auxiliary.labels[places]
        program = view.program(seen, adaptive=adaptive, draw=f"label shares/{number}")
        change = simulated_change(program, steps, images, labels, chance)
        values.append(reader.values(change))
        shares.append(torch.bincount(labels, minlength=view.classes).double() / len(labels))
        equations.append(reader.by_equations(change) if steps.optimizer == "sgd" else shares[-1])
    return {"values": torch.stack(values), "shares": torch.stack(shares), "equations": torch.stack(equations)}


def drawn_records(labels: Tensor, classes: int, count: int, chance: torch.Generator) -> Tensor:
    """Return places (count,) of auxiliary records, with replacement, so that the shares of the labels vary widely.

    As even as in the auxiliary data in half of the draws; in the others the classes' weights are skewed as those of a
    Dirichlet distribution, from mildly to nearly one class alone.
    """
    if torch.rand((), generator=chance) < 0.5:
        weights = torch.ones(classes)
    else:
        sharpness = 4 * torch.rand((), generator=chance)
        weights = torch.rand(classes, generator=chance).clamp(min=1e-6).pow(sharpness)
    return torch.multinomial(weights[labels], count, replacement=True, generator=chance)


def last_layer(program: ClientProgram, classes: int) -> tuple[str, str]:
    """Return the names of weight and bias of the linear layer that ends a whole network.

    Raises:
        InputError: there is none.
    """
    modules = list(program.modules.named_modules())
    linear = [name for name, part in modules if isinstance(part, nn.Linear) and part.out_features == classes]
    if not linear or program.modules.get_submodule(linear[-1]).bias is None:
        raise InputError("labels are counted in a last linear layer with a bias, which this network lacks")
    return f"{HALF}{linear[-1]}.weight", f"{HALF}{linear[-1]}.bias"

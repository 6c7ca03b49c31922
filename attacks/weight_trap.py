"""A malicious server sends client weights that were trained to let the pixels through, and decodes what comes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Tampering
from dtfl_private.attacking.program import ClientProgram, batches_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.hybrid import Hybrid
from dtfl_private.attacks.shared.inverse_network import InverseNetwork, Shapes, as_map, map_shape
from dtfl_private.attacks.shared.learning_rate import half_cosine
from dtfl_private.attacks.shared.releaser import fingerprint
from dtfl_private.eager_optimizers import EagerAdam
from dtfl_private.randomness import isolated

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class WeightTrap(Hybrid):
    """Train the client half together with a decoder on auxiliary images, starting from the honest weights, and send it.

    The loss is the decoder's squared error plus ``stealth`` times the squared relative jump from the honest weights, so
    that the weights move no further than the pixels need. What the clients then send is attacked by `hybrid`, through
    the planted weights. In the spirit of the feature-space hijacking of Pasquini, Ateniese and Bernaschi
    2021 (CCS, 2012.02670), where the server steers the client by gradients; here none go back, but the server sends the
    weights themselves. Through the defenses in the forward pass; what they do to a finished message is left to the
    decoder.

    Attributes:
        stealth: weight of the squared jump |w' - w|^2 / |w|^2.
        trap_steps: of training the trap.
        trap_lr: first learning rate of Adam; falls as a half cosine.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data", "chooses-weights"}),
        recipe="send client weights trained to let the pixels through, then hybrid",
        source="after Pasquini et al. 2021, 2012.02670",
    )

    stealth: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    trap_steps: Annotated[int, Field(ge=1)] = 600
    trap_lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3

    def tamper(self, view: View) -> Tampering:
        """Return the planted weights, in the tier that the protocol names."""
        download = view.download(view.tier)
        name = f"trap/{fingerprint(download)}/{self.stealth}/{self.trap_steps}/{self.trap_lr}/{self.adaptive}"
        program = view.program_with(download, adaptive=self.adaptive)
        planted = view.keep(name, lambda: self._planted(view, program))
        return Tampering(tier=view.tier, weights={**download.weights, **planted})

    def _planted(self, view: View, program: ClientProgram) -> dict[str, Tensor]:
        """Return the parameters of the client half that make its activations easiest to decode."""
        honest = {name: tensor.detach().clone() for name, tensor in program.modules.named_parameters()}
        planted = {name: tensor.clone().requires_grad_() for name, tensor in honest.items()}
        shapes = Shapes(cut=map_shape(view.cut_shape, "weight-trap"), image=view.input_shape, classes=view.classes)
        with isolated(view.seed, "weight trap", view.tier):
            network = InverseNetwork(shapes, "small").to(view.device)
            with torch.no_grad():
                network.standardise_by(as_map(program.activations(view.auxiliary.images[:BATCH].to(program.device))))
            optimizer = EagerAdam([*planted.values(), *network.parameters()], lr=self.trap_lr)
            for step, batch in enumerate(self._batches(view)):
                images, labels = (
                    part[batch].to(program.device) for part in (view.auxiliary.images, view.told(view.auxiliary.labels))
                )
                guess = network(as_map(program.activations(images, weights=planted)), labels)
                loss = (guess - images).square().mean() + self.stealth * squared_jump(honest, planted)
                optimizer.zero_grad()
                loss.backward()
                for group in optimizer.param_groups:
                    group["lr"] = self.trap_lr * half_cosine(step, self.trap_steps)
                optimizer.step()
                view.progress(step + 1, self.trap_steps)
        return {name: tensor.detach() for name, tensor in planted.items()}

    def _batches(self, view: View) -> list[Tensor]:
        """Return the batches of all steps: passes over the auxiliary images in random order."""
        chance, batches = view.chance("trap"), list[Tensor]()
        while len(batches) < self.trap_steps:
            batches += batches_of(len(view.auxiliary.images), BATCH, chance)
        return batches[: self.trap_steps]


def squared_jump(honest: Mapping[str, Tensor], planted: Mapping[str, Tensor]) -> Tensor:
    """Return |w' - w|^2 / |w|^2 over all parameters, differentiable in w'."""
    moved = torch.stack([(planted[name] - tensor).square().sum() for name, tensor in honest.items()]).sum()
    size = torch.stack([tensor.square().sum() for tensor in honest.values()]).sum()
    return moved / size.clamp(min=1e-12)

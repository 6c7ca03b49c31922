"""Notice when the client part that the server sends jumps: the client's guard against planted weights."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, Remark
from dtfl_private.protocol.messages import ModelDownload, State

# A client judges a jump by at least so many earlier ones.
FEWEST = 3
# Jumps remembered; the typical one falls while training converges.
LAST = 20


@dataclass(frozen=True)
class WeightJump(Defense):
    """Compare the received client modules with those received last, and remark on steps far above the usual.

    The jump is the relative distance |w - w'| / |w'| of the parameters that both downloads have, over the square root
    of the rounds between them (a random walk's growth). It is remarked when it exceeds ``factor`` times the median of
    the client's earlier jumps. Training moves the weights by similar steps from round to round; weights made to pass
    inputs through do not come out of a step of that size. An attacker who moves them slowly enough is not noticed.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="against weights planted by the server, by noticing them",
        acts_on=("download",),
        guarantee="none",
        cost="keeps one copy of the client modules on the device",
        attacker="nothing: slow changes pass",
    )

    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 4.0
    action: Literal["log", "refuse"] = "log"

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Return a remark if the weights jumped; remember them if they are used."""
        received = _parameters(download.weights)
        known = {name.removeprefix("w/"): t for name, t in at.memory.items() if name.startswith("w/")}
        jumps: list[float] = at.memory["jumps"].tolist() if "jumps" in at.memory else []
        shared = [name for name in received if name in known and known[name].shape == received[name].shape]
        remarks: list[Remark] = []
        if shared:
            gap = download.round - int(at.memory["round"])
            jump = _distance(received, known, shared) / math.sqrt(max(1, gap))
            usual = statistics.median(jumps) if len(jumps) >= FEWEST else None
            if usual is not None and not jump <= self.factor * usual:  # NaN is a jump, too
                refuses = self.action == "refuse"
                text = f"client weights jumped by {jump:.3g}, {jump / usual:.1f} times the usual {usual:.3g}"
                remarks.append(Remark(text=text, refuses=refuses))
                if refuses:
                    return remarks
            jumps.append(jump)
        for name in known:
            del at.memory[f"w/{name}"]
        at.memory["jumps"] = torch.tensor(jumps[-LAST:], dtype=torch.float64)
        at.memory["round"] = torch.tensor(download.round)
        at.memory.update({f"w/{name}": tensor.clone() for name, tensor in received.items()})
        return remarks


def _parameters(weights: State) -> dict[str, torch.Tensor]:
    """Return the floating-point tensors that training moves step by step: no running statistics of batch norm."""
    return {
        name: tensor.detach().cpu()
        for name, tensor in weights.items()
        if tensor.is_floating_point() and not name.endswith(("running_mean", "running_var"))
    }


def _distance(received: State, known: State, names: Sequence[str]) -> float:
    moved = sum(float((received[name].double() - known[name].double()).square().sum()) for name in names)
    size = sum(float(known[name].double().square().sum()) for name in names)
    return math.sqrt(moved / size) if size > 0 else 0.0

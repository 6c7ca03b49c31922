"""Parts of a run that a program passes as objects, instead of naming them in the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from dtfl_private.data.dataset import Dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.plugin_fields import object_name
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Scheduler


@dataclass(frozen=True, kw_only=True)
class RunObjects:
    """What `train` is given as objects; None for what the configuration names.

    Attributes:
        dataset: data set to use.
        model: network to use, with the weights it has.
        scheduler: scheduler to use.
        defenses: defenses to use, in the order in which they act.
    """

    dataset: Dataset | None = None
    model: nn.Module | None = None
    scheduler: Scheduler | None = None
    defenses: Sequence[Defense] | None = None

    def __bool__(self) -> bool:
        """Whether there is any: then no command names the run."""
        return any(thing is not None for thing in self.arguments().values())

    def arguments(self) -> dict[str, Any]:
        """Return the keywords by which `train`, `attack` and `audit` take them."""
        return dict(vars(self))

    def undefended(self) -> "RunObjects":
        """Return the objects of the same run without its defenses."""
        return replace(self, defenses=None)

    def names(self) -> dict[str, Any]:
        """Return how the configuration names them, by its field."""
        given = {"dataset": self.dataset, "model": self.model, "scheduler": self.scheduler}
        names: dict[str, Any] = {field: object_name(thing) for field, thing in given.items() if thing is not None}
        if self.defenses is not None:
            names["defense"] = [object_name(defense) for defense in self.defenses]
        return names

    def require_kinds(self) -> None:
        """Raise `InputError` if the data set or the network is something else."""
        for kind, given, contract in (("model", self.model, nn.Module), ("dataset", self.dataset, Dataset)):
            if given is not None and not isinstance(given, contract):
                raise InputError(f"{kind} is a {type(given).__name__}, expected a {contract.__name__}")


NO_OBJECTS = RunObjects()

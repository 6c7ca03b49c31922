"""The calibration of this host: a profile of its engines, and how well it predicts the training steps of networks."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tomli_w
import torch

from dtfl_private.experiments.calibration.checking import CheckedStep, MeasuredStep, built_in_networks, measured_steps
from dtfl_private.experiments.calibration.clocks import clock_words
from dtfl_private.experiments.calibration.fitting import EngineFit
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.numerics import Numerics
from dtfl_private.runtime.device import choose_numerics, one_thread
from dtfl_private.simulation.clients.engines import Engine, EngineName
from dtfl_private.simulation.clients.profiles import ResourceProfile

log = logging.getLogger(__name__)

LINK_MBIT_S = 100.0
"""Links are not measured: what the written profile has."""

LAST_PASSES = 2
"""So often the figures are measured again when all networks have been timed."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was found.

    Attributes:
        profile: of this host.
        steps: predicted and measured steps, by engine.
        left_out: networks that are too large to be measured.
        clocks: which clock was read for each engine.
    """

    profile: ResourceProfile
    steps: Sequence[CheckedStep]
    left_out: Sequence[str]
    clocks: Sequence[str]

    @property
    def toml(self) -> str:
        """The profile as a file for ``--profiles``."""
        heading = "# Written by `dtfl-private profile --calibrate`. Links are not measured: say what yours are.\n"
        return heading + tomli_w.dumps({"profile": [self.profile.model_dump(mode="json")]})


def calibrate_host(
    config: TrainConfig,
    *,
    models: Sequence[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
    classes: int = 10,
    repeats: int = 3,
    say: Callable[[str], None] = log.debug,
) -> Calibration:
    """Measure this host's engines, and compare predicted and measured training steps.

    What is fitted: peaks, bandwidth, launch time, and a share of the roofline for each class of operators; on synthetic
    layers and tiny networks only. What is compared: whole training steps of networks, none of which was fitted on. The
    two take turns, network by network, so that both see the machine in its busy and its idle moments.

    Args:
        config: device (cpu, or auto: CUDA too where it is there), precision, memory format, norm, batch size, and the
            speed of a reference CPU.
        models: networks to compare; None: all that are installed.
        input_shape: of one input; None: the one at which `list models` counts a network.
        classes: number of classes.
        repeats: timed steps of each tier.
        say: told what is being done.
    """
    norm = resolved_norm(config)
    numerics = _engines(config, choose_numerics("cpu", config.precision, config.memory_format, norm))
    engines: dict[EngineName, Engine] = {}
    steps: list[CheckedStep] = []
    left_out: list[str] = []
    with one_thread():
        for name, here in numerics.items():
            say(f"measuring {name}: products, copies, tiny networks and single layers")
            fit = EngineFit(here)
            measured: list[MeasuredStep] = []
            for model in built_in_networks() if models is None else models:
                fit.measure()
                say(f"timing the training steps of {model} on {name}")
                found = measured_steps(
                    model,
                    here,
                    input_shape=input_shape,
                    classes=classes,
                    norm=norm,
                    batch_size=config.batch_size,
                    repeats=repeats,
                    allowed=config.allowed,
                )
                measured += found
                left_out += [] if found else [model]
            for _ in range(LAST_PASSES):
                fit.measure()
            engines[name] = fit.engine()
            steps += [step.checked(engines[name], name, here, config.batch_size) for step in measured]
    return Calibration(
        profile=_profile(config, engines),
        steps=steps,
        left_out=list(dict.fromkeys(left_out)),
        clocks=[f"{name}: {clock_words(here.device)}" for name, here in numerics.items()],
    )


def _engines(config: TrainConfig, cpu: Numerics) -> dict[EngineName, Numerics]:
    """Return where to measure: the CPU, unless CUDA alone is asked for; CUDA, where it is there."""
    found: dict[EngineName, Numerics] = {} if config.device == "cuda" else {"cpus": cpu}
    if config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()):
        norm = resolved_norm(config)
        found["gpu"] = choose_numerics("cuda", config.precision, config.memory_format, norm)
    return found


def _profile(config: TrainConfig, engines: dict[EngineName, Engine]) -> ResourceProfile:
    first = next(iter(engines.values()))
    peak = (first.macs_per_s or {})[config.precision]
    return ResourceProfile(
        name="this host",
        cpus=float(f"{peak / (config.cpu_gmacs * 1e9):.4g}"),
        up_mbit_s=LINK_MBIT_S,
        down_mbit_s=LINK_MBIT_S,
        engines=engines,
        source=(
            f"measured by dtfl-private profile --calibrate, torch {torch.__version__}, one CPU thread, shares fitted "
            f"in {config.precision}"
        ),
    )

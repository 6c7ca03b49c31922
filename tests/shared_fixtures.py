"""Fixtures of all tests: what they need to run quickly, and the small runs that many of them look at."""

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import text_runs
import torch
from hypothesis import settings
from torch import nn

from dtfl_private.attacking import attack_plan
from dtfl_private.attacking.scoring import scoring
from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.auditing import identity_check, update_check
from dtfl_private.cli.listed import built_in
from dtfl_private.cli.listed import plugins as listed_plugins
from dtfl_private.data.dataset import ImageDataset
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.leakage.classifier import Classifier, train_classifier
from dtfl_private.leakage.results.result import Result
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.plugins import descriptions, factories, specification
from dtfl_private.plugins import installed as installed_plugins
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.messages import MessageObserver
from dtfl_private.randomness import isolated
from dtfl_private.runtime import jobs, worker_pool
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import one_thread
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.simulation.clients.conditions import EnvironmentSettings
from dtfl_private.simulation.clients.profiles import PROFILE_SETS
from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.simulation.schedulers.dynamic import Dynamic
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.training.round import RoundOutcome, run_round
from dtfl_private.training.state import FederatedState
from dtfl_private.verdicts.findings import Findings, Training

# Properties are tried on the same cases in each run.
settings.register_profile("the same cases", derandomize=True, deadline=None)
settings.load_profile("the same cases")


@pytest.fixture(scope="session", autouse=True)
def one_thread_as_in_a_run() -> Iterator[None]:
    """Compute as every run does: sums split over threads round differently, on a machine with several cores."""
    with one_thread():
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread_as_attacks_take() -> Iterator[None]:
    """Let attacks use one CPU thread: more wait for each other where other tests run at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (attack_plan, identity_check, update_check):
            patch.setattr(module, "available_cores", lambda: 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_picture_of_each_training() -> Iterator[None]:
    """Write the title in its place: a picture takes longer than a tiny run, and has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for plot in ("plot_training", "plot_judged"):
            patch.setattr(training, plot, lambda _, path, *, title: path.write_text(title))
        yield


# The first list that the forking process is given is the only one.
PRELOADED = [
    *("dtfl_private.attacking.parallel", "dtfl_private.runtime.worker_pool"),
    *("dtfl_private.deployed.server.serving", "dtfl_private.deployed.client.joining", "tests.deployed.preloaded"),
]


@pytest.fixture(scope="session", autouse=True)
def processes_that_need_not_load_torch() -> Iterator[None]:
    """Fork worker processes from one that has loaded what they need: seconds for each that is begun anew.

    They get their work as new ones do. Those that commands begin, and those of `tests/runtime`, are begun anew.
    """
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        for module in (jobs, worker_pool):
            patch.setattr(module, "spawn_context", lambda: forking)
        yield


@pytest.fixture(scope="session", autouse=True)
def judges_that_are_trained_once() -> Iterator[None]:
    """Train the classifier that judges guesses once for the same images and settings: most audits here share them.

    That the same arguments give the same classifier has a test in `tests/leakage`.
    """
    trained: dict[Any, Classifier] = {}

    def once(*images_and_labels: torch.Tensor, **settings: Any) -> Classifier:
        told = hashlib.sha256()
        for tensor in images_and_labels:
            told.update(repr((tensor.dtype, tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
        key = (told.digest(), *sorted(settings.items()))
        if key not in trained:
            trained[key] = train_classifier(*images_and_labels, **settings)
        return trained[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "train_classifier", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Leave written files to the system, which keeps them whatever happens to a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What the package's loggers warn of meanwhile, in place of pytest's own plug-in, which takes time in each test."""
    lines: list[str] = []
    keeping = logging.Handler(logging.WARNING)
    keeping.emit = lambda record: lines.append(record.getMessage())  # of this one alone
    logging.getLogger("dtfl_private").addHandler(keeping)
    yield lines
    logging.getLogger("dtfl_private").removeHandler(keeping)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, Any], None]:
    """Let a test register a plug-in of its own: ``offer(kind, name, factory)``."""

    def add(kind: str, name: str, factory: Any) -> None:
        others = installed_plugins.installed

        def installed(asked: str) -> Mapping[str, Any]:
            own = (
                {name: SimpleNamespace(name=name, value=f"made_up:{name}", load=lambda: factory)}
                if asked == kind
                else {}
            )
            return {**others(asked), **own}

        for module in (installed_plugins, specification, factories, descriptions, listed_plugins, built_in):
            monkeypatch.setattr(module, "installed", installed)

    return add


@pytest.fixture(scope="session")
def four_tiers() -> TierTable:
    """A made-up cost table of about ResNet-8's size: tiers 1 to 4, labels of 8 bytes."""
    costs = [
        # client MACs, server MACs, smashed bytes, weight bytes
        (1_310_000, 36_100_000, 65_536, 2_468),
        (15_700_000, 21_300_000, 65_536, 20_404),
        (26_900_000, 9_900_000, 32_768, 78_516),
        (37_200_000, 120_000, 16_384, 310_124),
    ]
    rows = [
        TierCost(
            tier=tier,
            cut_shape=(smashed // 4,),
            client_params=weights // 4,
            server_params=0,
            head_params=0,
            client_forward_macs=client // 3,
            client_train_macs=client,
            server_train_macs=server,
            smashed_bytes=smashed,
            label_bytes=8,
            weight_bytes=weights,
        )
        for tier, (client, server, smashed, weights) in enumerate(costs, start=1)
    ]
    return TierTable(rows=tuple(rows), forward_macs=12_500_000, modules=5)


@pytest.fixture
def make_schedule(four_tiers: TierTable) -> Callable[..., ScheduleSettings]:
    """Ten clients of 100 to 190 images with the paper's profiles and no chance; keywords replace settings.

    ``environment`` is a mapping that replaces some of the environment's settings.
    """

    def make(*, environment: Mapping[str, Any] | None = None, **changes: Any) -> ScheduleSettings:
        ten = EnvironmentSettings(clients=10, profiles=PROFILE_SETS["paper"], seed=4)
        settings = ScheduleSettings(
            environment=replace(ten, **(environment or {})),
            server=ServerCapacity(workers=100, cpus=8.0),
            table=four_tiers,
            scheduler=Dynamic(),
            images_K=100 + 10 * np.arange(10),
            batch_size=32,
            local_epochs=1,
            fraction=1.0,
            first_tier="probe",
            ema=2 / 3,
            cpu_macs_per_s=3e9,
            seed=4,
        )
        return replace(settings, **changes)

    return make


@pytest.fixture(scope="session")
def patterns() -> ImageDataset:
    """40 training and 12 test images, grey, 8x8: three patterns in noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(52) % 3
    clean = torch.randint(160, (3, 1, 8, 8), generator=generator)
    images = (clean[labels] + torch.randint(96, (52, 1, 8, 8), generator=generator)).to(torch.uint8)
    return ImageDataset(
        name="patterns",
        source="made up",
        classes=("a", "b", "c"),
        train_images=images[:40],
        train_labels=labels[:40],
        test_images=images[40:],
        test_labels=labels[40:],
    )


@pytest.fixture(scope="session")
def tiny_network() -> Callable[[], StagedModel]:
    """Build a network of four stages for the patterns, hence tiers 1 to 3; with batch norm and dropout."""

    def build() -> StagedModel:
        with isolated(0, "tiny network"):
            return StagedModel(
                [
                    ("stem", nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())),
                    ("body", nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())),
                    ("late", nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.1))),
                    ("top", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))),
                ]
            )

    return build


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., TrainConfig]:
    """Configure a run of three clients in random tiers over three rounds; keywords replace settings."""

    def config(**values: Any) -> TrainConfig:
        small = {"clients": 3, "rounds": 3, "batch_size": 4, "scheduler": "random", "device": "cpu", "workers": 1}
        return TrainConfig.model_validate({**small, **values})

    return config


@pytest.fixture(scope="session")
def prepare_tiny(
    patterns: ImageDataset, tiny_network: Callable[[], StagedModel], tiny_config: Callable[..., TrainConfig]
) -> Callable[..., Prepared]:
    """Prepare a run of the tiny network on the patterns; keywords replace settings of the configuration."""

    def prepared(
        *, model: StagedModel | None = None, defenses: Sequence[Defense] | None = None, **values: Any
    ) -> Prepared:
        return prepare(
            tiny_config(**values),
            objects=RunObjects(dataset=patterns, model=model or tiny_network(), defenses=defenses),
        )

    return prepared


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Write a run folder by hand: ``write_run(path, accuracies, seed=1, method="fedavg", ...)``.

    Each round takes ``round_s`` seconds, of which client 0 works a quarter and client 1 all, and costs 10 bytes, 7 MACs
    of clients and 4 of the server. Other keywords are settings of the configuration.
    """

    def write(
        path: Path, accuracies: Sequence[float], *, round_s: float = 8.0, data: str = "the data", **settings: Any
    ) -> Path:
        config = TrainConfig.model_validate({"rounds": len(accuracies), "max_train_images": 40, **settings})
        path.mkdir(parents=True)
        (path / "config.toml").write_text(to_toml(config))
        (path / "environment.json").write_text(json.dumps({"data_sha256": f"{data} {config.seed}"}))
        lines = [
            {
                "round": number,
                "test_accuracy": accuracy,
                "test_loss": 1.0,
                "local_loss": None,
                "server_loss": None,
                "lr": 1e-3,
                "virtual_time_s": round_s * number,
                "round_time_s": round_s,
                "wall_time_s": 0.1,
                "participants": [0, 1],
                "dropped": [],
                "tiers": {"0": 1, "1": 2},
                "client_time_s": {"0": round_s / 4, "1": round_s},
                "client_compute_s": {"0": 0.0, "1": 0.0},
                "client_transfer_s": {"0": 0.0, "1": 0.0},
                "server_wait_s": 0.0,
                "bytes": {"down_weights": 1, "up_weights": 2, "up_smashed": 3, "up_labels": 4},
                "macs": {"client": 7, "server": 4},
                "privacy": [],
                "guard": [],
                "retired": [],
            }
            for number, accuracy in enumerate(accuracies, start=1)
        ]
        (path / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (path / "summary.json").write_text(json.dumps({"finished": len(accuracies) == config.rounds}))
        return path

    return write


@pytest.fixture(scope="session")
def play() -> Callable[..., list[tuple[FederatedState, RoundOutcome]]]:
    """Play rounds of a prepared run in this process: ``play(prepared, rounds=1, observers=())``."""

    def rounds_of(prepared: Prepared, rounds: int = 1, observers: Sequence[MessageObserver] = ()) -> Any:
        executor, state, played = InProcess(prepared.worker, observers), prepared.initial, []
        for _ in range(rounds):
            state, outcome = run_round(prepared.method, state, prepared.settings, executor, Callback())
            played.append((state, outcome))
        return played

    return rounds_of


@pytest.fixture(scope="session")
def figure() -> Callable[..., Result]:
    """Make up a result: ``figure(tier, value)`` of the decoder's SSIM, give or take 0.02; keywords replace values."""

    def make(tier: int, value: float, **values: Any) -> Result:
        usual = {"cut": (4, 8, 8), "source": "decoder", "metric": "ssim", "n": 100, "seeds": 3, "adaptive": True}
        ends = {"ci_low": value - 0.02, "ci_high": value + 0.02, "adversary": "server-honest-but-curious"}
        return Result.model_validate({"tier": tier, "value": value, **usual, **ends, **values})

    return make


@pytest.fixture(scope="session")
def findings_of() -> Callable[..., Findings]:
    """Make up an audit with these results: ``findings_of(results, model="resnet-8", victims=50)``.

    Keywords that `Training` has describe the run; others replace fields of the audit.
    """

    def make(results: Sequence[Result] = (), **values: Any) -> Findings:
        training: dict[str, Any] = {"dataset": "patterns", "model": "tiny", "norm": "batch", "method": "dtfl"}
        training |= {"partition": "iid", "scheduler": "random", "clients": 3, "rounds": 3, "seed": 0, "defense": ()}
        training |= {"wire": "fp32", "test_accuracy": 0.9, "undefended_accuracy": None, "tiers": (1, 2, 3)}
        training |= {key: values.pop(key) for key in training.keys() & values.keys()}
        audit: dict[str, Any] = {"program": "1", "run": "runs/a", "round": 3, "preset": "quick", "settings": {}}
        audit |= {"training": Training(**training), "threat_model": (), "auxiliary": "same", "victims": 100, "aux": 500}
        audit |= {"valid": True, "sanity": (), "results": tuple(results), "as_scheduled": (), "strongest": ()}
        audit |= {"verdict": (), "clients": (), "guarantees": (), "not_tested": (), "repeat": (), "environment": {}}
        return Findings(**{**audit, **values})

    return make


@pytest.fixture(scope="session")
def more_patterns(patterns) -> ImageDataset:
    """The patterns with 120 test images, enough for auxiliary data and non-members."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(120) % 3
    clean = patterns.train_images[:3] // 2
    images = clean[labels] + torch.randint(96, (120, 1, 8, 8), generator=generator).to(torch.uint8)
    return ImageDataset(
        name="patterns",
        source="made up",
        classes=patterns.classes,
        train_images=patterns.train_images,
        train_labels=patterns.train_labels,
        test_images=images,
        test_labels=labels,
    )


@pytest.fixture(scope="session")
def objects(more_patterns, tiny_network) -> dict[str, Any]:
    return {"dataset": more_patterns, "model": tiny_network()}


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny_config, objects) -> Callable[..., Path]:
    """Train a tiny run once for each configuration: ``trained(rounds=2, ...)`` is its folder."""
    made: dict[str, Path] = {}

    def run(**values: Any) -> Path:
        key = repr(sorted(values.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("run") / "run"
            given = {**objects, "defenses": values.pop("defenses", None)}
            train(tiny_config(**{"rounds": 2, "seed": 3, **values}), out=folder, **given)
            made[key] = folder
        return made[key]

    return run


@pytest.fixture(scope="session")
def text_run(tmp_path_factory) -> RunFolder:
    """A tiny run on texts, of one round; who opens it passes ``dataset=text_runs.words()``."""
    config = TrainConfig.model_validate(text_runs.settings())
    return train(config, out=tmp_path_factory.mktemp("texts") / "run", dataset=text_runs.words()).folder


@pytest.fixture(scope="session")
def opened(trained, objects) -> Callable[..., OpenedRun]:
    """Open a tiny run once for each configuration, to be read only: ``opened(defenses=..., **settings)``."""
    found: dict[str, OpenedRun] = {}

    def open_tiny(**values: Any) -> OpenedRun:
        key = repr(sorted(values.items()))
        if key not in found:
            found[key] = open_run(trained(**values), objects=RunObjects(**objects, defenses=values.get("defenses")))
        return found[key]

    return open_tiny

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.runner import attack
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.experiments.train import train
from dtfl_private.training.recording import Recorder, Recording
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientTask


@pytest.fixture(scope="session")
def record_tiny(prepare_tiny) -> Callable[..., tuple[Prepared, Recording]]:
    """Record client 1's first round of a tiny run: ``record_tiny(tier=2, batches=2, whole=True, **settings)``."""

    def record(*, tier: int = 2, batches: int = 2, whole: bool = False, **values: Any) -> tuple[Prepared, Recording]:
        prepared = prepare_tiny(**values)
        worker = prepared.worker
        count = -(-len(worker.parts[1]) // worker.batch_size) * worker.local_epochs
        task = ClientTask(client=1, round=1, tier=tier, lr=0.01, batches=count, completes=True)
        weights: GlobalWeights = prepared.initial.weights
        return prepared, Recorder(worker).record(task, weights, batches=batches, whole=whole)

    return record


@pytest.fixture(scope="session")
def program_of() -> Callable[..., Any]:
    """Build the adversary's program of a recorded round: ``program_of(prepared, recording, adaptive=True, seed=0)``."""
    import copy

    from dtfl_private.attacking.program import ClientProgram
    from dtfl_private.models.cutting.staged import split
    from dtfl_private.protection.defense_chain import DefenseChain

    def build(prepared: Prepared, recording: Recording, *, adaptive: bool = True, seed: int = 0) -> ClientProgram:
        worker, download = prepared.worker, recording.seen.download
        return ClientProgram(
            modules=copy.deepcopy(split(worker.model, download.tier)[0]),
            head=copy.deepcopy(worker.heads[download.tier]),
            download=download,
            preprocessor=worker.normaliser,
            defense=worker.defense if adaptive else DefenseChain(),
            numerics=worker.numerics,
            training=not worker.defense.releases_apart,
            seed=seed,
            records=len(worker.parts[download.client]),
            classes=worker.classes,
        )

    return build


@pytest.fixture(scope="module")
def without_pictures() -> Iterator[None]:
    """Let the attacks of a module save no pictures, which take longer than tiny attacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attacking, "save_pictures", lambda *_: [])
        yield


@pytest.fixture
def mount(objects, tmp_path, monkeypatch) -> Callable[..., Any]:
    """Attack a run without pictures: ``mount(run, attacks, **settings)``."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])

    def run(folder, attacks, *, out=None, callbacks=(), defenses=None, **values):
        config = AttackConfig.model_validate({"victims": 8, "seeds": 1, "threads": 1, **values})
        given = {**objects, "defenses": defenses}
        return attack(folder, config, attacks=attacks, out=out or tmp_path / "out", callbacks=callbacks, **given)

    return run


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> RunFolder:
    """A run by names alone, of one round with two clients: what other processes can open."""
    small = {"dataset": "digits:size=8", "max_train_images": 80, "clients": 2, "rounds": 1, "batch_size": 8}
    config = TrainConfig(**small, device="cpu", workers=1)
    return train(config, out=tmp_path_factory.mktemp("run") / "run").folder

"""Tiny runs to be attacked and audited, trained once each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.experiments import train as training
from dtfl_private.experiments.train import train


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
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(training, "plot_training", lambda _, path, *, title: path.write_text(title))
                folder = tmp_path_factory.mktemp("run") / "run"
                given = {**objects, "defenses": values.pop("defenses", None)}
                train(tiny_config(**{"rounds": 2, "seed": 3, **values}), out=folder, **given)
            made[key] = folder
        return made[key]

    return run

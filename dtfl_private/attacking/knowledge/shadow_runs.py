"""Training runs of the adversary's own: like the victim's, on records of its choice."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from dtfl_private.data.dataset import Dataset, ImageDataset, TokenDataset
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.files.reading import read_bytes
from dtfl_private.protocol.messages import State
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import stream
from dtfl_private.runtime.executor_choice import LOCAL

# A shadow's own test images: its accuracy is not looked at, but a run judges itself after every round.
TEST_IMAGES = 10

LARGEST_MODEL_BYTES = 2**34


class ShadowRuns:
    """Federated runs with the victim's configuration; each leaves a run folder, and is resumed or reused there.

    Args:
        config: of the victim's run.
        classes: number of classes.
        folder: below which the runs lie.
        objects: what the victim's run was given as objects; its data set is not used.
        vocabulary: of a run on sequences of tokens; None of one on images.
    """

    def __init__(
        self,
        config: TrainConfig,
        classes: int,
        folder: Path,
        objects: RunObjects,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._config = config
        self._classes = classes
        self._folder = folder
        self._objects = objects
        self._vocabulary = vocabulary

    def train(self, name: str, images: Tensor, labels: Tensor) -> State:
        """Return the final global model of a federated run on these images (N, C, H, W) in [0, 1]; cached by name.

        On sequences (N, T) of tokens, of a run on such.
        """
        stored = images.int() if images.ndim == 2 else (images * 255).round().clamp(0, 255).to(torch.uint8)
        dataset = _shadow_dataset(stored, labels, self._classes, self._vocabulary)
        run = train(
            _shadow_config(self._config, name),
            # Other records, as for other victims, are another run.
            out=self._folder / f"{name}-{_digest(stored, labels)}",
            resume=True,
            **replace(self._objects, dataset=dataset).arguments(),
        )
        data = read_bytes(run.folder.model, most_bytes=LARGEST_MODEL_BYTES)
        return safetensors.torch.load(data)  # numbers only: safetensors hold no code


def _shadow_dataset(stored: Tensor, labels: Tensor, classes: int, vocabulary: Vocabulary | None) -> Dataset:
    kind = ImageDataset if vocabulary is None else partial(_texts, vocabulary)
    return kind(
        name="shadow",
        source="records of the adversary's choice",
        classes=tuple(map(str, range(classes))),
        train_images=stored,
        train_labels=labels,
        test_images=stored[:TEST_IMAGES],
        test_labels=labels[:TEST_IMAGES],
    )


def _texts(vocabulary: Vocabulary, **fields: Any) -> TokenDataset:
    return TokenDataset(
        vocabulary=vocabulary.size, padding=vocabulary.padding, tokenizer=vocabulary.tokenizer, **fields
    )


def _shadow_config(victim: TrainConfig, name: str) -> TrainConfig:
    """Return the victim's configuration with chance of its own, as another run would have."""
    changes: dict[str, object] = {
        "seed": int(stream(victim.seed, "shadow", name).integers(2**31)),
        "max_train_images": None,
        # It trains on all of its records: which are members is for the adversary to say.
        "validation": 0.0,
        "train_avoids": [],
        "validation_avoids": [],
        "validation_held_by": "server",
        "judged_on": "test",
        "patience": None,
        "stop_at_target": False,
        "record_rounds": [],
        "record_clients": [],
        "workers": 1,
        "executor": LOCAL,
        "target_accuracy": None,
    }
    return victim.model_copy(update=changes)


def _digest(stored: Tensor, labels: Tensor) -> str:
    digest = hashlib.blake2b(stored.contiguous().numpy().tobytes(), digest_size=8)
    digest.update(labels.contiguous().numpy().tobytes())
    return digest.hexdigest()

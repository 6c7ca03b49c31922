"""Which images trials have, and which images the fresh audit has: none of the latter is any of the former.

Trials are trained on images that the run's seed draws, and judged on validation images, which no training has. The
fresh audit's trainings, with another seed, draw from what is left: none of their victims was ever a trial's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dtfl_private.data.dataset import Dataset, load_dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.report.words.numbers import number_of

# Of all training images; fewer of a large data set.
VALIDATION_SHARE = 0.1
MOST_VALIDATION = 2000

# Added to the seed of the configuration for the trainings of the fresh audit.
FRESH_SEED = 1_000_003
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class ImageSets:
    """Changes to a configuration that give trials and fresh trainings their images, and what to say of them.

    Attributes:
        of_trials: by key of the configuration.
        of_fresh: likewise.
        notes: lines for the user.
        input_shape: of one input.
    """

    of_trials: dict[str, object]
    of_fresh: dict[str, object]
    notes: Sequence[str]
    input_shape: Sequence[int]


def image_sets(config: TrainConfig) -> ImageSets:
    """Return which images trials and fresh trainings of a configuration have.

    Raises:
        InputError: there are too few images for two disjoint sets.
    """
    dataset = load_dataset(config.dataset, data_dir=config.data_dir, download=config.download, allowed=config.allowed)
    total = len(dataset.train_labels)
    own = config.validation if config.validation_held_by == "server" else 0.0
    share = own or min(VALIDATION_SHARE, MOST_VALIDATION / total)
    held_out = round(share * total)
    wanted, half = config.max_train_images or total - held_out, (total - held_out) // 2
    count = min(wanted, half)
    if count < 2 * config.clients:
        raise InputError(
            f"{total} training images are too few for {config.clients} clients in trials and as many others in the "
            "fresh audit: use more images or fewer clients"
        )
    shared = {"validation": share, "validation_held_by": "server", "validation_avoids": [], "max_train_images": count}
    fresh_seed = (config.seed + FRESH_SEED) % LARGEST_SEED
    return ImageSets(
        input_shape=dataset.input_shape,
        of_trials={**shared, "judged_on": "validation"},
        of_fresh={**shared, "judged_on": "test", "seed": fresh_seed, "train_avoids": [config.seed]},
        notes=_notes(dataset, held_out, count, wanted, own=bool(own)),
    )


def _notes(dataset: Dataset, held_out: int, count: int, wanted: int, *, own: bool) -> list[str]:
    whose = "the configuration's own" if own else "held out for that, as the configuration has none"
    lines = [
        f"trials are judged on {held_out:,} validation images ({whose}), the fresh audit on the "
        f"{len(dataset.test_labels):,} test images, which nothing is chosen by"
    ]
    if count < wanted:
        lines.append(
            f"trials are trained on {count:,} of {wanted:,} images: the fresh audit's victims are among "
            f"{number_of(count, 'other')} that no trial has had"
        )
    return lines

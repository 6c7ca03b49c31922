"""Bring the ground truth that clients have kept into a recorded run, so that attacks on the recording can be scored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.partition import dealt
from dtfl_private.experiments.run_folder.folder import RunFolder, require_no_links_below
from dtfl_private.experiments.run_folder.provenance import with_all_images
from dtfl_private.experiments.run_folder.recordings import load_seen, load_truth, recorded_rounds, save_truth
from dtfl_private.training.recording import Truth


def add_truth(folder: RunFolder, kept: Path, client: int) -> list[int]:
    """Add what one client has kept to the recorded rounds of a run; return these rounds.

    The client's records become those of the run's data set, by the deal of its configuration: so this is for runs on a
    data set that is there, not for images that only the client has.

    Args:
        folder: of a run whose server has recorded what it received.
        kept: the folder in which the client has kept its truth.
        client: its number.

    Raises:
        InputError: nothing was recorded of this client, or it has kept nothing of it.
        RunError: a file is damaged.
    """
    numbers = [number for number, one in recorded_rounds(folder.transcript) if one == client]
    if not numbers:
        raise InputError(f"'{folder.path}' has no recorded round of client {client}: serve it with record_rounds")
    require_no_links_below(folder.transcript)
    whole = dealt(with_all_images(read_run_config(folder), folder))
    part = torch.from_numpy(whole.parts[client])
    labels, shape = whole.dataset.train_labels[part], whole.dataset.train_images.shape[1:]
    for number in numbers:
        truth = load_truth(kept, number, client)
        _require_own(truth, labels, shape, f"'{kept}' holds records that client {client} does not have in this run")
        recorded = sum(len(batch.labels) for batch in load_seen(folder.transcript, number, client).batches)
        if len(truth.records) < recorded:
            raise InputError(
                f"'{kept}' holds {len(truth.records)} records of round {number}, and the server has received "
                f"{recorded}: it is of another time that the round was played"
            )
        of_run = replace(truth, records=part[truth.records])
        save_truth(folder.transcript, number, client, of_run.first(recorded))
    return numbers


def _require_own(truth: Truth, labels: Tensor, shape: Sequence[int], refusal: str) -> None:
    """Check that images have the run's shape and labels are those of their records: by others no attack is scored.

    Args:
        truth: as the client has kept it.
        labels: of the client's records (N_k,).
        shape: of an image.
        refusal: what is said otherwise.

    Raises:
        InputError: they are not.
    """
    records = truth.records
    known = records.dtype == torch.int64 and not bool(((records < 0) | (records >= len(labels))).any())
    if not known or truth.images.shape[1:] != shape or not torch.equal(truth.labels, labels[records]):
        raise InputError(refusal)

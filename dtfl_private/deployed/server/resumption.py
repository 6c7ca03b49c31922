"""What the folder of a run that is gone on with says, before any client is back."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from dtfl_private.data.description import read_description
from dtfl_private.deployed.client.own_data import registration_of
from dtfl_private.deployed.server.opening import Opening
from dtfl_private.deployed.sessions_file import read_sessions
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.differences import FREE_ON_RESUME
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.place import checked_place
from dtfl_private.experiments.run_folder.provenance import recorded_images
from dtfl_private.experiments.setup.held_data import HeldData
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import ChannelScale

FREE = FREE_ON_RESUME | {"max_train_images"}
"""What may differ on a resume. How many images there are in all depends on which clients have come so far."""


def images_before(out: Path | None, clients: int) -> IntArray:
    """Return the training images of each client, as they were said before a run was stopped; 0 where nobody knows."""
    if out is None:
        return np.zeros(clients, dtype=np.int64)
    folder = RunFolder(path=out)
    said = dict(enumerate(recorded_images(folder)))
    with suppress(InputError, RunError):  # nothing depends on that file
        said |= {one.client: one.images for one in read_sessions(folder).clients if one.images}
    return np.array([max(0, said.get(client, 0)) for client in range(clients)])


def completed(images_K: IntArray) -> IntArray:
    """Return images of clients in which those of clients that never came are taken to be as many as usual."""
    known = images_K[images_K > 0]
    return np.where(images_K > 0, images_K, int(np.median(known)) if len(known) else 1)


def scale_before(folder: RunFolder) -> ChannelScale | None:
    """Return by what all clients of the run normalise; None if nobody has written it down."""
    if not folder.dataset.is_file():
        return None
    data = read_description(folder.dataset)
    mean, deviation = (torch.tensor(numbers, dtype=torch.float64) for numbers in (data.mean, data.std))
    return ChannelScale(client=0, mean=mean, deviation=deviation)


def require_same_run(opening: Opening, path: Path) -> None:
    """Raise `InputError` unless the run in a folder is the one that a server is to serve: before clients hear of it."""
    folder = RunFolder(path=path)
    scale = scale_before(folder) if opening.needs_sums else None
    if not folder.config.is_file() or (opening.needs_sums and scale is None):
        return
    config = opening.config
    held = HeldData(
        dataset=opening.dataset,
        parts=[np.arange(0)] * config.clients,
        images_K=completed(images_before(path, config.clients)),
        registration=registration_of(config, opening.dataset, opening.apart, scale),
    )
    checked_place(prepare(config, held=held), path, resume=True, free=FREE)

"""What the server received, kept for attacks and audits: the frames themselves, not a replay."""

from pathlib import Path

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.recording_writer import LAST
from dtfl_private.experiments.run_folder.recordings import save_seen
from dtfl_private.protocol.messages import Message, ModelDownload, Seen, SmashedBatch, WeightUpdate
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.state import FederatedState


class ReceivedRounds:
    """Keeps the clients and rounds that a configuration names.

    Args:
        config: says which rounds, clients and how many images.
        folder: where to write; what was seen lies in ``seen`` below it.
    """

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self._folder = folder
        self._rounds = {config.rounds if number == LAST else number for number in config.record_rounds}
        self._clients = frozenset(config.record_clients)
        self._batches = -(-config.record_images // config.batch_size)
        self._downloads: dict[int, ModelDownload] = {}
        self._kept: dict[int, list[SmashedBatch]] = {}
        self._updates: dict[int, WeightUpdate] = {}

    def opened(self, download: ModelDownload) -> None:
        """Take note of what opens a client's round."""
        if download.round in self._rounds and (not self._clients or download.client in self._clients):
            self._downloads[download.client] = download
            self._kept[download.client] = []

    def observe(self, message: Message) -> None:
        """Keep a message of a client that is recorded, in the order of arrival."""
        if not isinstance(message, SmashedBatch | WeightUpdate) or message.client not in self._downloads:
            return
        if isinstance(message, WeightUpdate):
            self._updates[message.client] = message
        elif len(self._kept[message.client]) < self._batches:
            self._kept[message.client].append(message)

    def record(self, before: FederatedState, plan: RoundPlan) -> None:
        """Write what was kept of the round that is over."""
        for client, download in self._downloads.items():
            if self._kept[client]:
                seen = Seen(download=download, batches=tuple(self._kept[client]), update=self._updates.get(client))
                save_seen(self._folder, seen)
        self._downloads, self._kept, self._updates = {}, {}, {}

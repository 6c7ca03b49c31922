"""What a training returns; kept apart from the trainer, so that comparing runs needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.training.round_record import Record


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run and what it left behind."""

    folder: RunFolder
    config: TrainConfig
    records: Sequence[Record]
    summary: dict[str, Any]

    def __repr__(self) -> str:
        from dtfl_private.report.notebook.run import run_text

        return run_text(self.folder.path, self.config, self.summary)

    def _repr_html_(self) -> str:
        from dtfl_private.report.notebook.run import run_html

        return run_html(self.folder.path, self.config, self.summary)

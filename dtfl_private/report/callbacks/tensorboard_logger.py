"""The figures of all rounds for TensorBoard."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dtfl_private.errors import InputError
from dtfl_private.files.writing import output_path, require_usable
from dtfl_private.report.callbacks.figures import figures_of
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class TensorBoardLogger(Callback):
    """Writes a curve of each figure over the rounds, and what the run is, for TensorBoard.

    In the curves' names blanks are underscores. A resumed training writes its earlier rounds again, and TensorBoard
    shows those instead of what was in the folder before.

    Args:
        folder: for TensorBoard's files, a folder for each training: ``tensorboard --logdir`` names it or one above it.

    Raises:
        InputError: TensorBoard is not installed, or no folder can be made there.
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401 - whether it is there
        except ImportError:
            line = (
                "TensorBoardLogger needs TensorBoard, which is not installed: pip install 'dtfl-private[tensorboard]'"
            )
            raise InputError(line) from None
        self._folder = output_path(folder)
        require_usable(self._folder)
        self._writer: SummaryWriter | None = None

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Say what is trained, and write the rounds that were finished before."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._close()
        self._writer = SummaryWriter(str(self._folder), purge_step=0)
        self._writer.add_text("run", "\n\n".join(f"    {line}" for line in describe()), 0)
        for record in records:
            self.round_finished(record)

    def round_finished(self, record: Record) -> None:
        """Add a point to each curve."""
        assert self._writer is not None
        for name, value in figures_of(record).items():
            self._writer.add_scalar(name.replace(" ", "_"), value, record["round"])
        self._writer.flush()

    def ended(self, error: BaseException | None) -> None:
        """Close the files."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

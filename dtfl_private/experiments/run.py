"""A run and what can be done with it; apart from the trainer, so that comparing runs needs no torch.

Methods import what they need when they are called.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dtfl_private.data.description import DataDescription, read_description
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.printable import short_name
from dtfl_private.training.round_record import Record

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dtfl_private.experiments.trained.export import ExportFormat
    from dtfl_private.experiments.trained.predict import Images
    from dtfl_private.experiments.trained.predictions import Predictions
    from dtfl_private.experiments.trained.trained_model import TrainedModel
    from dtfl_private.numerics import DeviceName
    from dtfl_private.runtime.callback import Callback
    from dtfl_private.verdicts.findings import Findings

Which = Literal["last", "best"]
"""The network after the last round, or after the best one, of runs that keep that."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run and what it left behind; what `train` and `load_run` return.

    Attributes:
        folder: its files.
        config: its configuration, every value explicit.
        records: of its finished rounds, a dictionary each; ``pandas.DataFrame(run.table())`` has a column per figure.
        summary: the last round's figures, the best accuracy, time to target.
        given_model: the network, where it was passed as an object; its weights do not matter.
    """

    folder: RunFolder
    config: TrainConfig
    records: Sequence[Record]
    summary: dict[str, Any]
    given_model: "nn.Module | None" = field(default=None, repr=False)

    def __repr__(self) -> str:
        from dtfl_private.report.notebook.run import run_text

        return run_text(self.folder.path, self.config, self.summary)

    def _repr_html_(self) -> str:
        from dtfl_private.report.notebook.run import run_html

        return run_html(self.folder.path, self.config, self.summary)

    @cached_property
    def data(self) -> DataDescription:
        """What the network takes, and what its outputs mean: dataset.json.

        Raises:
            InputError: an earlier version made the run, which kept no dataset.json.
            RunError: the file is damaged.
        """
        try:
            return read_description(self.folder.dataset)
        except FileNotFoundError:
            raise InputError(
                f"run '{self.folder.path}' has no dataset.json, hence no classes and normalisation (was it made by an "
                f"earlier version?): `dtfl-private train --resume --out {self.folder.path}` adds it, if the run's data "
                "are where they were"
            ) from None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by number. Errors as those of `data`."""
        return self.data.classes

    def text_of(self, tokens_T: Sequence[int]) -> str:
        """Return the text of a sequence of tokens, without padding: text of unknown origin, which may steer a terminal.

        Raises:
            InputError: the run is not on texts, or its tokenizer.json is damaged.
        """
        from dtfl_private.data.tokenizers import read_tokenizer

        return read_tokenizer(self.folder.tokenizer).text_of(tokens_T)

    def tokens_of(self, texts: Sequence[str]) -> "Tensor":
        """Return texts as the trained network takes them (N, length), cut off and padded as in training.

        Raises:
            InputError: the run is not on texts, its tokenizer.json is damaged, or a text is empty.
            RunError: tokenizer.json is of another run.
        """
        from dtfl_private.data.text_sets import Text, sequences
        from dtfl_private.experiments.trained.file_readers import run_tokenizer

        given = [Text(text=text, label=0, where=f"text {place}") for place, text in enumerate(texts)]
        return sequences(run_tokenizer(self.data, self.folder.tokenizer), given, self.data.input_shape[0])

    @property
    def audit(self) -> "Findings | None":
        """What an audit of the run found, from audit/audit.json; None where there was none.

        Raises:
            InputError: the file is damaged, or of another version.
        """
        from dtfl_private.verdicts.findings_file import read_findings

        return read_findings(self.folder.audit) if self.folder.audit.exists() else None

    def table(self) -> list[dict[str, object]]:
        """Return a flat row for each round: numbers and texts only, for ``pandas.DataFrame`` or a CSV file.

        A figure inside another has a dotted name, as ``bytes.up_smashed``; of lists there is the length; what is kept
        for each client is left out.
        """
        from dtfl_private.experiments.records_table import flat_record

        return [flat_record(record) for record in self.records]

    def model(self, which: Which = "last") -> "TrainedModel":
        """Return the trained network, on the CPU and in evaluation mode.

        It takes images (N, C, H, W), uint8 or in [0, 1], normalises them by itself, and returns logits (N, classes).

        Args:
            which: after the last round, or after the best one, of runs that keep that.

        Raises:
            InputError: the run has no such network yet, was made by an earlier version, or its network must be given.
            RunError: the files are damaged, or do not belong together.
        """
        from dtfl_private.experiments.trained.trained_model import load_model

        if which not in ("last", "best"):
            raise InputError(f"which '{short_name(str(which))}' is refused: expected last or best")
        path = self.folder.model if which == "last" else self.folder.best_model
        data = self.data
        model = load_model(path, model=self.given_model, allow_plugins=self.config.allowed)
        if model.data != data:
            raise RunError(f"{path} and {self.folder.dataset.name} are of different runs: put back the run's own files")
        return model

    def predict(
        self,
        images: "Images",
        *,
        which: Which = "last",
        device: "DeviceName" = "auto",
        callbacks: "Sequence[Callback]" = (),
    ) -> "Predictions":
        """Return what the trained network says of images or texts.

        Image files are turned into what the network takes as in training: resized (bilinear) to its inputs' height and
        width, grey or in colour. Folders are searched through. Where folders are named as the classes, the result says
        how right it is.

        Args:
            images: a PNG or JPEG file, a folder of them, or several of either, of a run on texts .txt files; or images
                that a program holds, uint8 or in [0, 1]: a tensor or an array, (N, C, H, W), (N, H, W, C), if grey
                (N, H, W), or one image; PIL images; or what `train` takes as training images, with labels, for an
                accuracy; of a run on texts what `tokens_of` returns.
            which: as for `model`.
            device: to compute on.
            callbacks: hear how many files are done.

        Raises:
            InputError: a file that is no image or no text, inputs of another shape or range; or as for `model`.
            RunError: as for `model`.
        """
        from dtfl_private.experiments.trained.predict import predict
        from dtfl_private.runtime.device import choose_device

        model = self.model(which).to(choose_device(device))
        return predict(model, images, callbacks, tokenizer=self.folder.tokenizer)

    def export(self, form: "ExportFormat" = "onnx", *, out: Path | str | None = None, which: Which = "last") -> Path:
        """Write the trained network to a file for use elsewhere, and return where it is.

        Args:
            form: onnx (needs the extra ``onnx``), torchscript or state-dict (safetensors).
            out: the file; by default one in the run folder.
            which: as for `model`.

        Raises:
            InputError: no such format, a file that cannot be written, or as for `model`.
            RunError: as for `model`.
        """
        from dtfl_private.experiments.trained.export import export_model

        return export_model(self.model(which), self.folder.path, form, out)

"""The figures of all rounds for MLflow."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtfl_private.errors import InputError
from dtfl_private.files.reading import read_toml
from dtfl_private.report.callbacks.figures import figures_of
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record

FOLDER = "dtfl_private.folder"
"""The tag by which a training that is resumed finds its MLflow run."""

LARGEST_CONFIG_BYTES = 2**24

# MLflow refuses longer ones.
LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000


class MlflowLogger(Callback):
    """Makes an MLflow run for each training: its configuration as parameters, the figures of each round as metrics.

    A training that is resumed goes on with its MLflow run. The tag ``privacy`` says what may be said of privacy at the
    end, ``stopped`` why the training ended early.

    Args:
        experiment: MLflow's name for what belongs together; made if it is not there.
        tracking_uri: where MLflow keeps its runs; by default where MLflow is set to.
        run_name: MLflow's name for the run; by default that of the run folder.

    Raises:
        InputError: MLflow is not installed, or cannot keep runs there.
    """

    def __init__(
        self, experiment: str = "dtfl-private", *, tracking_uri: str | None = None, run_name: str | None = None
    ) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError:
            line = "MlflowLogger needs MLflow, which is not installed: pip install 'dtfl-private[mlflow]'"
            raise InputError(line) from None
        try:
            self._client = MlflowClient(tracking_uri)
        except MlflowException as error:
            raise InputError(f"MLflow cannot keep runs at {tracking_uri or 'its place'}: {error}") from None
        self._experiment, self._run_name = experiment, run_name
        self._run = ""

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Begin the MLflow run, or go on with it, and log the rounds that it does not have yet."""
        place, experiment = str(folder.absolute()), self._experiment_id()
        found = self._of_folder(experiment, place) if records else None
        if found is None:
            name = self._run_name or folder.name
            self._run = self._client.create_run(experiment, tags={FOLDER: place}, run_name=name).info.run_id
            self._log_config(folder)
        else:
            self._run = found
            self._client.set_terminated(found, "RUNNING")
        logged = {point.step for point in self._client.get_metric_history(self._run, "test_accuracy")}
        for record in records:
            if record["round"] not in logged:
                self.round_finished(record)

    def round_finished(self, record: Record) -> None:
        """Log the figures of a round."""
        from mlflow.entities import Metric

        now = int(time.time() * 1e3)
        points = [Metric(name, value, now, record["round"]) for name, value in figures_of(record).items()]
        self._client.log_batch(self._run, metrics=points)

    def run_finished(self, folder: Path, summary: Mapping[str, Any]) -> None:
        """Tag the MLflow run with what is known only now."""
        sentences = dict.fromkeys(entry["sentence"] for entry in summary["privacy"])
        self._client.set_tag(self._run, "privacy", "; ".join(sentences)[:LONGEST_TAG])
        if summary["stopped"] is not None:
            self._client.set_tag(self._run, "stopped", summary["stopped"][:LONGEST_TAG])

    def ended(self, error: BaseException | None) -> None:
        """End the MLflow run: finished, killed by the user, or failed."""
        if self._run:
            failed = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            self._client.set_terminated(self._run, "FINISHED" if error is None else failed)
        self._run = ""

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        made: str = self._client.create_experiment(self._experiment) if found is None else found.experiment_id
        return made

    def _of_folder(self, experiment: str, place: str) -> str | None:
        """Return the latest MLflow run of a run folder, if there is one."""
        runs = self._client.search_runs([experiment], order_by=["attributes.start_time DESC"])
        return next((run.info.run_id for run in runs if run.data.tags.get(FOLDER) == place), None)

    def _log_config(self, folder: Path) -> None:
        from mlflow.entities import Param

        config = read_toml(folder / "config.toml", most_bytes=LARGEST_CONFIG_BYTES)
        parameters = [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in config.items()]
        self._client.log_batch(self._run, params=parameters)

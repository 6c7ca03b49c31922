import sys

import pytest

from dtfl_private import InputError, MlflowLogger, RunError
from dtfl_private.report.callbacks.figures import figures_of


@pytest.fixture
def place(monkeypatch, tmp_path):
    """MLflow's store of plain files, without MLflow's own reports over the network."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return (tmp_path / "store").as_uri()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('method = "dtfl"\nclients = 3\ndefense = ["label-rr:epsilon=2"]\n')
    return tmp_path / "run"


def runs(place):
    from mlflow import MlflowClient

    client = MlflowClient(place)
    experiment = client.get_experiment_by_name("trials")
    found = client.search_runs([experiment.experiment_id])
    return [
        (run, {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}) for run in found
    ]


def summary(a_round, stopped=None):
    return {"privacy": a_round()["privacy"], "stopped": stopped}


def test_a_training_is_a_run_of_mlflow_with_its_configuration_and_its_figures(place, folder, a_round):
    logger = MlflowLogger("trials", tracking_uri=place)
    logger.run_started(folder, 2, [], list)
    logger.round_finished(a_round(1))
    logger.round_finished(a_round(2))
    logger.run_finished(folder, summary(a_round, "enough"))
    logger.ended(None)
    ((run, metrics),) = runs(place)
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params == {"method": "dtfl", "clients": "3", "defense": "['label-rr:epsilon=2']"}
    assert (run.data.tags["privacy"], run.data.tags["stopped"]) == ("2-DP; in clear", "enough")
    assert {name: [(point.step, point.value) for point in points] for name, points in metrics.items()} == {
        name: [(1, value), (2, figures_of(a_round(2))[name])] for name, value in figures_of(a_round(1)).items()
    }


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "KILLED"), (RunError("no"), "FAILED")])
def test_a_resumed_training_goes_on_with_its_run_and_logs_each_round_once(place, folder, a_round, error, status):
    first = MlflowLogger("trials", tracking_uri=place)
    first.run_started(folder, 3, [], list)
    first.round_finished(a_round(1))
    first.ended(error)
    ((run, _),) = runs(place)
    assert run.info.status == status
    second = MlflowLogger("trials", tracking_uri=place)
    second.run_started(folder, 3, [a_round(1), a_round(2)], list)
    second.round_finished(a_round(3))
    second.ended(None)
    ((run, metrics),) = runs(place)
    assert run.info.status == "FINISHED"
    assert [point.step for point in metrics["test_accuracy"]] == [1, 2, 3]


def test_a_training_that_never_began_leaves_no_run(place, folder):
    logger = MlflowLogger("trials", tracking_uri=place)
    logger.ended(InputError("wrong"))
    logger.run_started(folder, 3, [], list)
    logger.ended(None)
    assert len(runs(place)) == 1


def test_without_mlflow_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match=r"not installed: pip install 'dtfl-private\[mlflow\]'"):
        MlflowLogger()


@pytest.mark.usefixtures("place")
def test_a_place_where_mlflow_keeps_nothing_is_refused_in_one_line():
    with pytest.raises(InputError, match="MLflow cannot keep runs at nowhere:x: ") as refused:
        MlflowLogger(tracking_uri="nowhere:x")
    assert "\n" not in str(refused.value)

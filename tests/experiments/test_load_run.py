import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.load_run import load_run
from dtfl_private.experiments.records_table import flat_record
from dtfl_private.verdicts.findings_file import findings_document

WITHOUT_TORCH = """if True:
    import sys
    from dtfl_private import load_run
    run = load_run(sys.argv[1])
    print(run, len(run.records), run.table()[0]["bytes.up_smashed"], run.audit)
    assert "torch" not in sys.modules
"""


def test_an_opened_run_has_what_train_returned(run_tiny, tmp_path, tiny_network):
    made = run_tiny("run", rounds=2)
    run = load_run(tmp_path / "run", model=tiny_network())
    assert run.config == made.config
    assert list(run.records) == list(made.records)
    assert run.summary == made.summary
    assert run.classes == made.classes == ("a", "b", "c")
    assert run.audit is None
    names = "dtfl, object:StagedModel, object:ImageDataset"
    reached = f"test accuracy {made.summary['final_accuracy']:.4f}"
    assert repr(run) == repr(made)
    assert repr(run).startswith(f"Run '{tmp_path / 'run'}': {names}; 2 of 2 rounds; {reached}")


def test_the_audit_of_a_run_is_its_findings(write_run, findings_of, figure, tmp_path):
    path = write_run(tmp_path / "run", [0.5])
    findings = findings_of([figure(1, 0.5)])
    (path / "audit").mkdir()
    (path / "audit" / "audit.json").write_bytes(findings_document(findings))
    assert load_run(path).audit == findings
    (path / "audit" / "audit.json").write_text("{}")
    with pytest.raises(InputError, match=r"audit\.json"):
        _ = load_run(path).audit


def test_records_make_a_table_with_a_column_for_each_figure(write_run, tmp_path):
    run = load_run(write_run(tmp_path / "run", [0.5, 0.75]))
    frame = pd.DataFrame(run.table())
    assert frame["test_accuracy"].tolist() == [0.5, 0.75]
    assert frame["bytes.up_smashed"].tolist() == [3, 3]
    assert frame["participants"].tolist() == [2, 2]
    assert not [value for row in run.table() for value in row.values() if isinstance(value, list | dict)]
    assert pd.DataFrame(run.records)["test_accuracy"].tolist() == [0.5, 0.75]
    assert run.records[-1]["tiers"] == {"0": 1, "1": 2}


def test_a_row_holds_nothing_inside_anything():
    record = {"a": 1, "in": {"b": {"c": 2.0}, "d": None}, "list": [1, 2], "tiers": {"0": 1, "17": 3}, "none": {}}
    assert flat_record(record) == {"a": 1, "in.b.c": 2.0, "in.d": None, "list": 2}


def test_opening_a_run_loads_no_torch(write_run, tmp_path):
    path = write_run(tmp_path / "run", [0.5])
    shown = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(path)], capture_output=True, text=True, check=True, env=os.environ
    )
    assert shown.stdout.endswith("dtfl, resnet-8, digits; 0 of 1 rounds 1 3 None\n")


def test_a_run_of_an_earlier_version_says_what_is_missing_and_a_resume_adds_it(run_tiny, tmp_path):
    """Such a run has no dataset.json, and its file of weights does not say what they are of."""
    new = run_tiny("run", rounds=1)
    weights = new.folder.model.read_bytes()
    description = new.folder.dataset.read_bytes()
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    header["__metadata__"] = {"run": json.dumps({"model": "m", "dataset": "d", "norm": "batch", "round": "1"})}
    old = json.dumps(header).encode()
    new.folder.model.write_bytes(len(old).to_bytes(8, "little") + old + weights[8 + length :])
    new.folder.dataset.unlink()
    opened = load_run(tmp_path / "run", model=new.given_model)
    with pytest.raises(InputError, match=r"has no dataset\.json.*earlier version.*train --resume --out"):
        opened.model()
    new.folder.dataset.write_bytes(description)
    with pytest.raises(InputError, match=r"model\.safetensors does not say which classes.*train --resume --out"):
        load_run(tmp_path / "run", model=new.given_model).model()
    new.folder.dataset.unlink()
    run_tiny("run", rounds=1, resume=True)
    assert new.folder.dataset.read_bytes() == description
    assert new.folder.model.read_bytes() == weights
    assert load_run(tmp_path / "run", model=new.given_model).model().classes == ("a", "b", "c")


def test_files_of_different_runs_are_not_taken_for_one(run_tiny, tmp_path, patterns):
    from dataclasses import replace

    run_tiny("one", rounds=1)
    other = run_tiny("two", rounds=1, objects={"dataset": replace(patterns, classes=("c", "b", "a"))})
    (tmp_path / "one" / "model.safetensors").write_bytes(other.folder.model.read_bytes())
    with pytest.raises(RunError, match=r"model\.safetensors and dataset\.json are of different runs"):
        load_run(tmp_path / "one", model=other.given_model).model()


def test_what_is_no_run_is_refused_and_what_has_not_trained_has_no_network(tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        load_run(tmp_path)
    (tmp_path / "config.toml").write_text(to_toml(TrainConfig()))
    run = load_run(tmp_path)
    assert "0 of 60 rounds" in repr(run)
    with pytest.raises(InputError, match=r"has no dataset\.json"):
        run.model()

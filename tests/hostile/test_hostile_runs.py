"""Whatever a run folder of another party holds, a command answers in one line: no traceback."""

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spoiling import IN_PLACE, as_line, bytes_of, documents_of, examples, json_of, refused_or_done, toml_of

from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.errors import CheckpointError, InputError
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.recordings import load_seen, load_truth
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.train import train
from dtfl_private.leakage.results.result import read_results, read_round

RUN_FILES = ("config.toml", "environment.json", "summary.json", "rounds.jsonl", "audit/audit.json")


@pytest.fixture
def compared(dtfl, write_run, tmp_path, monkeypatch, audit) -> Callable[[str, bytes], int]:
    """Put bytes in the place of a run's file, compare the run, and return the exit status."""
    monkeypatch.setattr("dtfl_private.cli.comparison_output.comparison_files", lambda *_: {})  # they take long
    run = write_run(tmp_path / "run", [0.5, 0.6], method="fedavg", target_accuracy=0.55)
    (run / "audit").mkdir()
    (run / "audit" / "audit.json").write_text(json.dumps(audit))
    whole = {file: (run / file).read_bytes() for file in RUN_FILES}

    def compare(file: str, data: bytes) -> int:
        for name, own in whole.items():
            (run / name).write_bytes(own)
        (run / file).write_bytes(data)
        return dtfl("compare", run, "--out", tmp_path / "out").status

    compare.whole = whole  # type: ignore[attr-defined] # rides on the function
    return compare


@pytest.mark.parametrize("file", RUN_FILES)
@given(data=st.data())
@examples(25)
def test_file_of_a_compared_run(compared, count, file, data):
    whole = compared.whole[file]
    if file == "config.toml":
        spoiled = toml_of(tomllib.loads(whole.decode()))
    elif file == "rounds.jsonl":
        spoiled = st.one_of(bytes_of(whole), documents_of(json.loads(whole.splitlines()[0])).map(as_line))
    else:
        spoiled = json_of(json.loads(whole))
    assert compared(file, data.draw(spoiled)) in (0, 2)
    count()


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("file", RUN_FILES)
def test_what_stands_in_place_of_a_runs_file(dtfl, write_run, tmp_path, count, monkeypatch, file, kind):
    monkeypatch.setattr("dtfl_private.cli.comparison_output.comparison_files", lambda *_: {})
    run = write_run(tmp_path / "run", [0.5])
    (run / "audit").mkdir()
    (run / file).unlink(missing_ok=True)
    IN_PLACE[kind](run / file)
    answer = dtfl("compare", run, "--out", tmp_path / "out")
    # A summary says only whether the run has ended; an audit that cannot be read is noted, and not used.
    assert answer.status == (0 if file in ("summary.json", "audit/audit.json") else 2)
    count()


def deep(path: Path) -> None:
    path.write_bytes(b'{"data_sha256":' + b"[" * 100_000)


@pytest.mark.parametrize("kind", ["pipe", "sparse file of 20 GB", "nested 100,000 deep"])
@pytest.mark.parametrize("command", ["train --resume --out", "attack", "audit"])
def test_what_stands_in_place_of_an_environment(dtfl, write_run, tmp_path, count, command, kind):
    small = {"dataset": "digits:size=8", "max_train_images": 20, "clients": 2, "model": "he-cnn"}
    run = write_run(tmp_path / "run", [0.5], **small)
    (run / "config.toml").write_text(to_toml(prepare(TrainConfig.model_validate({**small, "rounds": 1})).config))
    (run / "environment.json").unlink()
    IN_PLACE.get(kind, deep)(run / "environment.json")
    answer = dtfl(*command.split(), run)
    assert answer.status in (1, 2)
    assert f"{run / 'environment.json'} is missing or damaged" in answer.error
    count()


@pytest.fixture
def finished(tiny_config, patterns, tiny_network, tmp_path) -> Callable[..., object]:
    """Train a tiny run with a recorded round; return how to resume it, and where it is."""

    def resume() -> object:
        config = tiny_config(rounds=1, record_rounds="last")
        return train(config, out=tmp_path / "run", resume=True, dataset=patterns, model=tiny_network())

    resume()
    shutil.copytree(tmp_path / "run", tmp_path / "whole")
    return resume


STATE = "checkpoint/round-000001"

RESUMED = (*(f"{STATE}/{name}" for name in ("manifest.json", "state.json", "state.safetensors")), "rounds.jsonl")


@pytest.mark.parametrize("file", [*RESUMED, "environment.json", "config.toml"])
@given(data=st.data())
@examples(8)
def test_file_of_a_resumed_run(finished, tmp_path, count, file, data):
    spoil(tmp_path, file, data.draw(bytes_of((tmp_path / "whole" / file).read_bytes())))
    refused_or_done(finished)
    count()


@pytest.mark.parametrize("kind", IN_PLACE)
def test_what_stands_in_place_of_a_checkpoint(finished, tmp_path, count, kind):
    for file in RESUMED[:3]:
        spoil(tmp_path, file, None)
        IN_PLACE[kind](tmp_path / "run" / file)
        with pytest.raises(
            (CheckpointError, InputError), match=r"no intact checkpoint|is a link, through which nothing"
        ):
            finished()
        count()


@given(data=st.data())
@examples(40)
@pytest.mark.usefixtures("finished")
def test_recording(tmp_path, count, data):
    part = data.draw(st.sampled_from(["seen", "truth"]))
    name = "round-000001-client-0.safetensors"
    file = f"transcript/{part}/{name}"
    spoil(tmp_path, file, data.draw(bytes_of((tmp_path / "whole" / file).read_bytes())))
    load = load_seen if part == "seen" else load_truth
    refused_or_done(lambda: load(tmp_path / "run" / "transcript", 1, 0))
    count()


def spoil(tmp_path: Path, file: str, data: bytes | None) -> None:
    """Restore the run and put ``data`` in the place of one file, or nothing."""
    shutil.rmtree(tmp_path / "run")
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    (tmp_path / "run" / file).unlink()
    if data is not None:
        (tmp_path / "run" / file).write_bytes(data)


@given(data=st.data())
@examples(40)
def test_results_of_attacks(tmp_path, count, audit, data):
    document = {"schema_version": 1, "round": 3, "results": audit["results"]}
    (tmp_path / "attack.json").write_bytes(data.draw(json_of(document)))
    refused_or_done(lambda: (read_results(tmp_path / "attack.json"), read_round(tmp_path / "attack.json")))
    count()


@given(data=st.data())
@examples(40)
def test_kept_work_of_attacks_is_made_anew(tmp_path, count, data, patterns):
    cache = ResultCache(tmp_path / "kept", {})
    what, made = {"guess": 1}, {"guess": patterns.train_images[:2]}
    cache.get_or_make(what, lambda: made)
    (path,) = (tmp_path / "kept").iterdir()
    path.write_bytes(data.draw(bytes_of(path.read_bytes())))
    cache.has(what)
    cache.get_or_make(what, lambda: made)
    count()
    path.unlink()

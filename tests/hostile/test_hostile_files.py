"""Whatever a file of another party holds, a command answers in one line and an exit status: never a traceback.

Each test spoils one kind of file in a bounded number of ways, always the same ones; the counts are printed at the end.
"""

import gzip
import json
import shutil
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from spoiling import IN_PLACE, bytes_of, documents_of, examples, json_of

from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.data.files.cache import cached
from dtfl_private.data.files.idx import read_idx
from dtfl_private.errors import CheckpointError, DtflError, InputError, RunError
from dtfl_private.experiments import train as train_command
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.config.files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.transcripts import load_seen, load_truth
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.train import train
from dtfl_private.leakage.findings import findings_document
from dtfl_private.leakage.result import read_results, read_round

CONFIG = {
    "rounds": 3,
    "partition": "dirichlet:0.5",
    "defense": ["gaussian-noise:sigma=0.5"],
    "record_rounds": [1, "last"],
    "target_accuracy": 0.5,
    "profiles": [{"name": "phone", "cpus": 0.5, "up_mbit_s": 10.0, "down_mbit_s": 20.0}],
}
PRESET = {
    "title": "a sweep",
    "seeds": [0, 1],
    "baseline": "fedavg",
    "config": {"clients": 3},
    "grid": [{"method": ["dtfl", "fedavg"]}],
    "sizes": {"small": {"rounds": 2, "targets": {"iid": 0.8}}},
}
PROFILES = {"profile": CONFIG["profiles"]}


def toml_of(whole: dict[str, object]) -> st.SearchStrategy[bytes]:
    """Return spoiled texts of a TOML document, about half of them still TOML."""
    return st.one_of(documents_of(whole).map(as_toml), bytes_of(tomli_w.dumps(whole).encode()))


def as_toml(document: dict[str, object]) -> bytes:
    try:
        return tomli_w.dumps(document).encode()
    except (TypeError, ValueError):  # what TOML cannot say: null, half a surrogate pair
        return b"rounds = 0x" + b"f" * 5000


def stopped(*_arguments: object, **_settings: object) -> None:
    raise InputError("stopped here: the file was accepted")


@pytest.fixture
def no_training(monkeypatch) -> None:
    monkeypatch.setattr("dtfl_private.experiments.train.train", stopped)


DEEP = b"a = " + b"[" * 100_000
LONG_KEY = b"a" + b".a" * 100_000 + b" = 1"
HUGE_NUMBER = b"rounds = 0x" + b"f" * 100_000


@given(data=toml_of(CONFIG))
@example(data=DEEP)
@example(data=LONG_KEY)
@example(data=HUGE_NUMBER)
@examples(60)
@pytest.mark.usefixtures("no_training")
def test_config(dtfl, tmp_path, count, data):
    (tmp_path / "c.toml").write_bytes(data)
    answer = dtfl("train", tmp_path / "c.toml", "--out", tmp_path / "run")
    assert answer.status == 2
    assert not (tmp_path / "run").exists()
    count()


@given(data=toml_of(PRESET))
@example(data=DEEP)
@example(data=LONG_KEY)
@examples(50)
def test_preset(dtfl, tmp_path, count, data):
    (tmp_path / "p.toml").write_bytes(data)
    assert dtfl("sweep", tmp_path / "p.toml", "--dry-run").status in (0, 2)
    count()


@given(data=toml_of(PROFILES))
@examples(25)
def test_profiles(dtfl, tmp_path, count, data):
    (tmp_path / "p.toml").write_bytes(data)
    plan = ("plan", "--clients", 2, "--rounds", 1, "--no-compare", "--model", "he-cnn", "--input-shape", "1x8x8")
    assert dtfl(*plan, "--profiles", tmp_path / "p.toml").status in (0, 2)
    count()


@pytest.fixture
def audit(findings_of, figure) -> dict[str, Any]:
    """An audit.json of the runs that these tests compare."""
    ssim = figure(1, 0.4, cut=(16, 8, 8))
    run = {"dataset": "digits", "model": "resnet-8", "method": "fedavg", "scheduler": "dynamic", "clients": 10}
    run |= {"rounds": 2, "test_accuracy": 0.6}
    return json.loads(findings_document(findings_of([ssim], strongest=(ssim,), **run)))


@given(data=st.data())
@examples(40)
def test_audit_of_a_leakage_budget(dtfl, tmp_path, count, monkeypatch, audit, data):
    monkeypatch.setattr(train_command, "checked_place", stopped)
    path = tmp_path / "audit.json"
    audit["training"]["dataset"] = "digits:size=8"
    path.write_bytes(data.draw(json_of(audit)))
    small = ("--dataset", "digits:size=8", "--max-train-images", 20, "--clients", 2, "--workers", 1)
    assert dtfl("train", *small, "--leakage-budget", f"{path}:metric=ssim,max=0.5").status == 2
    count()


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

    compare.whole = whole  # type: ignore[attr-defined]
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


def as_line(document: object) -> bytes:
    return json.dumps(document).encode() + b"\n"


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


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("command", ["train", "sweep", "plan --profiles", "train --leakage-budget"])
def test_what_stands_in_place_of_a_file_that_is_named(dtfl, tmp_path, count, command, kind):
    IN_PLACE[kind](tmp_path / "file.toml")
    name = f"{tmp_path / 'file.toml'}" + (":metric=ssim,max=0.5" if "budget" in command else "")
    assert dtfl(*command.split(), name).status == 2
    count()


@pytest.fixture
def finished(tiny_config, patterns, tiny_network, tmp_path, monkeypatch) -> Callable[..., object]:
    """Train a tiny run with a recorded round; return how to resume it, and where it is."""
    monkeypatch.setattr(training, "plot_training", lambda *_arguments, **_settings: None)

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


def refused_or_done(act: Callable[[], object]) -> None:
    """Do it; the only errors may be the project's own, in one line that may be shown."""
    error = refusal(act)
    assert error is None or (isinstance(error, InputError | RunError) and str(error).isprintable())


def refusal(act: Callable[[], object]) -> DtflError | None:
    try:
        act()
    except DtflError as error:
        return error
    return None


@given(data=st.data())
@examples(40)
def test_results_of_attacks(tmp_path, count, audit, data):
    document = {"schema_version": 1, "round": 3, "results": audit["results"]}
    (tmp_path / "attack.json").write_bytes(data.draw(json_of(document)))
    refused_or_done(lambda: (read_results(tmp_path / "attack.json"), read_round(tmp_path / "attack.json")))
    count()


def png(shade: int) -> bytes:
    path = Path("shade.png")
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    return path.read_bytes()


@given(data=st.data())
@examples(40)
def test_image(dtfl, tmp_path, count, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "tree" / name).mkdir(parents=True, exist_ok=True)
        for image in range(2):
            (tmp_path / "tree" / name / f"{image}.png").write_bytes(png(100 * number + image))
    (tmp_path / "tree" / "cat" / "0.png").write_bytes(data.draw(bytes_of(png(0))))
    image_folder = ("partition", "--dataset", "image-folder", "--data-dir", tmp_path / "tree", "--clients", 1)
    assert dtfl(*image_folder).status in (0, 2)
    count()


TABLE = b"lesion_id,image_id,dx\nL1,I1,nv\nL2,I2,mel\n"


@given(data=bytes_of(TABLE))
@examples(40)
def test_table_of_ham10000(dtfl, tmp_path, count, data):
    (tmp_path / "HAM10000_metadata.csv").write_bytes(data)
    assert dtfl("partition", "--dataset", "ham10000", "--data-dir", tmp_path).status == 2
    count()


@given(data=bytes_of(struct.pack(">4B3I", 0, 0, 8, 3, 2, 4, 4) + bytes(range(32))), packed=st.booleans())
@examples(60)
def test_idx_file(tmp_path, count, data, packed):
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    refused_or_done(lambda: read_idx(path, dimensions=3))
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


@given(data=st.data())
@examples(40)
def test_cache_of_images_is_made_anew(tmp_path, monkeypatch, count, data, patterns):
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    build = lambda: {"train": patterns.train_images}  # noqa: E731
    cached("entry", "stamp", build)
    path = data.draw(st.sampled_from(sorted((tmp_path / "cache").glob("entry.*"))))
    path.write_bytes(data.draw(bytes_of(path.read_bytes())))
    assert (cached("entry", "stamp", build)["train"] == patterns.train_images).all()
    count()

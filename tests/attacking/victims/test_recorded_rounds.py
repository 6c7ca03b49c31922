"""Recordings of a run, and what is refused of them."""

import json
import shutil

import pytest
import safetensors.torch
from fast_attacks import LeastSquares

from dtfl_private.errors import RunError
from dtfl_private.experiments.run_folder.recordings import recorded_rounds


def test_who_keeps_the_whole_network_is_not_recorded(trained, mount):
    folder = trained(method="dtfl-full", scheduler="random", record_rounds=[1, 2], record_images=8)
    rounds = [json.loads(line)["tiers"] for line in (folder / "rounds.jsonl").read_text().splitlines()]
    cut = {(number, int(k)) for number, of in enumerate(rounds, 1) for k, tier in of.items() if tier < 4}
    assert 0 < len(cut) < 6
    assert set(recorded_rounds(folder / "transcript")) == cut
    report = mount(folder, [LeastSquares()])
    assert {result.tier for result in report.results} == {tier for tier in rounds[-1].values() if tier < 4}


def test_a_recording_of_another_run_is_refused(trained, mount, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained(record_rounds=["last"], scheduler="static:2"), folder)
    (file, *_) = sorted((folder / "transcript" / "seen").iterdir())
    tensors = safetensors.torch.load_file(file)
    tensors["batch/0/smashed"] = tensors["batch/0/smashed"][:, :-1].contiguous()
    with safetensors.safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    safetensors.torch.save_file(tensors, file, metadata)
    with pytest.raises(RunError, match="is not of this run"):
        mount(folder, [LeastSquares()])

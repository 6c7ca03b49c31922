"""How many calls lie between the command line and an attack's work: a reader has to follow them all."""

import traceback
from pathlib import Path

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

import dtfl_private
from dtfl_private.attacking import runner
from dtfl_private.cli.main import main

DEEPEST = 14
OURS = Path(dtfl_private.__file__).resolve().parent


class FirstOperation(TorchDispatchMode):
    """Notes our functions that lie above the first tensor operation of an attack."""

    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if not self.functions:
            called = [frame.name for frame in traceback.extract_stack() if is_ours(frame)]
            self.functions = called if "reconstruct" in called else []
        return operation(*args, **(kwargs or {}))


def is_ours(frame: traceback.FrameSummary) -> bool:
    path = Path(frame.filename).resolve()
    return path.is_relative_to(OURS) or path.is_relative_to(OURS.parent / "attacks")


def test_an_attack_is_few_calls_from_the_command_line(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "save_pictures", lambda *_: [])
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
    few = ["--tier", "1", "--victims", "8", "--aux-images", "24", "--seeds", "1", "--threads", "1", "--device", "cpu"]
    options = ["--attack", "optimization:steps=1", *few, "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as left, FirstOperation() as first:
        main(["attack", str(small_run.path), *options])
    assert left.value.code == 0
    assert first.functions[0] == "main"
    assert len(first.functions) <= DEEPEST, " > ".join(first.functions)

import inspect

import numpy as np
import onnxruntime
from PIL import Image

from examples import use_the_model


def test_the_example_trains_predicts_and_exports(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 5)):
        for shade, name in ((60, "day"), (190, "night")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.normal(shade, 90, (40, 30 + number, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    use_the_model.main(str(tmp_path), out=str(tmp_path / "run"), rounds=1)
    accuracy, day, night, exported = capsys.readouterr().out.splitlines()
    reached, reported = (part.split()[-1] for part in accuracy.split(", "))
    assert reached == reported
    assert [line.partition(": recall")[0] for line in (day, night)] == ["day", "night"]
    assert onnxruntime.InferenceSession(exported).get_inputs()[0].shape[1:] == [3, 32, 32]


def test_it_takes_no_more_than_fifteen_lines():
    code = inspect.getsource(use_the_model).partition('"""\n\n')[2]
    assert len([line for line in code.splitlines() if line.strip() and '"""' not in line]) <= 15

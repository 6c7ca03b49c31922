"""`predict`: what it prints and writes of images, and what it refuses."""

import csv
import io
import json
import os
import shutil
from pathlib import Path, PurePath

import numpy as np
import pytest
from command_line import SMALL
from PIL import Image

from dtfl_private.data.digits import load_digits
from dtfl_private.experiments.load_run import load_run

TEST = load_digits(size=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run on digits, and with some of its test images in folders named as their classes."""
    from dtfl_private.experiments.config.train_config import TrainConfig
    from dtfl_private.experiments.train import train

    there = tmp_path_factory.mktemp("trained")
    config = TrainConfig(
        dataset="digits:size=8", max_train_images=120, clients=2, rounds=2, batch_size=8, lr=0.01, device="cpu"
    )
    train(config, out=there / "run")
    for number, (image, label) in enumerate(zip(TEST.test_images.numpy(), TEST.test_labels.tolist(), strict=True)):
        (there / "new" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(there / "new" / str(label) / f"{number:03d}.png")
    return there


@pytest.fixture
def predict(dtfl, trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.copytree(trained / "new", tmp_path / "new")

    def run(*arguments):
        return dtfl("predict", "run", *arguments)

    return run


def test_of_all_test_images_it_prints_the_accuracy_that_the_run_reported(predict, tmp_path):
    status, out, err = predict("new")
    reported = load_run(tmp_path / "run").records[-1]["test_accuracy"]
    assert (status, err) == (0, "")
    assert f"accuracy {reported:.4f} over the 360 images in folders named as classes" in out
    rows = [line.split() for line in out.splitlines() if line.startswith((" new/", "new/"))]
    assert len(rows) == 360
    assert np.mean([row[3] == "yes" for row in rows]) == pytest.approx(reported)
    assert all((row[2] == PurePath(row[0]).parent.name) == (row[3] == "yes") for row in rows)
    recalls = [line.split() for line in out.splitlines() if len(line.split()) == 3 and line.split()[0].isdigit()]
    assert [int(row[0]) for row in recalls] == list(range(10))
    assert sum(int(row[1]) for row in recalls) == 360
    assert sum(int(row[1]) * float(row[2]) for row in recalls) / 360 == pytest.approx(reported, abs=1e-3)


def test_the_table_shows_the_most_probable_classes_of_each_image(predict):
    status, out, _ = predict("new/3", "--top", 3)
    assert status == 0
    lines = [line.split() for line in out.splitlines() if line.strip()]
    first = next(place for place, line in enumerate(lines) if line[0].startswith("new/3/"))
    assert [len(line) for line in lines[first : first + 3]] == [4, 2, 2]  # file and whether it is right once
    chances = [float(lines[first][1]), float(lines[first + 1][0]), float(lines[first + 2][0])]
    assert chances == sorted(chances, reverse=True)


def test_csv_goes_to_standard_output_alone_and_to_a_file(predict, tmp_path):
    status, out, err = predict("new/1", "new/7", "--top", 2, "--csv")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["file", "class", "probability", "class_2", "probability_2", "true_class"]
    assert {row["true_class"] for row in rows} == {"1", "7"}
    assert len(rows) == int((TEST.test_labels == 1).sum() + (TEST.test_labels == 7).sum())
    assert f"accuracy {np.mean([row['class'] == row['true_class'] for row in rows]):.4f}" in err
    status, shown, _ = predict("new/1", "new/7", "--top", 2, "--csv", "out.csv")
    assert (tmp_path / "out.csv").read_text() == out
    assert "accuracy" in shown
    assert "file" not in shown


def test_json_says_the_same(predict, tmp_path):
    status, out, _ = predict("new", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["judged"] == {"images": 360, "accuracy": load_run(tmp_path / "run").records[-1]["test_accuracy"]}
    assert list(told["recall"]) == [str(digit) for digit in range(10)]
    assert told["images"][0]["file"] == str(min(Path("new/0").iterdir()))
    ((best),) = told["images"][0]["top"]
    assert 0 < best["probability"] <= 1


HOSTILE_NAMES = (
    "=1+2.png",
    "+cmd.png",
    "-x.png",
    "@a.png",
    "\t=a.png",
    "\x1b[31mred.png",
    "a\nb.png",
    'q"uo,te.png',
    os.fsdecode(b"odd\xff.png"),
)


def test_no_name_of_a_file_is_a_formula_or_steers_the_terminal(predict, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in HOSTILE_NAMES:
        shutil.copy(next((tmp_path / "new" / "5").iterdir()), folder / name)
    os.chdir(folder)
    shutil.copytree(tmp_path / "run", folder / "run")
    files = [f"./{name}" if name.startswith("-") else name for name in HOSTILE_NAMES]
    for option in ("--csv", "--json", "--top=1"):
        status, out, err = predict(*files, option)
        assert status == 0
        assert all(character.isprintable() or character == "\n" for character in out + err)
        if option == "--csv":
            cells = [row[0] for row in csv.reader(io.StringIO(out))]
            assert len(cells) == 1 + len(HOSTILE_NAMES)
            assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))] == []
            assert "'=1+2.png" in cells
            assert 'q"uo,te.png' in cells
        if option == "--json":
            assert "=1+2.png" in [image["file"] for image in json.loads(out)["images"]]


def test_images_of_another_size_are_counted(predict, tmp_path):
    Image.new("L", (30, 20), 99).save(tmp_path / "wide.png")
    status, out, _ = predict("wide.png", "new/0")
    count = 1 + int((TEST.test_labels == 0).sum())
    assert f"note: 1 of {count} images were resized to 8x8 pixels" in out
    assert f"images of the {count} in folders named as classes" in out
    assert status == 0


def test_thousands_of_images_are_predicted(predict, tmp_path):
    (tmp_path / "many").mkdir()
    whole = next((tmp_path / "new" / "5").iterdir()).read_bytes()
    for number in range(2500):
        (tmp_path / "many" / f"{number:04d}.png").write_bytes(whole)
    status, out, _ = predict("many", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert len(rows) == 2500
    assert len({row["class"] for row in rows}) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no files are named"),
        (["gone"], "'gone' does not exist"),
        (["new", "--top", "0"], "Invalid value for '--top'"),
        (["--csv", "new/0/a.png", "new"], "--csv 'new/0/a.png' is refused: that names an image"),
        (["new", "--csv", "new"], "'new' cannot be written: it is a folder"),
        (["new", "--csv", "gone/a.csv"], "there is no folder"),
        (["new", "--csv", "-", "--json"], "--json writes one document to standard output"),
        (["new", "bad.png", "--csv", "out.csv"], "bad.png cannot be read as a PNG or JPEG image"),
        (["new", "--which", "best"], "this run kept no best round's network"),
        (["run/config.toml"], "run/config.toml cannot be read as a PNG or JPEG image"),
    ],
    ids=str,
)
def test_wrong_input_is_answered_in_one_line_and_nothing_is_written(predict, tmp_path, arguments, said):
    (tmp_path / "bad.png").write_bytes(b"no image")
    status, out, err = predict(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_texts_are_predicted_as_they_were_in_training(dtfl, tmp_path):
    for part, count in (("train", 8), ("test", 4)):
        for name, words in (("ham", "see you at lunch"), ("spam", "win money now")):
            (tmp_path / "mail" / part / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "mail" / part / name / f"{number}.txt").write_text(f"{words} {number} " * (number % 3 + 1))
    settings = ["--dataset", "text-folder:length=16,vocabulary=300", "--data-dir", "mail", "--lr", "0.01"]
    small = ["--clients", "2", "--rounds", "2", "--batch-size", "4", "--device", "cpu", "--model", "transformer"]
    assert dtfl("train", *settings, *small, "--out", "run").status == 0
    run = load_run(tmp_path / "run")
    status, out, err = dtfl("predict", "run", "mail/test", "--csv")
    assert status == 0
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(out))}
    files = sorted((tmp_path / "mail" / "test").rglob("*.txt"))
    logits = run.model()(run.tokens_of([file.read_text() for file in files]))
    names = [run.classes[number] for number in logits.argmax(dim=1)]
    assert [rows[str(file.relative_to(tmp_path))]["class"] for file in files] == names
    right = np.mean([name == file.parent.name for name, file in zip(names, files, strict=True)])
    assert right == run.records[-1]["test_accuracy"]
    assert f"accuracy {right:.4f} over the 8 texts in folders named as classes" in err
    document = json.loads(dtfl("predict", "run", "mail/test/ham/0.txt", "--json").out)
    assert [one["file"] for one in document["texts"]] == ["mail/test/ham/0.txt"]
    assert document["judged"]["texts"] == 1
    for content, said in ((b"", "is empty"), (b"\xff", "cannot be read")):
        (tmp_path / "bad.txt").write_bytes(content)
        status, _, err = dtfl("predict", "run", "bad.txt")
        assert (status, err.count("\n")) == (2, 1)
        assert f"bad.txt {said}" in err
    tokenizer = json.loads(run.folder.tokenizer.read_text())
    tokenizer["model"]["merges"].pop()
    tokenizer["model"]["vocab"].popitem()
    run.folder.tokenizer.write_text(json.dumps(tokenizer))
    status, _, err = dtfl("predict", "run", "mail")
    assert (status, err.count("\n")) == (1, 1)
    assert "is not the tokenizer that the run was trained with" in err


def test_a_network_for_tokens_takes_no_images(dtfl):
    small = [*SMALL[2:], "--dataset", "sentences:train=40,test=8", "--model", "transformer"]
    assert dtfl("train", *small, "--out", "run").status == 0
    status, _, err = dtfl("predict", "run", "new")
    assert (status, err.count("\n")) == (2, 1)
    assert "the network takes sequences of 16 tokens, not images" in err

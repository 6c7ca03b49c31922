"""Texts in folders and tables: which there are, on which side of the split, and what is refused."""

import re
from collections import Counter

import pytest
import text_files
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from dtfl_private.data import text_sets
from dtfl_private.data.dataset import TokenDataset, load_dataset
from dtfl_private.errors import InputError


def load(text: str, path) -> TokenDataset:
    dataset = load_dataset(text, data_dir=path, download=False)
    assert isinstance(dataset, TokenDataset)
    return dataset


def texts(dataset: TokenDataset, part: str) -> list[str]:
    return [dataset.text_of(row).strip() for row in getattr(dataset, f"{part}_images")]


def refusal(text: str, path) -> str:
    with pytest.raises(InputError) as error:
        load(text, path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> TokenDataset:
    return load("text-folder:length=30", text_files.tree(tmp_path_factory.mktemp("texts")))


def test_every_text_is_there_once_with_the_label_of_its_folder(folder):
    assert folder.classes == text_files.ANIMALS
    everything = Counter(texts(folder, "train") + texts(folder, "test"))
    assert everything == Counter(text_files.sentences(0) + text_files.sentences(1))
    for part in ("train", "test"):
        for text, label in zip(texts(folder, part), getattr(folder, f"{part}_labels").tolist(), strict=True):
            assert folder.classes[label] in text
    assert folder.client_ids is None


def test_sequences_are_filled_up_on_the_right_by_a_token_that_no_text_has(folder):
    assert folder.input_shape == (30,)
    assert folder.train_images.dtype == torch.int32
    padding = folder.train_images == folder.padding
    assert padding.any()
    assert not padding[:, 0].any()
    assert (padding[:, 1:] >= padding[:, :-1]).all()


def test_long_texts_are_cut_off_and_the_notes_say_how_many(tmp_path):
    dataset = load("text-folder:length=2", text_files.tree(tmp_path))
    assert dataset.input_shape == (2,)
    assert "2 tokens a text" in dataset.notes[1]
    assert "100% of the training texts are cut off, 0% of all places are padding" in dataset.notes[1]
    assert "trained on all clients' training texts together" in dataset.notes[3]
    assert "it holds pieces of them, and no epsilon covers it" in dataset.notes[3]
    assert "how long each text is goes to the server in clear" in dataset.notes[2]


def test_by_default_sequences_are_as_long_as_95_of_100_texts(tmp_path, monkeypatch):
    root = text_files.tree(tmp_path)
    whole = load("text-folder", root)
    lengths = (whole.train_images != whole.padding).sum(dim=1)
    assert lengths.max() == whole.input_shape[0]
    for number in range(20):
        (root / "dog" / f"more-{number}.txt").write_text(f"the dog {number}", "utf-8")
    (root / "cat" / "long.txt").write_text("cat " * 500, "utf-8")
    assert load("text-folder", root).input_shape[0] <= 20
    monkeypatch.setattr(text_sets, "LONGEST_BY_DEFAULT", 3)
    assert load("text-folder", root).input_shape == (3,)


def test_a_tree_may_bring_its_own_split_or_its_clients(tmp_path):
    own = load("text-folder:length=40", text_files.tree(tmp_path / "split", "train", "test"))
    assert {text.split()[0] for text in texts(own, "train")} == {"train"}
    assert {text.split()[0] for text in texts(own, "test")} == {"test"}
    clients = load("text-folder:by_client=true,length=40", text_files.tree(tmp_path / "clients", "ann", "bob"))
    owners = [0 if text.startswith("ann") else 1 for text in texts(clients, "train")]
    assert clients.client_ids.tolist() == owners


def test_the_tokenizer_sees_training_texts_alone_or_is_the_one_that_is_named(tmp_path):
    root = text_files.tree(tmp_path / "texts", "train", "test")
    first = load("text-folder:vocabulary=400", root)
    (root / "test" / "cat" / "0.txt").write_text("zzzz zzzz zzzz zzzz zzzz zzzz", "utf-8")
    assert load("text-folder:vocabulary=400", root).tokenizer == first.tokenizer
    (tmp_path / "tokenizer.json").write_text(first.tokenizer, "utf-8")
    (root / "train" / "cat" / "0.txt").write_text("zzzz zzzz zzzz zzzz zzzz zzzz", "utf-8")
    named = load(f"text-folder:tokenizer={tmp_path}", root)
    assert named.tokenizer == first.tokenizer
    assert not any("trained on all" in note for note in named.notes)
    assert load("text-folder:vocabulary=400", root).tokenizer != first.tokenizer


def test_special_tokens_written_in_a_text_are_text(tmp_path):
    root = text_files.tree(tmp_path)
    (root / "cat" / "0.txt").write_text("<pad><pad> cat <pad>", "utf-8")
    dataset = load("text-folder:length=60,test=0.01", root)
    assert "<pad><pad> cat <pad>" in texts(dataset, "train") + texts(dataset, "test")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_a_table_is_split_by_its_texts_and_knows_whose_they_are(tmp_path, ending):
    path = text_files.table(tmp_path / f"texts.{ending}")
    dataset = load("text-table:client=who,length=30", path)
    assert dataset.classes == text_files.ANIMALS
    owner = {text: int(client[-1]) for text, _, client in text_files.rows()}
    train = texts(dataset, "train")
    assert sorted(train + texts(dataset, "test")) == sorted(owner)
    assert dataset.client_ids.tolist() == [owner[text] for text in train]
    assert Counter(dataset.test_labels.tolist()) == {0: 2, 1: 2}
    assert load("text-table:length=30", path).client_ids is None


def test_equal_texts_of_a_class_are_on_one_side(tmp_path):
    path = text_files.table(tmp_path / "texts.csv")
    path.write_text(path.read_text() + "\n".join(path.read_text().splitlines()[1:]) + "\n")
    dataset = load("text-table:test=0.5", path)
    assert not set(texts(dataset, "train")) & set(texts(dataset, "test"))


def test_a_folder_of_two_tables_brings_its_own_split_and_columns_have_any_names(tmp_path):
    for part in ("train", "test"):
        text_files.table(tmp_path / f"{part}.csv", ("review", "stars", "who"))
    dataset = load("text-table:text=review,label=stars", tmp_path)
    assert sorted(texts(dataset, "train")) == sorted(texts(dataset, "test"))


def test_quotes_and_line_breaks_of_csv_and_numbers_as_labels(tmp_path):
    lines = ['"a ""quoted"", text\nof two lines",10', "two,9", "three,10", "four,9"]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *lines, ""]), "utf-8")
    dataset = load("text-table:length=60", tmp_path / "t.csv")
    assert dataset.classes == ("9", "10")
    assert 'a "quoted", text\nof two lines' in texts(dataset, "train") + texts(dataset, "test")
    objects = '{"text": "one", "label": 1}\n\n{"text": "two", "label": true}\n{"text": "to", "label": true}\n'
    (tmp_path / "t.jsonl").write_text(objects + '{"text": "won", "label": 1}\n', "utf-8")
    assert load("text-table", tmp_path / "t.jsonl").classes == ("1", "true")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "review,label\na,b\n", "t.csv: there is no column 'text', but review, label"),
        ("t.csv", "text,text,label\na,b,c\n", "column 'text' is there twice"),
        ("t.csv", "text,label\n", "t.csv has no rows"),
        ("t.csv", "", "there is no column 'text', but none"),
        ("t.csv", "text,label\na\n", "t.csv, line 2: 1 fields, expected 2"),
        ("t.csv", 'text,label\n"a,b\n', "line 2 cannot be read: unexpected end of data"),
        ("t.tsv", "text\tlabel\n" + "a" * 200_000 + "\tb\n", "line 2 cannot be read: .*save the table as .jsonl"),
        ("t.csv", "text,label\na,x\nb,\nc,x\nd,\n", "t.csv, line 3 has no label"),
        ("t.jsonl", '{"text": "a", "label": "\\ud800"}\n', "line 1: 'label' holds half of a surrogate pair"),
        ("t.csv", "text,label\na,x\nb,x\n", "column 'label' has 1 different values, expected 2 to"),
        ("t.csv", "text,label\na,x\nb,x\nc,y\n", "class 'y' has one text only"),
        ("t.csv", "text,label\na,x\n  ,x\nc,y\nd,y\n", "t.csv, line 3 is empty"),
        ("t.tsv", "text\tlabel\na\tb\tc\n", "t.tsv, line 2: 3 fields, expected 2"),
        ("t.jsonl", '{"text": "a"}\n', "t.jsonl, line 1: there is no column 'label', but text"),
        ("t.jsonl", "[1]\n", "line 1: a list, expected an object"),
        ("t.jsonl", '{"text": "a", "label": 1.5}\n', "line 1: 'label' is a float"),
        ("t.jsonl", '{"text": null, "label": 1}\n', "line 1: 'text' is a NoneType"),
        ("t.jsonl", '{"text": "a", "text": "b", "label": 1}\n', "line 1: a key stands twice"),
        (
            "t.jsonl",
            '{"text": "\\ud800", "label": 1}\n{"text": "b", "label": 2}\n'
            '{"text": "c", "label": 1}\n{"text": "d", "label": 2}\n',
            "half of a surrogate pair",
        ),
        ("t.csv", b"text,label\n\xff,b\n", "not UTF-8 text"),
        ("t.txt", "text", "no text-table in .*: name by --data-dir a .csv"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert re.search(said, refusal("text-table:test=0.5", path))


def test_a_test_table_has_no_labels_of_its_own_and_other_tables_are_refused(tmp_path):
    text_files.table(tmp_path / "train.csv")
    text_files.table(tmp_path / "other.csv")
    assert "has 0 tables named test, expected one" in refusal("text-table", tmp_path)
    (tmp_path / "test.csv").write_text("text,label\na,owl\n", "utf-8")
    assert "test.csv, line 2: label 'owl' is none of the training table's" in refusal("text-table", tmp_path)
    (tmp_path / "train.csv").rename(tmp_path / "first.csv")
    (tmp_path / "test.csv").rename(tmp_path / "second.csv")
    assert "has several tables (first.csv, other.csv, second.csv): name one of them" in refusal("text-table", tmp_path)


def test_bad_folders_of_texts_are_refused_in_one_line(tmp_path, monkeypatch):
    assert "needs --data-dir: name by --data-dir the folder" in refusal("text-folder", None)
    root = text_files.tree(tmp_path)
    (root / "cat" / "0.txt").write_text(" \n", "utf-8")
    assert "0.txt is empty: remove it" in refusal("text-folder", root)
    (root / "cat" / "0.txt").write_bytes(b"\xe4")
    assert "0.txt cannot be read: not UTF-8 text" in refusal("text-folder", root)
    (root / "cat" / "0.txt").write_text("a cat", "utf-8")
    (root / "bird").mkdir()
    assert "bird holds no .txt file: put texts there, or remove it" in refusal("text-folder", root)
    (root / "bird").rmdir()
    monkeypatch.setattr("dtfl_private.data.text_sets.MAX_FILE_BYTES", 5)
    assert "larger than 5 bytes" in refusal("text-folder", root)
    monkeypatch.setattr("dtfl_private.data.text_folder.MAX_TEXT_BYTES", 50)
    assert "bytes, at most 50: leave some out" in refusal("text-folder", root)


def test_a_data_set_without_a_tokenizer_has_no_texts():
    sentences = load("sentences:train=30,test=8", None)
    with pytest.raises(InputError, match="sentences has no tokenizer: its tokens are numbers only"):
        sentences.text_of(sentences.train_images[0])


def test_a_padding_token_among_a_text_s_own_is_refused_since_it_would_show_in_clear(tmp_path):
    root = text_files.tree(tmp_path / "texts")
    words = ["the", "cat", "dog", "saw", "met", "ate", "fox", "owl", "hen"]
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0} | {word: n for n, word in enumerate(words, 1)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(pad_id=0, pad_token="[UNK]")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    load(f"text-folder:tokenizer={tmp_path}", root)  # without an unknown word it may serve as padding
    (root / "cat" / "0.txt").write_text("the cat saw a fox", "utf-8")
    assert "0.txt has the tokenizer's padding token 0 among its own" in refusal(
        f"text-folder:tokenizer={tmp_path}", root
    )

"""From texts to tokens and back; what may come from anybody."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dtfl_private.data import tokenizers as under_test
from dtfl_private.data.tokenizers import TextTokenizer, read_tokenizer, tokenizer_of, train_tokenizer
from dtfl_private.errors import InputError

TEXTS = ["the old fox chased the dog", "Über den Fluß: 狐 🦊\n\tzwei", "a [PAD] <pad> b"]


def bert_like(path, **changes: object):
    """Write a tokenizer.json that puts [CLS] and [SEP] around texts."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "old", "fox"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(3)
    path.write_text(json.dumps(json.loads(tokenizer.to_str()) | changes), "utf-8")
    return path


def test_byte_level_bpe_loses_nothing_of_any_text():
    tokenizer = train_tokenizer(TEXTS, "bpe", 300)
    assert tokenizer.vocabulary <= 300
    for text in [*TEXTS, "never seen: \x00 žluťoučký"]:
        (tokens,) = tokenizer.tokens([text])
        assert tokenizer.text_of([*tokens, tokenizer.padding, tokenizer.padding]) == text
        assert tokenizer.padding not in tokens


def test_wordpiece_is_in_small_letters():
    tokenizer = train_tokenizer(["The Fox", "the fox"], "wordpiece", 300)
    first, second = tokenizer.tokens(["The Fox", "the fox"])
    assert np.array_equal(first, second)
    assert tokenizer.text_of(first) == "the fox"


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_training_needs_no_chance_and_no_order(kind):
    texts = [f"{text} {number}" for text in TEXTS for number in range(40)]
    documents = {train_tokenizer(texts[::step], kind, 400).document for step in (1, -1)}
    assert len(documents) == 1


def test_a_document_makes_the_same_tokenizer_again():
    tokenizer = train_tokenizer(TEXTS, "bpe", 300)
    again = tokenizer_of(tokenizer.document)
    assert (again.vocabulary, again.padding) == (tokenizer.vocabulary, tokenizer.padding)
    assert np.array_equal(again.tokens(TEXTS)[0], tokenizer.tokens(TEXTS)[0])


def test_a_tokenizer_from_a_file_puts_its_tokens_around_but_neither_fills_up_nor_cuts_off(tmp_path, monkeypatch):
    bert_like(tmp_path / "tokenizer.json")
    monkeypatch.setenv("HOME", str(tmp_path.parent))  # shells leave the ~ in tokenizer=~/FOLDER as it is
    tokenizer = read_tokenizer(Path("~", tmp_path.name))
    assert (tokenizer.vocabulary, tokenizer.padding) == (7, 0)
    assert tokenizer.tokens(["the old old fox [SEP]"])[0].tolist()[:5] == [2, 4, 5, 5, 6]
    assert tokenizer.tokens(["the old old fox [SEP]"])[0].tolist().count(3) == 1  # in a text it is no special token
    assert tokenizer.tokens(["the old old fox"], most=4)[0].tolist() == [2, 4, 5, 3]
    assert tokenizer.text_of([2, 4, 6, 3, 0, 0]) == "the fox"
    with pytest.raises(InputError, match=r"length=2 is too short: tokenizer .* puts 2 tokens around each text"):
        tokenizer.tokens(["the"], most=2)


def test_a_file_whose_tokens_are_none_of_its_own_is_refused(tmp_path):
    around = processors.TemplateProcessing("[CLS] $A", None, [("[CLS]", 300)])
    tokenizer = read_tokenizer(bert_like(tmp_path / "t.json", post_processor=json.loads(around.__getstate__())))
    with pytest.raises(InputError, match="makes token 300, but has those of 0 to 6"):
        tokenizer.tokens(["the old fox the old"], most=5)


def test_tokens_around_texts_that_the_library_forgets_to_count_are_refused(tmp_path):
    pair = {"sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    template = processors.TemplateProcessing("$A [CLS]", None, [("[CLS]", 2)])
    chain = [{"type": "BertProcessing", **pair}, json.loads(template.__getstate__())]
    chain.append({"type": "RobertaProcessing", "trim_offsets": False, "add_prefix_space": False, **pair})
    chain[1]["special_tokens"]["[CLS]"] |= {"ids": [2] * 3, "tokens": ["[CLS]"] * 3}
    bert_like(tmp_path / "tokenizer.json", post_processor={"type": "Sequence", "processors": chain})
    with pytest.raises(InputError, match="makes 10 tokens of a text where 8"):
        read_tokenizer(tmp_path).tokens(["the old fox the old fox"], most=8)


def test_words_that_would_take_wordpiece_too_long_are_refused(tmp_path):
    made = Tokenizer(models.WordPiece({"a": 0}, unk_token="a", max_input_chars_per_word=10**6))
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"cuts words of more than 1,000 characters.* set its max_input"):
        read_tokenizer(tmp_path)


def test_padding_is_what_the_file_says_or_the_number_after_the_last_token(tmp_path):
    said = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_type_id": 0}
    padding = said | {"pad_id": 1, "pad_token": "[UNK]"}
    assert read_tokenizer(bert_like(tmp_path / "said.json", padding=padding)).padding == 1
    nameless = Tokenizer(models.WordLevel({"the": 0, "fox": 1}, unk_token="the"))
    assert TextTokenizer(nameless, "mine").padding == 2
    with pytest.raises(InputError, match="mine has tokens up to number"):
        TextTokenizer(Tokenizer(models.WordLevel({"the": under_test.MOST_TOKENS}, unk_token="the")), "mine")
    with pytest.raises(InputError, match="mine has tokens up to number -1"):
        TextTokenizer(Tokenizer(models.BPE()), "mine")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read: Expecting value"),
        ("{", "cannot be read"),
        ("{}", "is no tokenizer.json: "),
        ('{"model": ' + "[" * 80 + "]" * 80 + "}", "nested more than 64 levels"),
        ('{"version": "1.0", "model": {"type": "Pickle"}}', "is no tokenizer.json: "),
    ],
)
def test_what_is_no_tokenizer_is_refused_in_one_line(tmp_path, content, said):
    (tmp_path / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(InputError, match=said) as error:
        read_tokenizer(tmp_path)
    assert "\n" not in str(error.value)


def test_a_failure_inside_the_library_is_one_line_and_nothing_else_is_printed(tmp_path, capfd):
    """The library is in Rust, and writes where it failed, and from where it was called, before it raises."""
    bert_like(tmp_path / "tokenizer.json", pre_tokenizer={"type": "FixedLength", "length": 0})
    tokenizer = read_tokenizer(tmp_path)
    with pytest.raises(InputError, match="chunk size must be non-zero") as error:
        tokenizer.tokens(["the old fox"])
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_absent_and_too_large_tokenizers_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"there is no tokenizer .*tokenizer\.json: name a Hugging Face"):
        read_tokenizer(tmp_path)
    bert_like(tmp_path / "tokenizer.json")
    monkeypatch.setattr(under_test, "LARGEST_TOKENIZER_BYTES", 100)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        read_tokenizer(tmp_path)


def test_without_the_library_there_is_one_line_that_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    for use in (lambda: train_tokenizer(TEXTS, "bpe", 300), lambda: read_tokenizer(tmp_path)):
        with pytest.raises(InputError, match=r'pip install "dtfl-private\[text\]"'):
            use()

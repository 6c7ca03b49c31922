"""What a tokenizer.json may not say; the library would end the process, or not come to an end."""

import base64
import copy
import json

import pytest

from dtfl_private.data.tokenizer_rules import require_harmless_rules
from dtfl_private.data.tokenizers import read_tokenizer, train_tokenizer
from dtfl_private.errors import InputError

TRAINED = json.loads(train_tokenizer(["the old fox"], "bpe", 300).document)


def put(text, by, *, regex=False):
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": text}, "content": by}


def in_turn(*rules):
    return {"type": "Sequence", "normalizers": list(rules)}


def refused(tmp_path, said, **changes):
    (tmp_path / "tokenizer.json").write_text(json.dumps(copy.deepcopy(TRAINED) | changes), "utf-8")
    with pytest.raises(InputError, match=said) as error:
        read_tokenizer(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["normalizer", "pre_tokenizer", "post_processor", "decoder"])
def test_long_texts_in_rules_are_refused(tmp_path, kind):
    said = rf"its {kind} holds a text of 101 characters \(prepend\), expected 100"
    refused(tmp_path, said, **{kind: in_turn({"type": "Prepend", "prepend": "a" * 101})})
    refused(tmp_path, r"10,001 characters \(Regex\)", **{kind: put("a" * 10_001, "b", regex=True)})


def test_a_long_text_in_the_model_is_refused_and_in_its_vocabulary_it_is_not(tmp_path):
    model = TRAINED["model"]
    said = r"its model holds a text of 500 characters \(end_of_word_suffix\)"
    refused(tmp_path, said, model=model | {"end_of_word_suffix": "s" * 500})
    require_harmless_rules({"model": model | {"vocab": {"s" * 500: 0}}}, "mine")


@pytest.mark.parametrize(
    "rules",
    [
        [put("a", "a" * 16)] * 2,
        [put("a", ""), put("a", "a" * 64), put("b", "b" * 4)],
        [put("a", "b", regex=True)] * 8,  # between any two characters one is put
        [put("", "b")] * 8,
        [{"type": "Prepend", "prepend": "bcd"}] * 4,
    ],
)
def test_texts_may_grow_so_far_and_no_further(tmp_path, rules):
    require_harmless_rules({"normalizer": in_turn(*rules)}, "mine")
    said = r"its normalizer may make 512 characters of one, expected 256"
    refused(tmp_path, said, normalizer=in_turn(*rules, put("a", "aa")))


def test_rules_in_use_pass():
    sentencepiece = in_turn({"type": "Prepend", "prepend": "▁"}, put(" ", "▁"), put(" {2,}", "▁", regex=True))
    charsmap = {"precompiled_charsmap": base64.b64encode(b"\x04\x00\x00\x00" + b"abcdef" * 50).decode()}
    rules = in_turn(sentencepiece, {"type": "Precompiled", **charsmap}, {"type": "NFKC"})
    require_harmless_rules({**TRAINED, "normalizer": rules, "model": {"dropout": None, "unk_token": "<unk>"}}, "mine")


def test_texts_are_not_cut_by_chance(tmp_path):
    refused(tmp_path, r"by chance \(dropout 0\.1\): set its model's dropout to null", model={"dropout": 0.1})


@pytest.mark.parametrize("pieces", [["A", "A"], ["B"], [], ["A", "B"]])
def test_a_template_puts_each_text_once(tmp_path, pieces):
    """Cut to a length, a text that is repeated 50 times takes the library minutes and gigabytes."""
    single = [{"Sequence": {"id": piece, "type_id": 0}} for piece in pieces]
    said = f"does not put each text once: it names {len(pieces)} sequences"
    refused(tmp_path, said, post_processor={"type": "TemplateProcessing", "single": single, "special_tokens": {}})


@pytest.mark.parametrize("held", [b"\xf0\xff\xff\x7f", b"\x05\x00\x00\x00abcd", b"\x01"])
def test_a_map_of_characters_that_lies_about_its_length_is_refused(tmp_path, held):
    charsmap = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(held).decode()}
    refused(tmp_path, r"says it is of [\d,]+ bytes, and is of \d", normalizer=in_turn({"type": "NFC"}, charsmap))
    charsmap["precompiled_charsmap"] = "a"
    refused(tmp_path, r"is no tokenizer\.json: .*base64", normalizer=charsmap)


@pytest.mark.parametrize("document", [{"normalizer": 3, "model": [], "decoder": {"content": 5}}, [], None])
def test_what_is_no_tokenizer_at_all_is_left_to_the_library(document):
    require_harmless_rules(document, "mine")

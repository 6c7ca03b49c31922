"""Networks from checkpoints, against the library's own, on tiny ones with random weights that the tests write."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.padding import require_padding_kept
from dtfl_private.protocol.vocabulary import Vocabulary
from tests.checkpoints import CONFIGS, POSITIONS, SIZE, VOCABULARY, changed, checkpoint

LENGTHS = (7, 3, 1)


def load(folder: Path, length: int = 7, text: str = "cuts=all", tokens: Vocabulary | None = VOCABULARY) -> StagedModel:
    about = {"classes": 3, "norm": "batch", "seed": 0, "tokens": tokens}
    return build_model(f"pretrained:path={folder},{text}", input_shape=(length,), **about).eval()


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        load(folder, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def texts(length: int = 7) -> torch.Tensor:
    tokens = torch.full((len(LENGTHS), length), SIZE)
    for row, real in enumerate(LENGTHS):
        tokens[row, :real] = 2 + torch.arange(real) * 3 + row
    return tokens


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    checkpoint(folder, "bert")
    return folder


@pytest.fixture
def own(bert, tmp_path) -> Path:
    """A copy to spoil."""
    for path in bert.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_each_type_computes_what_the_library_computes_of_padded_texts(tmp_path, kind):
    theirs, model = checkpoint(tmp_path, kind), load(tmp_path)
    tokens = texts()
    real = tokens != SIZE
    # RoBERTa tells positions by its padding token, which is not among these texts.
    filler = 1 if kind == "roberta" else 0
    with torch.no_grad():
        hidden = theirs(tokens.masked_fill(~real, filler), attention_mask=real.long()).last_hidden_state
        ours = tokens
        for stage in list(model)[:-1]:
            ours = stage(ours)
        top = model[-1]
        ours = ours if top.norm is None else top.norm(ours)
        mean = torch.stack([row[:length].mean(dim=0) for row, length in zip(hidden, LENGTHS, strict=True)])
        torch.testing.assert_close(ours[real], hidden[real], rtol=0, atol=1e-5)
        torch.testing.assert_close(model(tokens), top.fc(mean), rtol=0, atol=1e-5)
    require_padding_kept(model, VOCABULARY, 7)
    assert len(model) == 4


@pytest.mark.parametrize("cuts", ["auto", "2", "1"])
def test_md1_are_the_embeddings_alone_however_many_blocks_there_are(tmp_path, cuts):
    checkpoint(tmp_path, "bert", num_hidden_layers=12)
    model = load(tmp_path, text=f"cuts={cuts}")
    assert type(model[0]).__name__ == "TokenEmbedding"
    assert len(model.tiers) == (7 if cuts == "auto" else int(cuts))
    assert sum(type(part).__name__ == "MaskedBlock" for part in model.modules()) == 12


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_texts_that_are_padded_further_give_the_same_logits_and_gradients(tmp_path, kind):
    checkpoint(tmp_path, kind)
    found = []
    for length in (7, POSITIONS):
        model = load(tmp_path, length)
        logits = model(texts(length))
        gradients = torch.autograd.grad(logits.square().sum(), list(model.parameters()), allow_unused=True)
        found.append([logits, *(one for one in gradients if one is not None)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("pooling", "place"), [("first", lambda _: 0), ("last", lambda length: length - 1)])
def test_a_classifier_may_see_the_first_or_the_last_real_place(bert, pooling, place):
    model, tokens = load(bert, text=f"cuts=all,pooling={pooling}"), texts()
    with torch.no_grad():
        hidden = tokens
        for stage in list(model)[:-1]:
            hidden = stage(hidden)
        seen = torch.stack([row[place(length)] for row, length in zip(hidden, LENGTHS, strict=True)])
        torch.testing.assert_close(model(tokens), model[-1].fc(seen))


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("bert", "BertForMaskedLM"),
        ("roberta", "RobertaForSequenceClassification"),
        ("distilbert", "DistilBertForSequenceClassification"),
        ("gpt2", "GPT2LMHeadModel"),
        ("llama", "LlamaForCausalLM"),
    ],
)
def test_heads_for_other_tasks_are_left_out(tmp_path, kind, head):
    base = checkpoint(tmp_path, kind, head)
    state = {name for stage in load(tmp_path) for name, _ in stage.named_parameters()}
    assert not any("lm_head" in name or "pooler" in name for name in state)
    ours = load(tmp_path)[1].block.state_dict()
    theirs = {name: tensor for name, tensor in base.state_dict().items() if ".0." in name}
    assert len(ours) == len(theirs)
    for name, tensor in ours.items():
        (like,) = [other for full, other in theirs.items() if full.endswith(f".0.{name}")]
        assert torch.equal(tensor, like)


def test_weights_may_be_in_several_files_in_half_precision_and_under_early_names(bert, own):
    state = load_file(own / "model.safetensors")
    early = {f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma"): one.half() for name, one in state.items()}
    early = {name.replace("LayerNorm.bias", "LayerNorm.beta"): one for name, one in early.items()}
    names = sorted(early)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, its in parts.items():
        save_file({name: early[name] for name in its}, own / file)
    index = {"weight_map": {name: file for file, its in parts.items() for name in its}}
    (own / "model.safetensors.index.json").write_text(json.dumps(index))
    (own / "model.safetensors").unlink()
    with torch.no_grad():
        torch.testing.assert_close(load(own)(texts()), load(bert)(texts()), rtol=0, atol=0.02)
    index["weight_map"][names[0]] = "../a.safetensors"
    (own / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names '../a.safetensors', expected safetensors files in the same folder" in refusal(own)
    (own / "model.safetensors.index.json").write_text('{"weight_map": {"a": 5}}')
    assert "names '5', expected safetensors files in the same folder" in refusal(own)


def test_a_large_one_is_described_without_its_weights(bert, monkeypatch):
    monkeypatch.setenv("HOME", str(bert.parent))  # shells leave the ~ in path=~/FOLDER as it is
    with torch.device("meta"):
        model = build_model(f"pretrained:~/{bert.name}", input_shape=(7,), classes=3, norm="batch", seed=0)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_the_weights_are_the_checkpoint_s_and_the_classifier_is_of_the_seed(bert):
    first, second = load(bert), load(bert)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first.parameters(), second.parameters(), strict=True))
    other = build_model(f"pretrained:path={bert},cuts=all", input_shape=(7,), classes=3, norm="batch", seed=1)
    assert torch.equal(other[1].block.output.dense.weight, first[1].block.output.dense.weight)
    assert not torch.equal(other[-1].fc.weight, first[-1].fc.weight)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_hidden_layers": 3}, "has no weights encoder.layer.2.attention"),
        ({"num_hidden_layers": 1}, "has weights encoder.layer.1.attention"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: Input should be less than or equal to 256"),
        ({"hidden_size": 16}, r"has shape \(40, 8\), but its config.json announces \(40, 16\)"),
        ({"vocab_size": 41}, r"word_embeddings.weight has shape \(40, 8\), but its config.json announces \(41, 8\)"),
        ({"num_attention_heads": 3}, "3 heads do not divide a width of 8"),
        ({"hidden_act": "os.system"}, "hidden_act: Input should be 'gelu'"),
        ({"is_decoder": True}, "is_decoder: Input should be False"),
        ({"vocab_size": "40"}, "vocab_size: Input should be a valid integer"),
        ({"model_type": "bart"}, "model_type 'bart' is not known, expected one of bert, roberta, distilbert"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, r"names code of its own \(auto_map\), which is never run"),
    ],
)
def test_a_config_that_lies_or_asks_for_code_is_refused_before_weights_are_made(own, values, said):
    import re

    assert re.search(said, refusal(changed(own, **values), tokens=None))


def test_bad_files_are_refused_in_one_line(own):
    assert "12 positions" in refusal(own, length=13)
    state = load_file(own / "model.safetensors")
    save_file(
        {**state, "embeddings.word_embeddings.weight": torch.full((SIZE, 8), float("nan"))}, own / "model.safetensors"
    )
    assert "embeddings.word_embeddings.weight holds NaN or infinity" in refusal(own)
    save_file({**state, "evil": torch.zeros(1)}, own / "model.safetensors")
    assert "has weights evil, which its config.json does not announce" in refusal(own)
    save_file({**state, "embeddings.word_embeddings.weight": torch.zeros(SIZE, 8).int()}, own / "model.safetensors")
    assert "embeddings.word_embeddings.weight holds I32, expected floating-point" in refusal(own)
    (own / "model.safetensors").write_bytes(b"\xff" * 64)
    assert "model.safetensors cannot be read" in refusal(own)
    (own / "model.safetensors").unlink()
    assert "has no model.safetensors and no model.safetensors.index.json" in refusal(own)
    (own / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    assert "holds pytorch_model.bin, a pickle, which can run code and is never opened" in refusal(own)
    (own / "config.json").write_text("[]")
    assert "config.json holds a list, expected an object" in refusal(own)
    (own / "config.json").unlink()
    assert "there is no" in refusal(own)
    assert "name a folder in the Hugging Face layout" in refusal(own)


def test_other_tokens_than_the_network_s_are_refused(own):
    from tokenizers import Tokenizer, models, normalizers

    said = refusal(own, tokens=Vocabulary(size=39))
    assert "the data have 39 kinds of tokens, the network of" in said
    assert f"put the tokenizer.json that it was trained with into that folder, and set tokenizer={own} on" in said
    made = {n: Tokenizer(models.WordLevel({f"w{i}": i for i in range(n)}, unk_token="w0")).to_str() for n in (30, 40)}
    (own / "tokenizer.json").write_text(made[40])
    load(own, tokens=Vocabulary(size=SIZE, padding=SIZE, tokenizer=made[40]))
    said = refusal(own, tokens=Vocabulary(size=30, padding=30, tokenizer=made[30]))
    assert "cut into tokens by another tokenizer than that of" in said
    assert f"set tokenizer={own} on the data set" in said
    lower = Tokenizer(models.WordLevel({f"w{i}": i for i in range(40)}, unk_token="w0"))
    lower.normalizer = normalizers.Lowercase()
    said = refusal(own, tokens=Vocabulary(size=SIZE, padding=SIZE, tokenizer=lower.to_str()))
    assert "cut into tokens by another tokenizer than that of" in said
    big = Tokenizer(models.WordLevel({f"w{i}": i for i in range(50)}, unk_token="w0")).to_str()
    (own / "tokenizer.json").write_text(big)
    assert "has 50 tokens, its network has 40 vectors" in refusal(own, tokens=Vocabulary(size=50, tokenizer=big))


def test_llama_s_rotary_positions_of_earlier_and_later_files(tmp_path):
    checkpoint(tmp_path, "llama")
    plain = load(tmp_path)(texts())
    later = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 2.0, "low_freq_factor": 1.0}
    later |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8}
    slowed = load(changed(tmp_path, rope_parameters=later))(texts())
    early = {"rope_parameters": None, "rope_theta": 10_000.0, "rope_scaling": later}
    assert torch.equal(load(changed(tmp_path, **early))(texts()), slowed)
    assert not torch.equal(plain, slowed)
    said = refusal(changed(tmp_path, rope_scaling={"type": "dynamic", "factor": 2.0}))
    assert "rope_type: Input should be 'default', 'linear' or 'llama3'" in said
    for lacking in ("factor", "low_freq_factor", "high_freq_factor"):
        said = refusal(changed(tmp_path, rope_parameters=later | {lacking: None}))
        assert f"rope_type llama3 needs {lacking}" in said
    assert "rope_type linear needs factor" in refusal(changed(tmp_path, rope_parameters={"rope_type": "linear"}))
    partly = {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}
    assert "partial_rotary_factor: Input should be greater" in refusal(changed(tmp_path, rope_parameters=partly))

"""Next-token training of checkpoints: their own heads and losses, against the library's on tiny ones."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.next_token import IGNORED, next_token_loss, next_tokens
from dtfl_private.models.padding import require_padding_kept
from dtfl_private.models.pretrained.config_file import Gpt2Config
from dtfl_private.protocol.vocabulary import Vocabulary

SIZE, LENGTH = 11, 6
VOCABULARY = Vocabulary(size=SIZE, padding=SIZE)
GPT2 = {"vocab_size": SIZE, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": LENGTH}
LLAMA = {"vocab_size": SIZE, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA |= {"intermediate_size": 16, "max_position_embeddings": LENGTH}
MODELS = {
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)),
    "gpt2 with a head of its own": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**GPT2, tie_word_embeddings=False)
    ),
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)),
    "gpt2 without a head": lambda: transformers.GPT2Model(transformers.GPT2Config(**GPT2)),
}
TEXTS = torch.full((3, LENGTH), SIZE)
for row, real in enumerate((6, 3, 1)):
    TEXTS[row, :real] = torch.arange(real) * 2 % SIZE + row


def written(folder: Path, model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, mean=float("ln" in name or "norm" in name), std=0.3)
    model.save_pretrained(folder)
    return model.eval()


def load(folder: Path, more: str = "") -> StagedModel:
    text = f"pretrained:path={folder},cuts=all,task=next-token{more}"
    return build_model(text, input_shape=(LENGTH,), classes=3, norm="batch", seed=0, tokens=VOCABULARY).eval()


def test_gpt2_gets_no_special_tokens_that_its_vocabulary_may_not_have():
    # The library's own are 50,256, of which it warns on standard error where there are fewer tokens.
    made = transformers.GPT2Config(**Gpt2Config.model_validate(GPT2).library_settings())
    assert (made.bos_token_id, made.eos_token_id) == (None, None)


@pytest.mark.parametrize("kind", ["gpt2", "gpt2 with a head of its own", "llama"])
def test_loss_and_gradients_are_the_library_s_of_its_own_head(tmp_path, kind):
    theirs = written(tmp_path, MODELS[kind]())
    model = load(tmp_path)
    real = TEXTS != SIZE
    known = TEXTS.masked_fill(~real, 0)
    expected = theirs(known, attention_mask=real.long(), labels=known.masked_fill(~real, IGNORED))
    loss = next_token_loss(model(TEXTS), next_tokens(TEXTS, SIZE))
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=1e-6)
    loss.backward()
    expected.loss.backward()
    ours, own = model[1].block.state_dict(keep_vars=True), theirs.base_model
    block = (own.h if "gpt2" in kind else own.layers)[0].state_dict(keep_vars=True)
    assert ours.keys() == block.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor.grad, block[name].grad, rtol=0, atol=1e-6)
    require_padding_kept(model, VOCABULARY, LENGTH)


def test_a_head_that_is_the_embedding_is_loaded_and_then_trained_apart(tmp_path):
    theirs = written(tmp_path, MODELS["gpt2 without a head"]())
    model = load(tmp_path)
    head, embedding = model[-1].tokens.weight, model[0].embedding.wte.weight
    assert torch.equal(head, theirs.wte.weight)
    assert torch.equal(head, embedding)
    assert head.data_ptr() != embedding.data_ptr()


def test_what_cannot_say_the_next_token_is_refused(tmp_path):
    written(tmp_path, MODELS["gpt2 without a head"]())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": False}))
    with pytest.raises(InputError, match=r"has no lm_head.weight, the head that task=next-token goes on with"):
        load(tmp_path)
    bert = transformers.BertConfig(**LLAMA)
    bert.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="needs a network in which a token sees those before it only, as of the types"):
        load(tmp_path)


def test_with_adapters_the_head_is_trained_and_the_blocks_are_frozen(tmp_path):
    pytest.importorskip("peft")
    written(tmp_path, MODELS["llama"]())
    plain, adapted = load(tmp_path), load(tmp_path, ",lora=2")
    with torch.no_grad():
        torch.testing.assert_close(adapted(TEXTS), plain(TEXTS))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if "lora_" not in name} == {"md4.tokens.weight"}
    assert adapted.vocabulary == SIZE

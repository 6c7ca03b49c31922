"""Adapters in networks from checkpoints: what they compute, what is left to train, and which base they belong to."""

import sys

import pytest
import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.frozen import frozen_numbers
from tests.checkpoints import CONFIGS, SIZE, VOCABULARY, changed, checkpoint, merge_adapters, random_adapters

RANK, CLASSES, WIDTH, INNER = 3, 3, 8, 16
# Values that go into and come out of the adapted layers of a block: of queries and values, and of all layers.
LAYERS = {
    "bert": ([(WIDTH, WIDTH)] * 2, [(WIDTH, WIDTH)] * 4 + [(WIDTH, INNER), (INNER, WIDTH)]),
    "gpt2": (
        [(WIDTH, 3 * WIDTH)],
        [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)],
    ),
    # Two heads of 4 share one of keys and values.
    "llama": (
        [(WIDTH, WIDTH), (WIDTH, 4)],
        [(WIDTH, WIDTH)] * 2 + [(WIDTH, 4)] * 2 + [(WIDTH, INNER)] * 2 + [(INNER, WIDTH)],
    ),
}
LAYERS |= {"roberta": LAYERS["bert"], "distilbert": LAYERS["bert"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {kind: tmp_path_factory.mktemp(kind) for kind in CONFIGS}
    for kind, folder in made.items():
        checkpoint(folder, kind)
    return made


def load(folder, text: str = "", cuts: str = "all") -> StagedModel:
    about = {"input_shape": (7,), "classes": CLASSES, "norm": "batch", "seed": 0, "tokens": VOCABULARY}
    return build_model(f"pretrained:path={folder},cuts={cuts}{text}", **about).eval()


def texts() -> torch.Tensor:
    tokens = torch.full((2, 7), SIZE)
    tokens[0, :7], tokens[1, :3] = 2 + torch.arange(7) * 3, torch.tensor([1, 39, 4])
    return tokens


@pytest.mark.parametrize("targets", ["attention", "linear"])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_only_adapters_and_the_classifier_are_trained_and_are_r_times_in_plus_out(folders, kind, targets):
    plain = load(folders[kind])
    model = load(folders[kind], f",lora={RANK},lora_targets={targets}")
    assert torch.equal(model(texts()), plain(texts()))  # they begin as nothing
    block = RANK * sum(inputs + outputs for inputs, outputs in LAYERS[kind][targets == "linear"])
    classifier = WIDTH * CLASSES + CLASSES
    assert [sum(p.numel() for p in stage.parameters()) for stage in model] == [0, block, block, classifier]
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()
    assert frozen_numbers(model) == sum(p.numel() for p in plain.parameters()) - classifier


@pytest.mark.parametrize("targets", ["attention", "linear"])
@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_an_adapted_layer_computes_w_plus_alpha_by_rank_b_a(folders, kind, targets):
    model = load(folders[kind], f",lora={RANK},lora_alpha=5,lora_targets={targets}")
    random_adapters(model)
    plain = load(folders[kind])
    before = plain(texts())
    merge_adapters(plain, model.state_dict(), 5 / RANK, transposed=kind == "gpt2")
    torch.testing.assert_close(model(texts()), plain(texts()), rtol=0, atol=1e-6)
    assert float((before - plain(texts())).detach().abs().max()) > 1e-3


def test_alpha_is_twice_the_rank_and_what_was_left_open_is_named(folders):
    model = load(folders["bert"], f",lora={RANK}")
    settings = dict(model.resolved_settings)
    assert (settings["lora_alpha"], settings["lora_targets"], len(settings["base"])) == ("6.0", "attention", 64)
    same = load(folders["bert"], "".join(f",{name}={value}" for name, value in [("lora", RANK), *settings.items()]))
    assert same.resolved_settings == model.resolved_settings
    assert same.state_dict().keys() == model.state_dict().keys()
    assert load(folders["bert"]).resolved_settings == ()


def test_cuts_are_those_of_the_checkpoint_s_network(folders):
    for cuts in ("1", "2"):
        plain, adapted = (load(folders["bert"], text, cuts) for text in ("", f",lora={RANK},lora_targets=linear"))
        assert [len(list(stage.modules())) for stage in load(folders["bert"], ",lora=0", cuts)] == [
            len(list(stage.modules())) for stage in plain
        ]
        assert len(plain) == len(adapted)


def test_rank_zero_freezes_the_base_and_needs_no_peft(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    model, plain = load(folders["gpt2"], ",lora=0"), load(folders["gpt2"])
    assert torch.equal(model(texts()), plain(texts()))
    assert sorted(model.state_dict()) == ["md4.fc.bias", "md4.fc.weight"]
    assert frozen_numbers(model[-1]) == 2 * WIDTH  # the last norm is the checkpoint's
    with pytest.raises(InputError, match=r'not installed \(peft\): pip install "dtfl-private\[lora\]"'):
        load(folders["gpt2"], ",lora=1")


def test_another_base_is_refused(folders, tmp_path):
    for path in folders["bert"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pinned = ",lora=0," + "=".join(load(tmp_path, ",lora=0").resolved_settings[0])
    load(tmp_path, pinned)
    changed(tmp_path, architectures=["BertForMaskedLM"])  # changes nothing of what it computes
    load(tmp_path, pinned)
    changed(tmp_path, num_attention_heads=4)
    with pytest.raises(InputError, match=r"holds another checkpoint than the one whose frozen weights are needed"):
        load(tmp_path, pinned)
    changed(tmp_path, num_attention_heads=2)
    nn.init.constant_((other := load(tmp_path))[0].embedding.word_embeddings.weight, 0.5)
    from safetensors.torch import load_file, save_file

    state = load_file(tmp_path / "model.safetensors")
    state["embeddings.word_embeddings.weight"] = other[0].embedding.word_embeddings.weight.detach()
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"expected [0-9a-f]{12}\.\.\.: put the old one back"):
        load(tmp_path, pinned)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (",lora=-1", "lora=-1 is refused"),
        (",lora=2000", "lora=2000 is refused"),
        (",lora=2,lora_alpha=0", "lora_alpha=0 is refused"),
        (",lora=2,lora_alpha=nan", "lora_alpha=nan is refused"),
        (",lora=2,lora_targets=mlp", "lora_targets=mlp is refused"),
        (",lora=0,lora_alpha=4", "are of adapters: give lora=RANK of 1 or more"),
        (",lora_targets=linear", "are of adapters: give lora=RANK of 1 or more"),
        (",lora=2,base=abc", "base=abc is refused"),
    ],
)
def test_bad_settings_are_refused_by_name(folders, text, said):
    with pytest.raises(InputError, match=said):
        load(folders["bert"], text)

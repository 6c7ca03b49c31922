"""Vision Transformers from checkpoints, against the library's own, on tiny ones that the tests write."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from dtfl_private.defenses.shared.per_record import per_record_gradients
from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel

SETTINGS = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 2,
}
IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, nn.Module]:
    """A checkpoint of an image classifier, and the library's own network without its head."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**SETTINGS))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder, model.vit.eval()


@pytest.fixture
def own(written, tmp_path) -> Path:
    """A copy to spoil."""
    for path in written[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def load(folder: Path, text: str = "cuts=all", shape: tuple[int, ...] = (2, 8, 8)) -> StagedModel:
    return build_model(f"pretrained:path={folder},{text}", input_shape=shape, classes=3, norm="batch", seed=0).eval()


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        load(folder, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def changed(folder: Path, name: str = "config.json", **values: object) -> Path:
    path = folder / name
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))
    return folder


@pytest.mark.parametrize(("text", "pooled"), [("cuts=all", 0), ("cuts=all,pooling=mean", slice(None))])
def test_it_computes_what_the_library_computes(written, text, pooled):
    folder, theirs = written
    model = load(folder, text)
    assert len(model) == 4
    with torch.no_grad():
        expected = theirs(IMAGES).last_hidden_state
        hidden = model[2](model[1](model[0](IMAGES)))
        torch.testing.assert_close(model[-1].norm(hidden), expected, rtol=0, atol=1e-6)
        seen = expected[:, pooled] if pooled == 0 else expected.mean(dim=1)
        torch.testing.assert_close(model(IMAGES), model[-1].fc(seen), rtol=0, atol=1e-6)


def test_what_it_may_not_have_is_refused_in_one_line(own):
    assert "takes images of 2x8x8, not inputs of 2x16x16: of a data set that has the setting size, set size=8" in (
        refusal(own, shape=(2, 16, 16))
    )
    assert "takes images of 2x8x8, not inputs of 7 tokens" in refusal(own, shape=(7,))
    assert "this network takes images" in refusal(own, shape=(8, 8))
    assert "of images take first, the class token, or mean" in refusal(own, text="pooling=last")
    assert "patches of 3 do not divide images of 8" in refusal(changed(own, patch_size=3))
    assert "has shape (8, 2, 4, 4), but its config.json announces (8, 2, 2, 2)" in refusal(changed(own, patch_size=2))
    assert "image_size: Input should be less than or equal to 4096" in refusal(changed(own, image_size=10**6))
    state = load_file(own / "model.safetensors")
    save_file({**state, "vit.embeddings.cls_token": torch.zeros(1, 1, 7)}, own / "model.safetensors")
    said = refusal(changed(own, image_size=8, patch_size=4))
    assert "embeddings.cls_token has shape (1, 1, 7), but its config.json announces (1, 1, 8)" in said


def test_an_image_s_own_scale_is_named_and_not_followed(own):
    assert load(own).notes == ()
    changed(own, "preprocessor_config.json", image_mean=[0.5, 0.25], image_std=[0.5, 0.125])
    (line,) = load(own).notes
    assert "is not followed: images are normalised as --normalization says" in line
    assert line.endswith("--normalization constants:mean=0.5/0.25,std=0.5/0.125")
    changed(own, "preprocessor_config.json", image_std=["no number", 3])
    assert load(own).notes[0].endswith("as --normalization says")


def test_gradients_of_single_records_are_those_of_each_alone(written):
    # Of the class token and the places too, which are parameters that no layer of torch has.
    model = load(written[0]).train()
    parameters = dict(model.named_parameters())
    with per_record_gradients(model) as gradients:
        single = gradients.of_batch(model(IMAGES).square().sum(), len(IMAGES))
    for record, image in enumerate(IMAGES):
        alone = torch.autograd.grad(model(image[None]).square().sum(), list(parameters.values()))
        for ours, theirs in zip(single, alone, strict=True):
            torch.testing.assert_close(ours[record], theirs, rtol=1e-4, atol=1e-5)


def test_adapters_are_beside_queries_and_values(written):
    pytest.importorskip("peft")
    plain, adapted = load(written[0]), load(written[0], "cuts=all,lora=2")
    with torch.no_grad():
        torch.testing.assert_close(adapted(IMAGES), plain(IMAGES))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 2 * 2 + 2  # two blocks, two layers each, A and B; the classifier
    assert all("lora_" in name or name.startswith("md4.fc.") for name in trained)

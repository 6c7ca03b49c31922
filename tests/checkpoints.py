"""Tiny checkpoints in the Hugging Face layout, with random weights."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

from dtfl_private.protocol.vocabulary import Vocabulary

SIZE, POSITIONS = 40, 12
VOCABULARY = Vocabulary(size=SIZE, padding=SIZE)
BERT = {
    "vocab_size": SIZE,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": POSITIONS,
}
CONFIGS: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "bert": lambda: transformers.BertConfig(**BERT),
    "roberta": lambda: transformers.RobertaConfig(**BERT | {"max_position_embeddings": POSITIONS + 2}),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=SIZE, dim=8, n_layers=2, n_heads=2, hidden_dim=16, max_position_embeddings=POSITIONS
    ),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=SIZE, n_embd=8, n_layer=2, n_head=2, n_positions=POSITIONS),
    "llama": lambda: transformers.LlamaConfig(**BERT | {"num_key_value_heads": 1}),
}


def checkpoint(folder: Path, kind: str, head: str | None = None, **changes: object) -> nn.Module:
    """Write a tiny checkpoint with random weights, and return the library's own network without a head."""
    torch.manual_seed(0)
    config = CONFIGS[kind]()
    config.update(changes)
    model = transformers.AutoModel.from_config(config) if head is None else getattr(transformers, head)(config)
    for name, parameter in model.named_parameters():  # norms begin as if they were not there
        nn.init.normal_(parameter, mean=float(name.lower().endswith("norm.weight")), std=0.3)
    model.save_pretrained(folder)
    return (model if head is None else model.base_model).eval()


def changed(folder: Path, **values: object) -> Path:
    """Change values of a checkpoint's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def random_adapters(model: nn.Module) -> None:
    """Give adapters random numbers: they begin as nothing."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            nn.init.normal_(parameter, std=0.5)


def merge_adapters(plain: nn.Module, state: Mapping[str, Tensor], scale: float, *, transposed: bool) -> None:
    """Add adapters to the weights of the same network without any, by hand: W + scale B A."""
    for name, down in state.items():
        layer, found, _ = name.partition(".lora_A.")
        if found:
            change = scale * state[name.replace("lora_A", "lora_B")] @ down
            plain.get_parameter(f"{layer}.weight").data += change.T if transposed else change

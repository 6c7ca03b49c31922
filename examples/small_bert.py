"""Write a small BERT to fine-tune: 4 blocks of width 128, 1.3 million weights, in the Hugging Face layout.

Its tokenizer is trained on fortune's sayings of topics that the data set `fortunes` does not take, and so are its
weights, by some passes of masked language modelling (Devlin et al. 2018, arXiv 1810.04805, section 3.1): nothing in it
comes from the texts that it is fine-tuned on. With PASSES 0 the weights are random.

python -m examples.small_bert FOLDER [PASSES]
"""

import sys
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from dtfl_private import TokenDataset
from dtfl_private.data.fortunes import load_fortunes
from dtfl_private.randomness import isolated

TOPICS = (
    "art+cookie+disclaimer+drugs+education+food+fortunes+humorists+law+linux+literature+miscellaneous+people+perl+"
    "platitudes+startrek+wisdom+work"
)
LENGTH, BATCH, LR, MASKED = 48, 64, 1e-3, 0.15


def main(folder: str, passes: int = 10, texts: TokenDataset | None = None) -> None:
    """Write config.json, model.safetensors and tokenizer.json into a folder."""
    texts = texts or load_fortunes(topics=TOPICS, length=LENGTH, kind="wordpiece", vocabulary=4000)
    assert texts.vocabulary is not None
    assert texts.tokenizer is not None
    with isolated(0, "small-bert"):
        network = BertForMaskedLM(_config(texts.vocabulary))
        _pretrain(network, texts, passes)
    network.bert.save_pretrained(folder)
    (Path(folder) / "tokenizer.json").write_text(texts.tokenizer, "utf-8")
    print(f"{folder}: {sum(one.numel() for one in network.bert.parameters()):,} weights")


def _config(vocabulary: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
    )


def _pretrain(network: BertForMaskedLM, texts: TokenDataset, passes: int) -> None:
    tokens = torch.cat([texts.train_images, texts.test_images]).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR)
    batches = -(-len(tokens) // BATCH)
    warm = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=max(1, passes * batches), pct_start=0.1)
    for number in range(passes):
        total = 0.0
        for rows in torch.split(torch.randperm(len(tokens)), BATCH):
            loss = _loss(network, tokens[rows], texts.padding)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            warm.step()
            total += float(loss.detach())
        print(f"pass {number + 1} of {passes}: loss {total / batches:.3f}")


def _loss(network: BertForMaskedLM, tokens: Tensor, padding: int | None) -> Tensor:
    """Return the mean loss where tokens were hidden: 8 of 10 by [UNK], 1 of 10 by any token, 1 of 10 by themselves."""
    real = tokens != padding
    chosen = real & (torch.rand(tokens.shape) < MASKED)
    luck = torch.rand(tokens.shape)
    hidden = tokens.masked_fill(chosen & (luck < 0.8), 1)
    hidden = torch.where(chosen & (luck > 0.9), torch.randint_like(tokens, network.config.vocab_size), hidden)
    states = network.bert(input_ids=hidden, attention_mask=real).last_hidden_state[chosen]
    return torch.nn.functional.cross_entropy(network.cls(states), tokens[chosen])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10)

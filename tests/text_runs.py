"""A run on texts that are filled up, with words as tokens: tiny, so that attacks and audits of it take little time."""

from typing import Any

import torch

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.data.tokenizers import train_tokenizer

LENGTH = 8
WORDS = ("fox", "dog", "cat", "owl", "saw", "met", "<b>", "the")
SMALL = {
    "model": "transformer:depth=2,width=16,heads=2,dropout=0,cuts=all",
    "clients": 2,
    "rounds": 1,
    "batch_size": 8,
    "scheduler": "static:2",
    "device": "cpu",
    "workers": 1,
    "seed": 3,
}


def words() -> TokenDataset:
    """40 training and 80 test texts of a subject, a verb and an object; the class is the verb."""
    chance = torch.Generator().manual_seed(0)
    tokenizer = train_tokenizer([" ".join(WORDS)] * 3, "wordpiece", 300)
    made: list[str] = []
    labels: list[int] = []
    for number in range(120):
        first, verb, second = (int(torch.randint(high, (1,), generator=chance)) for high in (4, 2, 4))
        tail = " <b>" if number % 3 == 0 else ""
        made.append(f"the {WORDS[first]} {WORDS[4 + verb]} the {WORDS[second]}{tail}")
        labels.append(verb)
    tokens = torch.full((120, LENGTH), tokenizer.padding, dtype=torch.int32)
    for row, own in enumerate(tokenizer.tokens(made, most=LENGTH)):
        tokens[row, : len(own)] = torch.from_numpy(own)
    targets = torch.tensor(labels)
    return TokenDataset(
        name="words",
        source="made up",
        classes=("saw", "met"),
        train_images=tokens[:40],
        train_labels=targets[:40],
        test_images=tokens[40:],
        test_labels=targets[40:],
        vocabulary=tokenizer.vocabulary,
        padding=tokenizer.padding,
        tokenizer=tokenizer.document,
    )


def settings(**changes: Any) -> dict[str, Any]:
    """Return the settings of a run."""
    return {**SMALL, **changes}

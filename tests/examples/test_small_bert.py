"""The example writes a checkpoint that the toolkit trains on, and pretraining teaches it something."""

import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

from dtfl_private.data.dataset import TokenDataset, load_dataset
from dtfl_private.models.build import build_model
from dtfl_private.plugins.specification import parse
from dtfl_private.protocol.vocabulary import Vocabulary
from examples import small_bert

ROOT = Path(__file__).parents[2]


def texts(tmp_path) -> TokenDataset:
    for topic in ("a", "b"):
        said = [f"{word} is {topic} and {word}" for word in ("one", "two", "six", "ten", "won", "too")]
        (tmp_path / topic).write_text("\n%\n".join(said), "utf-8")
    found = load_dataset("fortunes:topics=a+b,kind=wordpiece,length=8", data_dir=tmp_path, download=False)
    assert isinstance(found, TokenDataset)
    return found


def test_the_checkpoint_is_one_to_train_on_and_its_loss_falls(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(small_bert, "LR", 1e-2)
    data, folder = texts(tmp_path), tmp_path / "bert"
    small_bert.main(str(folder), passes=30, texts=data)
    losses = [float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert len(losses) == 30
    assert losses[-1] < losses[0] - 1
    assert (folder / "tokenizer.json").read_text("utf-8") == data.tokenizer
    network = build_model(
        f"pretrained:path={folder}",
        input_shape=(8,),
        classes=2,
        norm="batch",
        seed=0,
        tokens=Vocabulary(size=data.vocabulary, padding=data.padding, tokenizer=data.tokenizer),
    )
    assert len(network.tiers) == 5
    assert network(data.train_images.long()).shape == (len(data.train_images), 2)


def test_no_topic_of_the_data_set_is_pretrained_on_and_hidden_tokens_are_not_seen():
    from dtfl_private.data.fortunes import TOPICS

    assert not set(small_bert.TOPICS.split("+")) & set(TOPICS)

    class Copy(nn.Module):
        """Says of each place what it sees there."""

        def __init__(self) -> None:
            super().__init__()
            self.config = small_bert._config(50)

        def bert(self, input_ids, attention_mask):
            assert torch.equal(attention_mask, tokens != 0)
            seen.append(input_ids)
            return type("Output", (), {"last_hidden_state": nn.functional.one_hot(input_ids, 50) * 20.0})

        def cls(self, states):
            return states

    seen: list[torch.Tensor] = []
    torch.manual_seed(0)
    tokens = torch.randint(2, 50, (200, 40))
    tokens[:, 30:] = 0
    loss = small_bert._loss(Copy(), tokens, 0)
    changed = seen[0] != tokens
    assert not changed[:, 30:].any()
    # 6,000 places: 13.5 % of them changed but for chance, of which 12 % are hidden; 5 standard deviations are 2.2 %.
    assert abs(changed[:, :30].float().mean() - 0.15 * 0.9) < 0.022
    assert abs((seen[0][:, :30] == 1).float().mean() - 0.12) < 0.022
    assert 14 < loss < 20  # 9 of 10 are guessed wrong, each at a loss of 20


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/text.md"])
def test_commands_that_train_it_cut_texts_to_the_positions_that_it_has(page):
    # Left alone, sequences are as long as 95 of 100 texts: 195 tokens.
    lines = (ROOT / page).read_text("utf-8").splitlines()
    words = [
        shlex.split(line, comments=True) for line in lines if line.startswith("    ") and "tokenizer=small" in line
    ]
    assert words
    for command in words:
        settings = parse("dataset", command[command.index("--dataset") + 1]).settings
        assert int(settings["length"]) <= small_bert._config(4000).max_position_embeddings

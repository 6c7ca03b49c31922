import pytest
import torch

from dtfl_private.attacking.knowledge import shadow_runs
from dtfl_private.attacking.knowledge.shadow_runs import ShadowRuns
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.protocol.vocabulary import Vocabulary


@pytest.fixture
def shadows(tiny_config, tiny_network, tmp_path):
    victim = tiny_config(rounds=1, clients=2, seed=3, max_train_images=40, record_rounds=["last"])
    return ShadowRuns(victim, 3, tmp_path, RunObjects(model=tiny_network()))


def test_a_shadow_is_trained_on_its_records_with_chance_of_its_own_and_only_once(shadows, patterns, tmp_path):
    images, labels = patterns.train_images[:12].float() / 255, patterns.train_labels[:12]
    first = shadows.train("in", images, labels)
    (folder,) = tmp_path.iterdir()
    rounds = (folder / "rounds.jsonl").stat().st_mtime_ns
    config = read_run_config(RunFolder(path=folder))
    assert (config.clients, config.max_train_images, list(config.record_rounds)) == (2, 12, [])
    assert config.seed != 3
    again = shadows.train("in", images, labels)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert (folder / "rounds.jsonl").stat().st_mtime_ns == rounds


def test_other_records_and_other_names_are_other_runs(monkeypatch, tmp_path, tiny_config, patterns):
    folders = []

    def train(config, *, out, **_):
        folders.append((config.seed, out))
        raise KeyboardInterrupt

    monkeypatch.setattr(shadow_runs, "train", train)
    shadows = ShadowRuns(tiny_config(), 3, tmp_path, RunObjects())
    images, labels = patterns.train_images[:12].float() / 255, patterns.train_labels[:12]
    given = [("a", images, labels), ("a", 1 - images, labels), ("a", images, 2 - labels), ("b", images, labels)]
    for name, records, own_labels in given:
        with pytest.raises(KeyboardInterrupt):
            shadows.train(name, records, own_labels)
    assert len({out for _, out in folders}) == 4
    (one, same, labelled, other) = (seed for seed, _ in folders)
    assert one == same == labelled != other


def test_a_shadow_trains_on_all_of_its_records_and_to_the_last_round(tiny_config, tiny_network, patterns, tmp_path):
    """What it trains on are members, the rest is not: validation images would be neither."""
    held = {"validation": 0.25, "validation_held_by": "clients", "patience": 1, "max_train_images": 30}
    victim = tiny_config(**held, rounds=3, stop_at_target=True, target_accuracy=0.01)
    shadows = ShadowRuns(victim, 3, tmp_path, RunObjects(model=tiny_network()))
    shadows.train("in", patterns.train_images[:12].float() / 255, patterns.train_labels[:12])
    (folder,) = (RunFolder(path=path) for path in tmp_path.iterdir())
    config = read_run_config(folder)
    assert (config.validation, config.patience, config.max_train_images) == (0, None, 12)
    assert len(folder.rounds.read_text().splitlines()) == 3
    assert not folder.best_model.exists()


def test_a_shadow_of_a_run_on_texts_is_trained_on_sequences_of_its_tokens(monkeypatch, tmp_path, tiny_config):
    found = []

    def train(_, *, dataset, **__):
        found.append(dataset)
        raise KeyboardInterrupt

    monkeypatch.setattr(shadow_runs, "train", train)
    vocabulary = Vocabulary(size=500, padding=500)
    shadows = ShadowRuns(tiny_config(), 3, tmp_path, RunObjects(), vocabulary)
    texts = torch.tensor([[7, 499, 500], [0, 255, 256]])
    with pytest.raises(KeyboardInterrupt):
        shadows.train("in", texts, torch.tensor([0, 2]))
    assert found[0].tokens == vocabulary
    assert torch.equal(found[0].train_images, texts.int())

import torch

from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects


def test_preparing_a_run_writes_nothing_and_repeats_itself(prepare_tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again = prepare_tiny(), prepare_tiny()
    assert list(tmp_path.iterdir()) == []
    assert first.config == again.config
    for name, tensor in first.initial.weights.model.items():
        assert torch.equal(again.initial.weights.model[name], tensor)


def test_a_network_trains_on_from_the_weights_it_has(patterns, tiny_network, tiny_config):
    network = tiny_network()
    with torch.no_grad():
        network.top[2].bias.fill_(7)
    prepared = prepare(tiny_config(), objects=RunObjects(dataset=patterns, model=network))
    assert prepared.initial.weights.model["top.2.bias"].tolist() == [7, 7, 7]


def test_more_workers_than_clients_are_not_started_and_that_is_said(prepare_tiny):
    prepared = prepare_tiny(workers=1000)
    assert prepared.workers == prepared.config.workers == 3
    assert prepared.notes == ["3 workers instead of 1000: more clients do not train in a round"]
    assert prepare_tiny(workers=2).notes == []

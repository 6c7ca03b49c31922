import torch


def test_the_weights_of_the_run_do_not_depend_on_the_limit(prepare_tiny):
    limited, free = prepare_tiny(allowed_tiers=[1, 3]), prepare_tiny()
    assert limited.initial.weights.heads.keys() == {1, 3}
    for tier, head in limited.initial.weights.heads.items():
        assert all((head[name] == free.initial.weights.heads[tier][name]).all() for name in head)


def test_a_worker_has_a_network_of_its_own_in_the_runs_precision(prepare_tiny, tiny_network):
    given = tiny_network()
    setup = prepare_tiny(model=given, precision="fp64").worker
    assert setup.model is not given
    assert {tensor.dtype for tensor in setup.model.parameters()} == {torch.float64}
    assert {tensor.dtype for head in setup.heads.values() for tensor in head.parameters()} == {torch.float64}
    assert {tensor.dtype for tensor in given.parameters()} == {torch.float32}
    assert all(
        torch.equal(one.float(), other) for one, other in zip(setup.model.parameters(), given.parameters(), strict=True)
    )


def test_only_methods_with_local_losses_have_heads(prepare_tiny):
    assert prepare_tiny(method="splitfed-v1").worker.heads == {}
    assert sorted(prepare_tiny(tiers=2).worker.heads) == [2, 3]

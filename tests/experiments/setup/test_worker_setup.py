import pytest
import torch

from dtfl_private.models.heads import make_heads


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


@pytest.mark.parametrize("head", ["small", "paper", "large"])
def test_heads_are_of_the_configured_size_and_the_cost_table_counts_them(prepare_tiny, head):
    prepared = prepare_tiny(head=head)
    rows = prepared.settings.schedule.table.rows
    shapes = {row.tier: row.cut_shape for row in rows}
    expected = make_heads(shapes, prepared.worker.classes, head)
    for row in rows:
        own, like = prepared.worker.heads[row.tier], expected[row.tier]
        assert {name: tensor.shape for name, tensor in own.state_dict().items()} == {
            name: tensor.shape for name, tensor in like.state_dict().items()
        }
        assert row.head_params == sum(parameter.numel() for parameter in own.parameters())

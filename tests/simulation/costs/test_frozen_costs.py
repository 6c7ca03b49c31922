"""What a network with adapters costs: closed formulas, for a BERT of two blocks behind frozen embeddings."""

import pytest
import torch

from dtfl_private.models.build import build_model
from dtfl_private.numerics import Numerics
from dtfl_private.report.tables.costs import cost_table
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.network_operators import network_operators
from dtfl_private.simulation.costs.tier_work import HeldParts, step_optimizer, tier_work
from dtfl_private.training.methods.full import whole_network
from tests.checkpoints import POSITIONS, SIZE, checkpoint

# tokens, width, inner width, blocks, classes, rank
T, C, INNER, BLOCKS, CLASSES, R = 7, 8, 16, 2, 3, 2
BLOCK = 4 * (C * C + C) + 2 * C * INNER + INNER + C + 4 * C
EMBEDDING = (SIZE + POSITIONS + 2) * C + 2 * C
TOP = C * CLASSES + CLASSES
BATCH = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    checkpoint(path, "bert")
    return path


def load(folder, lora: str, device: str = "cpu"):
    with torch.device(device):
        text = f"pretrained:path={folder},cuts=all{lora}"
        return build_model(text, input_shape=(T,), classes=CLASSES, norm="batch", seed=0)


def adapted(targets: str) -> int:
    """Values in and out of all adapted layers of a block."""
    return 2 * 2 * C if targets == "attention" else 4 * 2 * C + 2 * (C + INNER)


@pytest.mark.parametrize("targets", ["attention", "linear"])
def test_parameters_bytes_and_forward_macs_of_adapters_are_r_times_in_plus_out(folder, targets):
    table = analyse(load(folder, f",lora={R},lora_targets={targets}"), (T,), CLASSES, Numerics())
    block = R * adapted(targets)
    forward = T * (4 * C * C + 2 * C * INNER) + 2 * T * T * C
    for row in table.rows:
        below, above = row.tier - 1, BLOCKS + 1 - row.tier
        assert (row.client_params, row.server_params) == (below * block, above * block + TOP)
        assert (row.client_frozen, row.server_frozen) == (EMBEDDING + below * BLOCK, above * BLOCK)
        assert row.weight_bytes == 4 * (below * block + TOP)  # what travels: adapters and the head
        assert row.client_forward_macs == below * (forward + T * block)
        assert row.smashed_bytes == 4 * T * C
    assert table.weight_bytes == 4 * (BLOCKS * block + TOP)
    whole = whole_network(table, CLASSES)
    assert (whole.client_params, whole.client_frozen) == (BLOCKS * block + TOP, EMBEDDING + BLOCKS * BLOCK)


def test_the_backward_pass_has_no_weight_gradients_of_frozen_layers(folder):
    table = analyse(load(folder, f",lora={R}"), (T,), CLASSES, Numerics())
    linear, attention, adapters = T * (4 * C * C + 2 * C * INNER), 2 * T * T * C, T * R * 2 * 2 * C
    forward = linear + attention + adapters
    # The first block's input wants no gradient, hence no gradient to keys, nor through its projections: of the
    # attention 3 products of 4, then output and MLP; of an adapter the gradients of A and B and of A's output.
    half = T * R * C
    first = forward + T * (C * C + 2 * C * INNER) + 3 * T * T * C + 2 * 3 * half
    later = forward + linear + 2 * attention + 2 * adapters
    head, passed_head = 2 * C * CLASSES, 3 * C * CLASSES
    assert [row.client_train_macs for row in table.rows] == [head, first + passed_head, first + later + passed_head]
    # The server's first block has smashed data for input, which want no gradient either.
    assert [row.server_train_macs for row in table.rows] == [first + later + passed_head, first + passed_head, head]
    assert table.train_macs == first + later + passed_head


def test_with_rank_zero_only_the_head_and_the_classifier_take_a_backward_pass(folder):
    table = analyse(load(folder, ",lora=0"), (T,), CLASSES, Numerics())
    forward = T * (4 * C * C + 2 * C * INNER) + 2 * T * T * C
    for row in table.rows:
        below, above = row.tier - 1, BLOCKS + 1 - row.tier
        assert row.client_train_macs == below * forward + 2 * C * CLASSES
        assert row.server_train_macs == above * forward + 2 * C * CLASSES
        assert (row.client_params, row.server_params, row.weight_bytes) == (0, TOP, 4 * TOP)


@pytest.mark.parametrize("lora", [",lora=0", f",lora={R}", f",lora={R},lora_targets=linear"])
def test_frozen_weights_take_memory_but_no_gradients_and_no_optimiser_state(folder, lora):
    model = load(folder, lora)
    table, network = (of(model, (T,), CLASSES, Numerics()) for of in (analyse, network_operators))
    adam = step_optimizer("adam", 0.0)
    for row in table.rows:
        work = tier_work(network, HeldParts(first=row.tier, head=True), row.tier, adam, BATCH)
        trained = 4 * (row.client_params + TOP)
        assert work.need.weights == trained + 4 * row.client_frozen
        assert (work.need.gradients, work.need.optimizer) == (trained, 2 * trained)
        assert work.training.image_macs_O.sum() == row.client_train_macs


def test_the_activations_that_are_kept_are_those_that_autograd_keeps(folder):
    for lora in (",lora=0", f",lora={R}"):
        model = load(folder, lora).train()
        network = network_operators(model, (T,), CLASSES, Numerics())
        work = tier_work(network, HeldParts(first=len(model)), len(model), step_optimizer("sgd", 0.0), BATCH)
        tokens, own = torch.zeros(BATCH, T).long(), {one.data_ptr() for one in (*model.parameters(), *model.buffers())}
        kept = {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(tokens)
        expected = sum(storage.nbytes() for storage in kept.values() if storage.data_ptr() not in own)
        # The counter takes the batch itself for kept, too.
        assert work.need.activations == pytest.approx(expected + tokens.nbytes, rel=0.02)


def test_a_description_without_weights_costs_the_same(folder):
    described = load(folder, f",lora={R}", "meta")
    assert all(tensor.is_meta for tensor in (*described.parameters(), *described.buffers()))
    assert analyse(described, (T,), CLASSES, Numerics()) == analyse(
        load(folder, f",lora={R}"), (T,), CLASSES, Numerics()
    )


def test_the_table_shows_what_is_frozen(folder):
    frozen, plain = (
        cost_table(analyse(load(folder, lora), (T,), CLASSES, Numerics()), title="", batch_size=4)
        for lora in (f",lora={R}", "")
    )
    assert [str(column.header) for column in frozen.columns][-1] == "client frozen"
    assert list(frozen.columns[-1].cells) == [f"{EMBEDDING + below * BLOCK:,}" for below in range(3)]
    assert len(plain.columns) == len(frozen.columns) - 1

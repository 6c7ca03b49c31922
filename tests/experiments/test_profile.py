import pytest

from dtfl_private import InputError, profile
from dtfl_private.models.build import build_model


def test_a_name_is_enough_and_the_table_says_what_was_taken():
    table = profile("resnet-8")
    assert table.about == "resnet-8, 3x32x32 inputs, 10 classes, fp32, nothing timed"
    model = build_model("resnet-8", input_shape=(3, 32, 32), classes=10, norm="batch", seed=0)
    assert table == profile(model, input_shape=(3, 32, 32))


def test_a_network_of_tokens_is_taken_at_its_own_length():
    table = profile("transformer")
    assert table.about.startswith("transformer, ")
    assert " tokens, 10 classes" in table.about


def test_settings_reach_the_network():
    table = profile("Resnet_8", input_shape=(1, 16, 16), classes=3, norm="group", repeats=1, batch_size=2)
    assert table.about == "Resnet_8, 1x16x16 inputs, 3 classes, fp32, timed on batches of 2"
    assert all(row.client_step_s > 0 for row in table.rows)
    batch = profile("resnet-8", input_shape=(1, 16, 16), classes=3)
    assert batch.weight_bytes > table.weight_bytes  # batch norm has statistics in addition


def test_the_size_of_the_heads_reaches_costs_and_measured_steps():
    paper, large = (
        profile("resnet-8", input_shape=(1, 8, 8), head=head, repeats=1, batch_size=2) for head in ("paper", "large")
    )
    for one, other in zip(paper.rows, large.rows, strict=True):
        channels, *sides = one.cut_shape
        assert other.head_params - one.head_params == channels * channels + channels
        # A layer and its two gradients.
        assert other.client_train_macs - one.client_train_macs == 3 * channels**2 * sides[0] * sides[1]
        assert other.client_step_s > 0


def test_a_module_of_ones_own_is_cut_and_must_come_with_its_input_shape(tiny_network):
    table = profile(tiny_network(), input_shape=(1, 8, 8), classes=3)
    assert len(table.rows) == 3
    with pytest.raises(InputError, match="the network is a StagedModel, which does not say what it takes: give input_"):
        profile(tiny_network())
    with pytest.raises(InputError, match=r"network 'examples.own_network:automatic' does not say what it takes"):
        profile("examples.own_network:automatic")


def test_an_unknown_name_comes_with_the_nearest():
    with pytest.raises(InputError, match="unknown model 'resnet-9': did you mean 'resnet-8'"):
        profile("resnet-9")

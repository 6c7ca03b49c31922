import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.loaded_inputs import load_inputs


def test_each_clients_images_are_counted(tiny_config, patterns):
    inputs = load_inputs(tiny_config(partition="dirichlet:1"), patterns, pooled=False)
    assert inputs.images_K.tolist() == [len(part) for part in inputs.parts]
    assert (len(inputs.parts), inputs.images_K.sum(), inputs.classes) == (3, 40, 3)


def test_pooled_images_are_one_part_in_their_order(tiny_config, patterns):
    (everything,) = load_inputs(tiny_config(), patterns, pooled=True).parts
    assert everything.tolist() == list(range(40))
    (some,) = load_inputs(tiny_config(max_train_images=12), patterns, pooled=True).parts
    assert some.tolist() == list(range(12))


def test_how_images_are_normalised_is_read_here(tiny_config, patterns):
    inputs = load_inputs(tiny_config(normalization="client-sums"), patterns, pooled=False)
    assert str(inputs.normalization) == "client-sums"
    with pytest.raises(InputError, match="normalization"):
        load_inputs(tiny_config(normalization="nonsense"), patterns, pooled=False)

"""What the public functions and classes are annotated with can be looked up, as pydantic and others do."""

import inspect
import typing

import pytest
from torch import Tensor, nn

import dtfl_private

# Data sets are listed without torch, so that their module does not know the name of their tensors.
WITHOUT_TORCH = ("ImageDataset", "TokenDataset")


def annotated(name: str) -> list[object]:
    """Return a public function, or a public class and what makes one."""
    public = getattr(dtfl_private, name)
    return [public, public.__init__] if inspect.isclass(public) else [public]


# Runs are opened without torch, too.
OF_RUNS = ("Run", "load_run")


@pytest.mark.parametrize("name", [name for name in dtfl_private.__all__ if name not in (*WITHOUT_TORCH, *OF_RUNS)])
def test_type_hints_of_public_names_resolve(name):
    for thing in annotated(name):
        typing.get_type_hints(thing)


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_type_hints_of_data_sets_resolve_where_tensor_is_given(name):
    for thing in annotated(name):
        assert typing.get_type_hints(thing, localns={"Tensor": Tensor})["train_images"] is Tensor


@pytest.mark.parametrize("name", OF_RUNS)
def test_type_hints_of_runs_resolve_where_networks_are_given(name):
    for thing in annotated(name):
        assert nn.Module | None in typing.get_type_hints(thing, localns={"nn": nn}).values()

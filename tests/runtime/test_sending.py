import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.runtime.sending import packed, require_main_file, unpacked
from dtfl_private.runtime.shared_block import SharedState


def test_named_tensors_come_back_bit_for_bit_and_are_the_same_memory_for_all():
    state = {
        "floats": torch.tensor([[0.1, -0.0, float("nan")], [1e-45, 3e38, float("inf")]]),
        "half": torch.arange(5, dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "none": torch.empty(0, 3),
        "yes": torch.tensor([True, False, True]),
        "across": torch.arange(6, dtype=torch.float64).reshape(2, 3).t(),
    }
    shared = SharedState.holding(state)
    assert shared.block.memory.is_shared()
    ours = shared.tensors()
    assert list(ours) == list(state)
    for name, tensor in state.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape)
        assert ours[name].numpy(force=True).tobytes() == tensor.numpy(force=True).tobytes() if name != "half" else True
    assert torch.equal(ours["half"], state["half"])
    ours["count"].fill_(8)
    assert shared.tensors()["count"] == 8
    assert state["count"] == 7


def test_an_object_is_sent_with_its_tensors_in_one_piece_of_memory():
    shared_layer = nn.Linear(3, 3)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last), shared_layer, shared_layer, nn.BatchNorm2d(2)
    )
    network[1].bias.requires_grad_(False)
    parcel = packed({"network": network, "again": network[0].weight, "view": network[1].weight.detach()[1:]}, {})
    assert parcel.storages.memory.is_shared()
    got = unpacked(parcel)
    theirs = got["network"]
    assert isinstance(theirs, nn.Sequential)
    for (name, mine), (same, other) in zip(
        network.state_dict().items(), theirs.state_dict().items(), strict=True
    ):  # also what is no parameter, and no number with a fraction
        assert name == same
        assert torch.equal(mine, other)
        assert mine.stride() == other.stride()
    assert [p.requires_grad for p in theirs.parameters()] == [p.requires_grad for p in network.parameters()]
    assert theirs[1] is theirs[2], "tied layers stay tied"
    assert got["again"] is theirs[0].weight
    assert got["view"].data_ptr() == theirs[1].weight[1:].data_ptr(), "what shares memory goes on sharing it"
    copied = copy.deepcopy(theirs[3].running_mean)
    assert copied.untyped_storage().nbytes() == 8, "a copy of one tensor is not one of all"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            lambda: 0,
            r"the loss cannot be sent to worker processes \(.*lambda.*\): define it in a .py file, or use work",
        ),
        (sys._getframe(), "the loss cannot be sent to worker processes .TypeError: cannot pickle 'frame' object"),
    ],
)
def test_what_cannot_be_sent_is_named_at_once(part, said):
    with pytest.raises(InputError, match=said):
        packed([1, part], {"the network": nn.Linear(1, 1), "the loss": part})


class OfNotebook:
    pass


def test_what_a_notebook_defines_is_refused_for_no_other_process_finds_it(monkeypatch):
    monkeypatch.setattr(OfNotebook, "__module__", "__main__")
    script = SimpleNamespace(__spec__=None, __file__="script.py", OfNotebook=OfNotebook)
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert isinstance(unpacked(packed(OfNotebook(), {})), OfNotebook)
    notebook = SimpleNamespace(__spec__=None, OfNotebook=OfNotebook)
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    with pytest.raises(InputError, match=r"defense mine cannot be sent .*OfNotebook is defined in a notebook or at a"):
        packed([OfNotebook()], {"defense mine": OfNotebook()})


def test_a_script_that_no_process_can_import_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None, __file__="<stdin>"))
    with pytest.raises(InputError, match=r"this one is <stdin>: put it into a .py file, or use workers=1"):
        require_main_file()
    for fine in ({"__file__": "script.py"}, {}, {"__file__": "<frozen>", "__spec__": SimpleNamespace(name="package")}):
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(**fine))
        require_main_file()


def test_what_is_not_found_where_it_was_sent_to_is_said_there(monkeypatch):
    monkeypatch.setattr(OfNotebook, "__module__", "__main__")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__="script.py", OfNotebook=OfNotebook))
    parcel = packed(OfNotebook(), {})
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__="script.py"))
    with pytest.raises(InputError, match=r"worker processes cannot read .*OfNotebook.*in a .py file, outside `if __na"):
        unpacked(parcel)

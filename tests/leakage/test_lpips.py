"""Only what happens without AlexNet's weights, which no test downloads."""

import importlib.util

import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.leakage import lpips as module
from dtfl_private.leakage.lpips import lpips, weights_file

IMAGES = torch.zeros(2, 1, 8, 8)


@pytest.fixture(autouse=True)
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_absent_weights_are_said_in_one_line_and_not_downloaded(torch_home):
    with pytest.raises(InputError, match=r"alexnet-owt-\w+\.pth is not there: .*nothing is downloaded") as caught:
        lpips(IMAGES, IMAGES)
    assert "\n" not in str(caught.value)
    assert list(torch_home.iterdir()) == []


def test_other_weights_under_that_name_are_not_read(torch_home):
    path = weights_file()
    assert torch_home in path.parents
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="have the SHA-256"):
        lpips(IMAGES, IMAGES)


def test_an_absent_library_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'dtfl-private\[lpips\]'"):
        lpips(IMAGES, IMAGES)


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 28, 28), (64, 64)), ((3, 32, 40), (64, 80)), ((3, 70, 90), (70, 90))]
)
def test_the_network_gets_three_channels_and_sides_of_64_or_more(shape, expected):
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    fed = module._for_network(images)
    assert fed.shape == (2, 3, *expected)
    assert 0 <= float(fed.min()) <= float(fed.max()) <= 1

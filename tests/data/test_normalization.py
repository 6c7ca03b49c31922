import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dtfl_private.data.cifar import CIFAR10_CONSTANTS, CIFAR100_CONSTANTS
from dtfl_private.data.dataset import ImageDataset, load_dataset
from dtfl_private.data.normalization import Normalization
from dtfl_private.data.pixel_sums import clients_sums, pooled_scale, server_answers
from dtfl_private.data.preprocess import Normaliser
from dtfl_private.data.registration import constant_scale, resolved_normalization
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import ChannelSums


def earlier_formula(images_u8: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation as versions before `ChannelSums` took them: from shares of the 256 values, float64."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images_u8.shape[1]):
        counts = torch.bincount(images_u8[:, channel].flatten(), minlength=256).double()
        share = counts / counts.sum()
        mean = (share * values).sum()
        means.append(mean)
        deviations.append((share * (values - mean) ** 2).sum().sqrt())
    return torch.stack(means), torch.stack(deviations).clamp_min(1e-6)


def noise(shape: tuple[int, ...], low: int = 0, high: int = 256) -> Tensor:
    return torch.randint(low, high, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(sum(shape)))


def digits(size: int, images: int = 1437) -> Tensor:
    return load_dataset(f"digits:size={size}", data_dir=None, download=False).train_images[:images]


SETS = {
    **{f"digits {size}": lambda size=size: digits(size) for size in (8, 16, 28, 32)},
    **{f"digits 16, first {images}": lambda images=images: digits(16, images) for images in (40, 150, 600, 1000)},
    "noise in three channels": lambda: noise((300, 3, 32, 32)),
    "a dark and a bright channel": lambda: torch.cat([noise((90, 1, 9, 5), 0, 4), noise((90, 1, 9, 5), 250)], dim=1),
    "a channel of one value": lambda: torch.cat([torch.full((9, 1, 4, 5), 77).byte(), noise((9, 1, 4, 5))], dim=1),
}


@pytest.mark.parametrize("name", SETS)
def test_clients_sums_give_the_very_inputs_that_all_pixels_pooled_gave_before(name):
    images, rng = SETS[name](), np.random.default_rng(0)
    parts = np.split(rng.permutation(len(images)), np.sort(rng.choice(len(images), 4)))
    summed, before = Normaliser(*pooled_scale(clients_sums(images, parts))), Normaliser(*earlier_formula(images))
    everything = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, images.shape[1], 16, 16)
    assert torch.equal(summed(everything), before(everything))
    assert torch.equal(summed(images[:50]), before(images[:50]))


def test_a_client_sends_how_many_pixels_it_has_their_sum_and_the_sum_of_their_squares():
    images = noise((7, 3, 4, 5))
    for message, part in zip(clients_sums(images, [np.array([6, 0]), np.array([3])]), ([6, 0], [3]), strict=True):
        own = images.numpy()[part].astype(object)  # whole numbers without end
        assert message.pixels == len(part) * 20
        assert message.sums.dtype == message.squares.dtype == torch.int64
        assert message.sums.tolist() == own.sum(axis=(0, 2, 3)).tolist()
        assert message.squares.tolist() == (own**2).sum(axis=(0, 2, 3)).tolist()
        assert message.statistics_bytes == 8 * (1 + 3 + 3)


def test_a_client_without_images_sends_nothing_and_each_of_the_others_is_answered_alike():
    images = noise((9, 2, 3, 3))
    messages = clients_sums(images, [np.arange(4), np.array([], dtype=np.int64), np.arange(4, 9)])
    assert [message.client for message in messages] == [0, 2]
    answers = server_answers(messages)
    assert [answer.client for answer in answers] == [0, 2]
    scaled = images.numpy() / 255
    for answer in answers:
        np.testing.assert_allclose(answer.mean.numpy(), scaled.mean(axis=(0, 2, 3)), rtol=1e-14)
        np.testing.assert_allclose(answer.deviation.numpy(), scaled.std(axis=(0, 2, 3)), rtol=1e-13)
        assert answer.statistics_bytes == 8 * (2 + 2)


def test_the_deviation_of_a_constant_channel_can_be_divided_by():
    mean, deviation = pooled_scale(clients_sums(torch.full((8, 3, 4, 5), 77, dtype=torch.uint8), [np.arange(8)]))
    assert mean.tolist() == [77 / 255] * 3
    assert deviation.tolist() == [1e-6] * 3


def test_sums_that_are_beyond_64_bits_together_are_added_up_all_the_same():
    """Each is one that a client may say: of 2^47 pixels all at 255."""
    said = ChannelSums(client=0, pixels=2**47, sums=torch.tensor([255 * 2**47]), squares=torch.tensor([255**2 * 2**47]))
    mean, deviation = pooled_scale([said, said])
    assert (mean.tolist(), deviation.tolist()) == ([1.0], [1e-6])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_however_the_images_are_dealt_out_the_sums_come_to_the_same_to_the_last_bit(owners):
    images = noise((30, 2, 3, 4))
    dealt = pooled_scale(clients_sums(images, [np.flatnonzero(np.array(owners) == client) for client in range(4)]))
    together = pooled_scale(clients_sums(images, [np.arange(30)]))
    assert all(torch.equal(one, other) for one, other in zip(dealt, together, strict=True))


def test_sums_that_no_pixels_have_are_no_message():
    message = clients_sums(noise((2, 2, 3, 3)), [np.arange(2)])[0]
    for changes in (
        {"pixels": 0},
        {"sums": message.sums.double()},
        {"squares": message.squares[:1]},
        {"sums": message.sums[None], "squares": message.squares[None]},
    ):
        with pytest.raises(ValueError, match="sums of"):
            type(message)(**{**vars(message), **changes})


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("client-sums", "client-sums"),
        ("Client_Sums", "client-sums"),
        ("constants", "constants"),
        ("pooled", "pooled"),
        ("constants:mean=0.5,std=.25", "constants:mean=0.5,std=0.25"),
        ("constants:std=1/2/3e-1,mean=0/0.1/-1", "constants:mean=0.0/0.1/-1.0,std=1.0/2.0/0.3"),
    ],
)
def test_a_normalization_is_read_and_written(text, written):
    assert str(Normalization.parse(text)) == written
    assert Normalization.parse(written) == Normalization.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pool", "unknown normalization 'pool': did you mean 'pooled'?"),
        ("none", "unknown normalization 'none': "),
        ("pooled:mean=1,std=1", "pooled takes no settings"),
        ("client-sums:3", "client-sums takes no settings"),
        ("constants:mean=0.5", "expected constants:mean=X,std=Y"),
        (
            "constants:mean=0.5,sd=0.5",
            "unknown setting of normalization 'constants:mean=0.5,sd=0.5' 'sd': did you mean",
        ),
        ("constants:mean=a,std=1", "mean=a is no number"),
        ("constants:mean=nan,std=1", "mean=nan is no number"),
        ("constants:mean=1/,std=1", "mean=1/ is no number"),
        ("constants:mean=0.1,std=0.2/0", "std=0.2/0 is not above 0"),
        ("constants:mean=0.1,std=-1", "std=-1 is not above 0"),
    ],
)
def test_another_is_refused_in_one_line(text, said):
    with pytest.raises(InputError) as refused:
        Normalization.parse(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_constants_are_written_out_one_for_all_channels_or_one_for_each(patterns):
    own = Normalization.parse("constants:mean=0.1,std=0.5")
    assert resolved_normalization(own, patterns) == own
    assert [numbers.tolist() for numbers in constant_scale(own, 3)] == [[0.1] * 3, [0.5] * 3]
    digits = load_dataset("digits:size=8", data_dir=None, download=False)
    published = resolved_normalization(Normalization.parse("constants"), digits)
    assert str(published) == "constants:mean=0.3053,std=0.3759"
    assert [numbers.tolist() for numbers in constant_scale(published, 1)] == [[0.3053], [0.3759]]


def test_constants_that_are_not_there_or_do_not_fit_are_refused_with_the_remedy(patterns):
    with pytest.raises(InputError, match=r"none are published for data set patterns: .*--normalization client-sums"):
        resolved_normalization(Normalization.parse("constants"), patterns)
    with pytest.raises(InputError, match=r"mean has 3 numbers, patterns has 1 channel: give one for all or one for"):
        resolved_normalization(Normalization.parse("constants:mean=1/2/3,std=1"), patterns)
    sentences = load_dataset("sentences:train=30,test=8", data_dir=None, download=False)
    with pytest.raises(InputError, match=r"normalization constants scales images; sentences holds sequences"):
        resolved_normalization(Normalization.parse("constants"), sentences)
    assert resolved_normalization(Normalization.parse("client-sums"), sentences).kind == "client-sums"


@pytest.mark.parametrize("size", [8, 9, 16, 24, 64])
def test_the_constants_of_digits_are_those_of_the_images_that_scikit_learn_ships(size):
    dataset = load_dataset(f"digits:size={size}", data_dir=None, download=False)
    assert isinstance(dataset, ImageDataset)
    assert dataset.constants is not None
    everything = torch.cat([dataset.train_images, dataset.test_images])
    mean, deviation = pooled_scale(clients_sums(everything, [np.arange(len(everything))]))
    near = {"rtol": 0, "atol": 5e-5} if size == 8 else {"rtol": 0.04}
    np.testing.assert_allclose(dataset.constants.mean, mean.numpy(), **near)
    np.testing.assert_allclose(dataset.constants.deviation, deviation.numpy(), **near)


def test_constants_of_colour_images_have_a_number_for_each_channel():
    for constants in (CIFAR10_CONSTANTS, CIFAR100_CONSTANTS):
        assert len(constants.mean) == len(constants.deviation) == 3
        assert min(constants.deviation) > 0.1
        assert constants.source

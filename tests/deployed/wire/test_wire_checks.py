"""What the server believes of a client's frame: one that the protocol allows; each other is refused by name."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dtfl_private.deployed.wire import checks
from dtfl_private.deployed.wire.checks import ExpectedRound, Received
from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.kinds import Counts, Echo, Hello, Probed, Register, Smashed, Sums, Update, Withdrawn
from dtfl_private.protocol.messages import ChannelSums, ClassCounts, ModelDownload, SmashedBatch, WeightUpdate


def state() -> dict[str, torch.Tensor]:
    modules = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    return {name: tensor.clone() for name, tensor in modules.state_dict().items()}


HEAD = {"weight": torch.ones(3, 2)}
DOWNLOAD = ModelDownload(client=4, round=7, tier=2, weights=state(), head=HEAD)
# 10 records in batches of 4: 4, 4, 2; twice.
EXPECTED = ExpectedRound(
    session=5,
    client=4,
    download=DOWNLOAD,
    batches=6,
    records=10,
    batch_size=4,
    classes=3,
    cut_shape=(2, 3, 3),
    dtype=torch.float32,
)


def smashed(session: int = 5, **changes: object) -> Smashed:
    images = changes.pop("images", 4)
    values = {
        "client": 4,
        "round": 7,
        "tier": 2,
        "batch": 0,
        "smashed": torch.randn(images, 2, 3, 3),
        "labels": torch.arange(images) % 3,
    }
    return Smashed(session=session, message=SmashedBatch(**{**values, **changes}))


def update(session: int = 5, images: int = 10, **changes: object) -> Update:
    values = {"client": 4, "round": 7, "tier": 2, "examples": 10, "weights": state(), "head": HEAD}
    return Update(session=session, compute_s=1.0, images=images, message=WeightUpdate(**{**values, **changes}))


ALL = Received(messages=6, images=20)


def test_a_round_of_a_client_is_believed_batch_by_batch():
    received = Received()
    for number, images in enumerate([4, 4, 2, 4, 4, 2]):
        received = checks.check_smashed(smashed(batch=number, images=images), EXPECTED, received)
    assert received == ALL
    checks.check_update(update(), EXPECTED, received)


@pytest.mark.parametrize("every", [1, 2, 4, 5, 9])
def test_of_a_client_that_sends_every_so_many_batches_the_numbers_say_which(every):
    expected = replace(EXPECTED, send_every=every)
    received = Received()
    numbers = list(range(0, 6, every))
    assert expected.messages == len(numbers)
    for number in numbers:
        received = checks.check_smashed(smashed(batch=number, images=1), expected, received)
    with pytest.raises(WireError, match=f"smashed: more than the {len(numbers)} batches of the round"):
        checks.check_smashed(smashed(batch=6, images=1), expected, received)


def test_a_client_that_sends_apart_sends_each_record_once():
    expected = replace(EXPECTED, apart=True, send_every=3)
    received = Received()
    for number, images in enumerate([4, 4, 2]):
        received = checks.check_smashed(smashed(batch=number, images=images), expected, received)
    with pytest.raises(WireError, match="smashed: more than the 3 batches of the round"):
        checks.check_smashed(smashed(batch=3), expected, received)
    checks.check_update(update(), expected, received)


NAN = torch.randn(4, 2, 3, 3)
NAN[3, 1, 2, 2] = torch.nan
INFINITE = torch.randn(4, 2, 3, 3)
INFINITE[0, 0, 0, 0] = -torch.inf


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"session": 4}, "session 4, this is session 5"),
        ({"client": 3}, "says it is of client 3, the certificate is that of client 4"),
        ({"round": 6}, "of round 6, this is round 7"),
        ({"tier": 1}, "of tier 1, the client is in tier 2"),
        ({"batch": 1}, "batch 1, expected batch 0"),
        ({"images": 5}, "5 records in batch 0, at most 4 are expected"),
        ({"smashed": torch.randn(4, 2, 3, 3).double()}, "activations are torch.float64, expected torch.float32"),
        ({"smashed": torch.randn(4, 2, 3, 3).bfloat16()}, "activations are torch.bfloat16, expected torch.float32"),
        ({"smashed": torch.randn(4, 2, 3, 4)}, r"activations of shape \(2, 3, 4\), the cut of tier 2 is \(2, 3, 3\)"),
        ({"smashed": torch.randn(4, 18)}, r"activations of shape \(18,\), the cut of tier 2 is \(2, 3, 3\)"),
        ({"smashed": NAN}, "activations are not finite"),
        ({"smashed": INFINITE}, "activations are not finite"),
        ({"labels": torch.tensor([0, 1, 2, 3])}, "labels from 0 to 3, expected 0 to 2"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, "labels from -1 to 2, expected 0 to 2"),
        ({"labels": torch.tensor([0, 1, 2, 2**62])}, "labels from 0 to 4611686018427387904, expected 0 to 2"),
        ({"labels": torch.zeros(4).long(), "labelled": False}, "labels came: False, expected: True"),
    ],
)
def test_a_batch_that_is_not_the_next_of_the_round_is_refused(changes, said):
    with pytest.raises(WireError, match=f"^smashed: {said}"):
        checks.check_smashed(smashed(**changes), EXPECTED, Received())


@pytest.mark.parametrize("batch", [0, 2, 3])
def test_batches_come_once_and_in_order(batch):
    first = checks.check_smashed(smashed(), EXPECTED, Received())
    with pytest.raises(WireError, match=f"batch {batch}, expected batch 1"):
        checks.check_smashed(smashed(batch=batch), EXPECTED, first)


@pytest.mark.parametrize("batch", [2, 5])
def test_the_last_batch_of_an_epoch_has_what_is_left(batch):
    with pytest.raises(WireError, match=f"3 records in batch {batch}, at most 2 are expected"):
        checks.check_smashed(smashed(batch=batch, images=3), EXPECTED, Received(messages=batch, images=8))


def test_no_batch_comes_after_the_last_nor_from_a_tier_that_sends_none():
    with pytest.raises(WireError, match="smashed: more than the 6 batches of the round"):
        checks.check_smashed(smashed(batch=6), EXPECTED, ALL)
    with pytest.raises(WireError, match="smashed: tier 2 sends no activations"):
        checks.check_smashed(smashed(), replace(EXPECTED, cut_shape=()), Received())


def test_labels_that_should_not_come_are_refused():
    unlabelled = replace(EXPECTED, labelled=False)
    with pytest.raises(WireError, match="smashed: labels came: True, expected: False"):
        checks.check_smashed(smashed(), unlabelled, Received())
    checks.check_smashed(smashed(labels=torch.zeros(4).long(), labelled=False), unlabelled, Received())


def test_a_client_that_was_told_to_pack_may_not_send_more():
    packing = replace(EXPECTED, record_bytes=18 + 8)
    checks.check_smashed(smashed(packed_bytes=4 * 26), packing, Received())
    with pytest.raises(WireError, match="smashed: 288 bytes of activations, at most 104 are expected"):
        checks.check_smashed(smashed(), packing, Received())


def test_an_update_may_weigh_what_has_come_of_it():
    checks.check_update(update(examples=8, images=8), EXPECTED, Received(messages=2, images=8))
    with pytest.raises(WireError, match="update: 9 examples, expected 1 to 8"):
        checks.check_update(update(examples=9, images=9), EXPECTED, Received(messages=2, images=8))
    with pytest.raises(WireError, match="update: of no batch that has come"):
        checks.check_update(update(examples=1), EXPECTED, Received())
    # Of a client that sends every other batch nobody sees the ones between.
    sparse = replace(EXPECTED, send_every=2)
    assert checks.most_examples(sparse, Received(messages=1, images=4)) == 8
    assert checks.most_examples(sparse, Received(messages=3, images=10)) == 10
    # Of one that holds the whole network nobody sees any.
    assert checks.most_examples(replace(EXPECTED, cut_shape=(), batches=2), Received()) == 8


def changed(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**state(), name: tensor}


WITHOUT = {name: tensor for name, tensor in state().items() if name != "1.bias"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"session": 6}, "session 6, this is session 5"),
        ({"client": 0}, "says it is of client 0, the certificate is that of client 4"),
        ({"round": 8}, "of round 8, this is round 7"),
        ({"tier": 3}, "of tier 3, the client is in tier 2"),
        ({"examples": 0}, "0 examples, expected 1 to 10"),
        ({"examples": -1}, "-1 examples, expected 1 to 10"),
        ({"examples": 11}, "11 examples, expected 1 to 10"),
        ({"images": 9}, "trained on 9 images, expected 10 to 24"),
        ({"images": 25}, "trained on 25 images, expected 10 to 24"),
        ({"weights": WITHOUT}, r"weights: '1.bias' is missing \(1 names differ\)"),
        ({"weights": {}}, r"weights: '0.bias' is missing \(7 names differ\)"),
        ({"weights": changed("x\x1b", HEAD["weight"])}, r"weights: 'x\\x1b' is unknown \(1 names differ\)"),
        (
            {"weights": changed("1.bias", torch.ones(3))},
            r"weights: 1.bias is torch.float32 \(3,\), expected torch.float32",
        ),
        ({"weights": changed("1.bias", torch.ones(2).double())}, r"weights: 1.bias is torch.float64 \(2,\), expected"),
        ({"weights": changed("1.bias", torch.ones(2).bfloat16())}, r"weights: 1.bias is torch.bfloat16"),
        ({"weights": changed("1.bias", torch.ones(2, 1))}, r"weights: 1.bias is torch.float32 \(2, 1\)"),
        ({"weights": changed("1.bias", torch.tensor([0, torch.nan]))}, "weights: 1.bias are not finite"),
        ({"weights": changed("1.running_var", torch.tensor([1, -1e-9]))}, "weights: 1.running_var has a negative var"),
        (
            {"weights": changed("1.num_batches_tracked", torch.tensor(-1))},
            "weights: the counter 1.num.* is -1, after 0",
        ),
        (
            {"weights": changed("1.num_batches_tracked", torch.tensor(2**62))},
            "weights: the counter 1.num_batches_track",
        ),
        # With it in the average no other client could go on counting.
        (
            {"weights": changed("1.num_batches_tracked", torch.tensor(2**53))},
            "weights: the counter 1.num_batches_tracked is 9007199254740992, after 0",
        ),
        ({"head": {}}, "head: 'weight' is missing"),
        ({"head": {"weight": torch.full((3, 2), torch.inf)}}, "head: weight are not finite"),
        ({"head": {"weight": torch.full((3, 2), -1e30)}}, r"head: weight has values beyond 1e\+06"),
    ],
)
def test_an_update_that_is_not_one_of_the_download_is_refused(changes, said):
    with pytest.raises(WireError, match=f"^update: {said}"):
        checks.check_update(update(**changes), EXPECTED, ALL)


def test_a_counter_that_has_gone_on_counting_is_believed():
    counted = changed("1.num_batches_tracked", torch.tensor(6))
    checks.check_update(update(weights=counted), EXPECTED, ALL)


def test_a_session_begins_with_a_client_of_the_same_package():
    hello = Hello(version="0.1.0")
    assert checks.check_hello(hello, version="0.1.0") == hello
    with pytest.raises(
        WireError, match=r"^hello: dtfl-private '0.2.0' at the client, '0.1.0' at the server: install the"
    ):
        checks.check_hello(replace(hello, version="0.2.0"), version="0.1.0")
    with pytest.raises(WireError, match=r"^hello: session 3, this is session 0"):
        checks.check_hello(replace(hello, session=3), version="0.1.0")
    with pytest.raises(WireError, match=r"^withdrawn: a session begins with hello"):
        checks.check_hello(Withdrawn(session=0, round=1, reason=""), version="0.1.0")


def test_a_client_has_no_more_images_than_there_are():
    checks.check_register(Register(session=5, images=10), session=5, most_images=10)
    with pytest.raises(WireError, match=r"^register: 10 training images, at most 9 are expected"):
        checks.check_register(Register(session=5, images=10), session=5, most_images=9)
    with pytest.raises(WireError, match=r"^register: session 4, this is session 5"):
        checks.check_register(Register(session=4, images=10), session=5)


def test_nobody_computes_for_longer_than_the_answer_took():
    probed = Probed(session=5, batch_s=2.0, images=4)
    checks.check_probed(probed, session=5, batch_size=4, elapsed_s=2.5)
    for changes, said in (
        ({"session": 4}, "session 4"),
        ({"images": 5}, "5 images in the batch, at most 4"),
        ({"batch_s": 2.6}, "2.6 s for a batch, the answer came after 2.5 s"),
    ):
        with pytest.raises(WireError, match=f"^probed: {said}"):
            checks.check_probed(replace(probed, **changes), session=5, batch_size=4, elapsed_s=2.5)


def test_answers_are_of_what_was_asked():
    withdrawn = Withdrawn(session=5, round=7, reason="spent")
    checks.check_withdrawn(withdrawn, session=5, round_number=7)
    for changes, said in (({"session": 4}, "session 4"), ({"round": 6}, "from round 6, this is round 7")):
        with pytest.raises(WireError, match=f"^withdrawn: {said}"):
            checks.check_withdrawn(replace(withdrawn, **changes), session=5, round_number=7)
    echo = Echo(session=5, number=3, payload=b"abc")
    checks.check_echo(echo, session=5, number=3, reply_bytes=3)
    for changes, said in (
        ({"session": 4}, "session 4"),
        ({"number": 2}, "measurement 2 with 3 bytes, expected 3 with 3 bytes"),
        ({"payload": b""}, "measurement 3 with 0 bytes, expected 3 with 3 bytes"),
    ):
        with pytest.raises(WireError, match=f"^echo: {said}"):
            checks.check_echo(replace(echo, **changes), session=5, number=3, reply_bytes=3)


def test_sums_of_pixels_are_those_of_some_pixels():
    pixels = torch.randint(0, 256, (3, 50), generator=torch.Generator().manual_seed(0))
    good = ChannelSums(client=4, pixels=50, sums=pixels.sum(1), squares=pixels.square().sum(1))

    def check(message: ChannelSums, session: int = 5) -> None:
        checks.check_sums(Sums(session=session, message=message), session=5, client=4, channels=3, pixels=50)

    check(good)
    for whole in (torch.zeros(3).long(), torch.full((3,), 255 * 50)):  # all black, all white
        check(replace(good, sums=whole, squares=whole * 255))
    for changes, said in (
        ({"client": 3}, "says it is of client 3"),
        ({"pixels": 49}, "49 pixels, expected 50"),
        ({"sums": good.sums[:2], "squares": good.squares[:2]}, r"torch.int64 \(2,\), expected int64 \(3,\)"),
        ({"sums": good.sums.int()}, "torch.int32"),
        ({"sums": -good.sums}, ".* are no sums of 50 values"),
        ({"sums": torch.full((3,), 255 * 50 + 1)}, ".* are no sums of 50 values"),
        ({"squares": good.sums * 256}, ".* are no sums of 50 values"),
        ({"squares": good.sums**2 // 50 - 1}, ".* are no sums of 50 values"),
    ):
        with pytest.raises(WireError, match=f"^channel-sums: {said}"):
            check(replace(good, **changes))
    with pytest.raises(WireError, match=r"^channel-sums: session 4"):
        check(good, session=4)


def test_counts_of_classes_are_those_of_the_clients_images():
    good = ClassCounts(client=4, counts=torch.tensor([3, 0, 7]))

    def check(message: ClassCounts, session: int = 5) -> None:
        checks.check_counts(Counts(session=session, message=message), session=5, client=4, classes=3, images=10)

    check(good)
    for changes, said in (
        ({"client": 3}, "says it is of client 3"),
        ({"counts": torch.tensor([3, 7])}, r"torch.int64 \(2,\), expected int64 \(3,\)"),
        ({"counts": torch.tensor([3, 0, 7]).int()}, "torch.int32"),
        ({"counts": torch.tensor([3, 0, 8])}, ".* add up to 11, the client has 10 images"),
        ({"counts": torch.tensor([-1, 4, 7])}, ".*-1, 4, 7. add up to 10"),
    ):
        with pytest.raises(WireError, match=f"^class-counts: {said}"):
            check(replace(good, **changes))
    with pytest.raises(WireError, match=r"^class-counts: session 4"):
        check(good, session=4)

"""Defenses of texts that are filled up: padding stays zero and counts for nothing, or they are refused by name."""

import pytest
import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.compatibility import check_padding
from dtfl_private.protection import draws
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protection.cost import Cut, RunFacts
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.wire_format import WireFormat
from dtfl_private.protocol.messages import SmashedBatch

RUN = RunFacts(rounds=3, batch_size=6, local_epochs=1, classes=5, records_K=(40, 50))
LENGTHS, LONGEST, WIDTH, PADDING = (7, 2, 4, 1, 7, 3), 7, 8, 9

REFUSED = {"micro-aggregation", "learned-noise", "quantize", "top-k", "patch-shuffle", "batch-patch-shuffle"}
# The bound of a record is a setting: by default it follows from the shape of the activations.
SETTINGS = {"dp-activations": "dp-activations:clip=2"}


def acting(name: str) -> DefenseChain | None:
    """Return a chain of a defense that acts on activations of tokens; None of one that does not."""
    defense: Defense = create("defense", SETTINGS.get(name, name)).calibrated(RUN)
    if not {"activations", "loss", "smashed"} & set(defense.facts.acts_on) or defense.facts.refuses_padding:
        return None
    try:
        defense.check(cut(LONGEST))
    except InputError:
        return None
    return DefenseChain([defense]).padded_by(PADDING)


def cut(length: int, width: int = WIDTH) -> Cut:
    bytes_ = 4 * length * width
    return Cut(
        tier=1, input_shape=(length,), cut_shape=(length, width), smashed_bytes=bytes_, forward_macs=9, batch_size=6
    )


def batch(length: int) -> tuple[Tensor, Tensor]:
    """Return tokens and activations of the same texts, padded to a length."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.full((len(LENGTHS), length), PADDING)
    smashed = torch.zeros(len(LENGTHS), length, WIDTH)
    for row, real in enumerate(LENGTHS):
        tokens[row, :real] = torch.randint(PADDING, (real,), generator=generator)
        smashed[row, :real] = torch.randn(real, WIDTH, generator=generator)
    smashed[0, 1] = 0  # a real place that is zero gets noise like all others
    return tokens, smashed.requires_grad_()


def played(chain: DefenseChain, length: int) -> dict[str, Tensor]:
    """Return what a chain makes of a batch in a client's round: activations, loss, message, gradient."""
    tokens, smashed = batch(length)
    at = ClientRound(seed=3, client=1, round=2, tier=1, records=40, classes=5).during(lambda inputs: inputs, tokens)
    encoded = chain.encode(smashed, at)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    logits = encoded.sum(dim=1)[:, :5]
    step = LocalStep(inputs=tokens, smashed=encoded, logits=logits, labels=labels, real=chain.real_places(at))
    loss = chain.local_loss(torch.nn.functional.cross_entropy(logits, labels), step, at)
    (gradient,) = torch.autograd.grad(loss, smashed)
    message = SmashedBatch(client=1, round=2, tier=1, batch=0, smashed=encoded.detach(), labels=labels)
    sent = chain.protect_batch(message, at).smashed
    return {"encoded": encoded.detach(), "loss": loss.detach(), "gradient": gradient, "sent": sent}


@pytest.fixture
def draws_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let real places have the same noise however much padding there is: draws are of the longest, and cut."""
    originals = {name: getattr(draws, name) for name in ("normal", "uniform")}

    def of_longest(name: str):
        def draw(shape, chance, *more):
            if len(shape) != 3:
                return originals[name](shape, chance, *more)
            records, length, width = shape
            return originals[name]((records, 30, width), chance, *more)[:, :length]

        return draw

    def exponential(like, chance):
        drawn = draws.exponential(like.new_empty(len(like), 30, like.shape[2]), chance)
        return drawn[:, : like.shape[1]]

    def integers(low, high, shape, chance):
        return draws.integers(low, high, (shape[0], 30), chance)[:, : shape[1]]

    monkeypatch.setattr("dtfl_private.defenses.laplace_noise.exponential", exponential)
    monkeypatch.setattr("dtfl_private.defenses.token_shuffle.integers", integers)
    modules = ("shared.precision", "dp_activations", "dropout")
    for module in modules:
        for name in originals:
            monkeypatch.setattr(f"dtfl_private.defenses.{module}.{name}", of_longest(name), raising=False)


@pytest.mark.usefixtures("draws_by_place")
@pytest.mark.parametrize("name", [*sorted(installed("defense")), "dp-activations:unit=token"])
def test_more_padding_changes_nothing_of_real_places_and_stays_zero(name):
    chain = acting(name)
    if chain is None:
        assert name in REFUSED or not {"smashed"} & set(create("defense", name).facts.acts_on)
        return
    short, long = played(chain, LONGEST), played(chain, 19)
    for what in ("encoded", "sent", "gradient"):
        assert not long[what][batch(19)[0] == PADDING].any(), what
        torch.testing.assert_close(long[what][:, :LONGEST], short[what], rtol=0, atol=1e-5)
    torch.testing.assert_close(long["loss"], short["loss"], rtol=0, atol=1e-5)


def test_a_real_place_of_zeros_is_no_padding_to_defenses():
    sent = played(DefenseChain([create("defense", "gaussian-noise:sd=1")]).padded_by(PADDING), LONGEST)["sent"]
    assert sent[0, 1].all()


def test_the_second_of_two_defenses_does_not_see_what_the_first_does_to_padding():
    class Norms(Defense):
        seen: float = 0.0

        def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
            Norms.seen = float(message.smashed[3, 1:].abs().sum())
            return message

    played(DefenseChain([create("defense", "gaussian-noise:sd=1"), Norms()]).padded_by(PADDING), LONGEST)
    assert Norms.seen == 0


def test_defenses_that_cannot_leave_padding_alone_are_refused_by_name():
    made = {name: create("defense", name) for name in sorted(installed("defense"))}
    assert {name for name, one in made.items() if one.facts.refuses_padding} == REFUSED
    for name, one in made.items():
        check_padding([one], None)
        if name in REFUSED:
            with pytest.raises(InputError, match=f"^{name} cannot act on texts that are filled up to one length: "):
                check_padding([one], 0)
        else:
            check_padding([one], 0)


def test_a_wire_has_a_range_for_each_token_or_is_refused():
    for kind in ("int8", "int4", "bf16", "fp32"):
        chain = DefenseChain(wire=WireFormat(kind=kind)).padded_by(PADDING)
        chain.check(cut(LONGEST))
        short, long = played(chain, LONGEST)["sent"], played(chain, 19)["sent"]
        assert torch.equal(long[:, :LONGEST], short)
        assert not long[batch(19)[0] == PADDING].any()
    with pytest.raises(InputError, match=r"wire int8 gives a whole record one range at cuts of shape \(7, 4\)"):
        DefenseChain(wire=WireFormat(kind="int8")).padded_by(PADDING).check(cut(LONGEST, 4))
    DefenseChain(wire=WireFormat(kind="int8")).check(cut(LONGEST, 4))


def test_an_attacker_reads_nothing_of_padding():
    from dtfl_private.protection.release_reading import Reading

    chain = DefenseChain([create("defense", "gaussian-noise:sd=1")]).padded_by(PADDING)
    reading = chain.read(Reading.of(played(chain, LONGEST)["sent"]))
    assert torch.equal(reading.shown.any(dim=-1), batch(LONGEST)[0] != PADDING)
    bare = chain.undefended.read(Reading.of(played(chain, LONGEST)["sent"]))
    assert torch.equal(bare.shown, reading.shown)


def test_a_chain_is_told_the_padding_by_the_batch_under_way():
    at = ClientRound(seed=3, client=1, round=2, tier=1, records=40, classes=5)
    with pytest.raises(ValueError, match="padding is told by the batch under way"):
        DefenseChain().padded_by(0).encode(torch.zeros(1, 2, 3), at)
    assert DefenseChain().real_places(at) is None

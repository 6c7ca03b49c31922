"""What every registered defense must do with everything that a client trains on or sends."""

import copy
import dataclasses
import hashlib
import itertools
import multiprocessing.reduction
import os
import re
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.protection.base import Defense, Place, name_of
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protection.cost import Cut, RoundRelease, RunFacts
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.named_defense import make_defense
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protection.secret_randomness import SecretRandomness
from dtfl_private.protocol.guarantees import Undefended
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, WeightUpdate

pytestmark = pytest.mark.parametrize("name", sorted(installed("defense")))

INPUT_SHAPE = (3, 8, 8)
CUT_SHAPES = {"maps": (6, 8, 8), "tokens": (8, 6)}
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
CLASSES = 5
RUN = RunFacts(rounds=3, batch_size=6, local_epochs=1, classes=CLASSES, records_K=(40, 50, 60, 70, 80))

Made = Callable[[str], Defense]


def made(name: str) -> Defense:
    """Make a defense with its own defaults, calibrated as a run does it."""
    defense: Defense = create("defense", name)
    return defense.calibrated(RUN)


def inputs_of(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, *INPUT_SHAPE, generator=torch.Generator().manual_seed(1)).to(dtype)


def encoder_to(shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Return a smooth encoder of the test's inputs to activations of a shape, each record by itself."""
    values = torch.Size(shape).numel()
    matrix = torch.randn(values, torch.Size(INPUT_SHAPE).numel(), generator=torch.Generator().manual_seed(2)) / 14

    def encode(inputs: Tensor) -> Tensor:
        return torch.tanh(inputs.flatten(1) @ matrix.T.to(inputs.dtype)).reshape(-1, *shape)

    return encode


def a_round(shape: tuple[int, ...] = CUT_SHAPES["maps"], size: int = 6, *, seed: int = 3, **changes) -> ClientRound:
    update = an_update()
    download = ModelDownload(client=4, round=9, tier=2, weights=moved(update.weights), head=moved(update.head))
    at = ClientRound(seed=seed, client=4, round=9, tier=2, records=80, classes=CLASSES, download=download)
    return dataclasses.replace(at, **changes).during(encoder_to(shape), inputs_of(size))


def moved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that training would have started from."""
    return {name: tensor + 0.3 if tensor.is_floating_point() else tensor - 1 for name, tensor in state.items()}


def a_batch(shape: tuple[int, ...], size: int = 6, dtype: torch.dtype = torch.float32) -> SmashedBatch:
    generator = torch.Generator().manual_seed(0)
    return SmashedBatch(
        client=4,
        round=9,
        tier=2,
        batch=1,
        smashed=torch.randn(size, *shape, generator=generator).to(dtype),
        labels=torch.randint(CLASSES, (size,), generator=generator),
    )


def an_update() -> WeightUpdate:
    generator = torch.Generator().manual_seed(0)
    weights = {
        "conv.weight": torch.randn(8, 1, 3, 3, generator=generator),
        "norm.running_var": torch.full((8,), 1e-4),
        "norm.num_batches_tracked": torch.tensor(7),
    }
    head = {"fc.weight": torch.randn(10, 8, generator=generator), "fc.bias": torch.zeros(10, dtype=torch.float64)}
    return WeightUpdate(client=4, round=9, tier=2, examples=120, weights=weights, head=head)


def a_step(shape: tuple[int, ...], size: int = 6) -> LocalStep:
    generator = torch.Generator().manual_seed(5)
    smashed = torch.randn(size, *shape, generator=generator, requires_grad=True)
    logits = torch.randn(size, CLASSES, generator=generator, requires_grad=True)
    labels = torch.randint(CLASSES, (size,), generator=generator)
    return LocalStep(inputs=inputs_of(size), smashed=smashed, logits=logits, labels=labels)


def everything_of(defense: Defense, at: ClientRound, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Return what all hooks make of the same batch, by name; the hooks are called in a round's order."""
    records = torch.arange(6)
    step, batch, update = a_step(shape), a_batch(shape), an_update()
    labels = defense.protect_labels(batch.labels, records, at)
    inputs = defense.protect_inputs(inputs_of(6), at.fetching(records))
    smashed = defense.encode(step.smashed, at)
    loss = defense.local_loss(step.smashed.square().mean(), step, at)
    sent, closing = defense.protect_batch(batch, at), defense.protect_update(update, at)
    found = {"labels": labels, "inputs": inputs, "encoded": smashed, "loss": loss}
    found |= {"smashed": sent.smashed, "sent labels": sent.labels}
    found |= {f"weight {name}": tensor for name, tensor in {**closing.weights, **closing.head}.items()}
    return {name: tensor.detach() for name, tensor in found.items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def a_cut(shape: tuple[int, ...]) -> Cut:
    smashed_bytes = 4 * torch.Size(shape).numel()
    return Cut(
        tier=2,
        input_shape=INPUT_SHAPE,
        cut_shape=shape,
        smashed_bytes=smashed_bytes,
        forward_macs=10_000,
        batch_size=6,
    )


def test_it_derives_from_the_base_class_and_is_called_what_it_is_registered_as(name):
    defense = create("defense", name)
    assert isinstance(defense, Defense)
    assert name_of(defense) == name


def test_its_facts_are_there_for_a_user_to_read(name):
    facts = create("defense", name).facts
    for text in (facts.protects, facts.guarantee, facts.cost, facts.attacker):
        assert text
        assert not text.endswith(".")
        assert "\n" not in text
    places = set(get_args(Place))
    assert set(facts.acts_on) <= places
    assert facts.couples_records <= places
    assert facts.acts_on or name == "identity"
    for excluded, reason in facts.excludes.items():
        assert excluded in installed("defense")
        assert reason


HOOKS = {
    "input": ("protect_inputs",),
    "labels": ("protect_labels",),
    "activations": ("encode",),
    "loss": ("local_loss",),
    "training": ("training_pass",),
    "smashed": ("protect_batch",),
    "weights": ("protect_update",),
    "download": ("inspect",),
    "replies": ("inspect_reply",),
}


def test_it_acts_where_its_facts_say_and_nowhere_else(name):
    kind = type(create("defense", name))
    # Inherited from a shared base counts as well as written in the class itself.
    overridden = {
        place for place, hooks in HOOKS.items() for hook in hooks if getattr(kind, hook) is not getattr(Defense, hook)
    }
    assert overridden == set(kind.facts.acts_on)


def test_who_knows_the_seed_cannot_repeat_what_is_drawn_at_a_client_whose_chance_is_secret(name, monkeypatch):
    blocks = itertools.count()
    monkeypatch.setattr(os, "urandom", lambda count: hashlib.shake_256(str(next(blocks)).encode()).digest(count))
    for shape in CUT_SHAPES.values():

        def found(shape=shape, **changes) -> dict[str, Tensor]:
            return everything_of(made(name), a_round(shape, **changes), shape)

        seeded, other_seed = found(), found(seed=4)
        secret, other_secret = (found(randomness=SecretRandomness(bytes([n]) * 32)) for n in (1, 2))
        kinds = {what: (tensor.shape, tensor.dtype) for what, tensor in seeded.items()}
        assert {what: (tensor.shape, tensor.dtype) for what, tensor in secret.items()} == kinds
        for what, tensor in seeded.items():
            if not torch.equal(tensor, other_seed[what]):
                assert not torch.equal(secret[what], tensor)
                assert not torch.equal(secret[what], other_secret[what])


def test_what_guarantees_something_says_so_in_its_facts(name):
    released = RoundRelease(records=60, batch_size=6, steps=10, epochs=1)
    values = made(name).guarantees(released)
    assert bool(values) == (create("defense", name).facts.guarantee != "none")
    assert made(name).guarantees(dataclasses.replace(released, batches=False, update=False)) in ([], ())


def test_it_is_a_frozen_value(name):
    defense = create("defense", name)
    assert defense == create("defense", name)
    settings = [field.name for field in dataclasses.fields(defense)]
    for attribute in [*settings, "anything"]:
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(defense, attribute, 1)


def test_worker_processes_get_the_same_defense(name):
    for defense in (create("defense", name), made(name)):
        sent = multiprocessing.reduction.ForkingPickler.dumps(defense)
        assert multiprocessing.reduction.ForkingPickler.loads(sent) == defense


def test_a_batch_keeps_its_shape_its_type_and_its_client(name):
    for shape, size, dtype in itertools.product(CUT_SHAPES.values(), (1, 6), DTYPES):
        made(name).check(a_cut(shape))
        before = a_batch(shape, size, dtype)
        after = made(name).protect_batch(before, a_round(shape, size))
        assert (after.client, after.round, after.tier, after.batch) == (4, 9, 2, 1)
        assert (after.smashed.shape, after.smashed.dtype) == (before.smashed.shape, dtype)
        assert after.smashed.isfinite().all()
        assert not after.smashed.requires_grad
        assert (after.labels.shape, after.labels.dtype) == ((size,), torch.int64)


def test_activations_keep_their_shape_and_type_and_pass_gradients_on(name):
    for shape, dtype in itertools.product(CUT_SHAPES.values(), DTYPES):
        smashed = a_batch(shape, dtype=dtype).smashed.requires_grad_()
        encoded = made(name).encode(smashed, a_round(shape))
        assert (encoded.shape, encoded.dtype) == (smashed.shape, dtype)
        (gradient,) = torch.autograd.grad(encoded.float().sum(), smashed)
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_its_loss_is_a_finite_number_with_a_finite_gradient(name):
    for shape, size in itertools.product(CUT_SHAPES.values(), (1, 3, 6)):
        step, defense = a_step(shape, size), made(name)
        classified = defense.classification_loss(step.logits, step.labels)
        assert classified is None or classified.shape == ()
        plain = step.smashed.square().mean() + step.logits.square().mean()
        loss = defense.local_loss(plain, step, a_round(shape, size))
        assert loss.shape == ()
        gradients = torch.autograd.grad(loss, [step.smashed, step.logits])
        assert loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_what_it_adds_to_the_loss_trains_the_activations(name):
    """The gradient by the activations is not that of the plain loss, if it says that it acts on the loss."""
    defense, step = made(name), a_step(CUT_SHAPES["maps"])
    plain = step.smashed.square().mean()
    loss = defense.local_loss(plain, step, a_round())
    # Several batches: a decoder has to learn first.
    at = a_round()
    for _ in range(60 if "loss" in defense.facts.acts_on else 0):
        loss = defense.local_loss(plain, step, at)
    ours, theirs = (torch.autograd.grad(value, step.smashed, retain_graph=True)[0] for value in (loss, plain))
    assert torch.equal(ours, theirs) == ("loss" not in defense.facts.acts_on)


def test_an_update_keeps_names_shapes_types_and_its_client(name):
    before = an_update()
    after = made(name).protect_update(before, a_round())
    assert isinstance(after, WeightUpdate)
    assert (after.client, after.round, after.tier, after.examples) == (4, 9, 2, 120)
    for ours, theirs in ((after.weights, before.weights), (after.head, before.head)):
        assert list(ours) == list(theirs)
        for key, tensor in ours.items():
            assert (tensor.shape, tensor.dtype) == (theirs[key].shape, theirs[key].dtype)
            assert not tensor.requires_grad
    assert after.weights["norm.num_batches_tracked"] == 7
    assert (after.weights["norm.running_var"] >= 0).all()


@pytest.mark.parametrize("kind", CUT_SHAPES)
def test_nothing_that_it_is_given_is_written_to(name, kind):
    shape, at, records = CUT_SHAPES[kind], a_round(CUT_SHAPES[kind]), torch.arange(6)
    step, batch, update = a_step(shape), a_batch(shape), an_update()
    before = copy.deepcopy((dataclasses.astuple(step), batch, update, at.forward.inputs, at.download))
    defense = made(name)
    defense.inspect(at.download, at)
    defense.protect_labels(batch.labels, records, at)
    defense.protect_inputs(at.forward.inputs, at.fetching(records))
    defense.encode(step.smashed, at)
    defense.local_loss(step.smashed.sum(), step, at)
    defense.protect_batch(batch, at)
    defense.protect_update(update, at)
    after = (dataclasses.astuple(step), batch, update, at.forward.inputs, at.download)
    for ours, theirs in zip(before[0], after[0], strict=True):
        assert ours is theirs is None or torch.equal(ours, theirs)
    assert torch.equal(before[1].smashed, batch.smashed)
    assert torch.equal(before[1].labels, batch.labels)
    assert torch.equal(before[3], at.forward.inputs)
    for ours, theirs in ((update, before[2]), (at.download, before[4])):
        assert all(torch.equal(tensor, theirs.weights[key]) for key, tensor in ours.weights.items())
        assert all(torch.equal(tensor, theirs.head[key]) for key, tensor in ours.head.items())


@pytest.mark.parametrize("kind", CUT_SHAPES)
def test_all_chance_comes_from_its_streams(name, kind):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    shape = CUT_SHAPES[kind]
    first, again = (everything_of(made(name), a_round(shape), shape) for _ in range(2))
    assert same(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)


def draws(name: str) -> bool:
    """Whether a defense's facts say that it draws anything in the hooks that these tests call."""
    deterministic = {"identity", "distance-correlation", "micro-aggregation", "quantize", "top-k", "update-clip"}
    deterministic |= {"tier-floor", "weight-jump", "gradient-scrutinizer"}
    return name not in deterministic | {"dp-weights", "adversarial-decoder"}


def test_another_seed_gives_another_result_if_it_draws(name):
    shape = CUT_SHAPES["maps"]
    first, other = (everything_of(made(name), a_round(shape, seed=seed), shape) for seed in (3, 4))
    if name != "adversarial-decoder":  # its first weights are drawn; before the decoder has learnt, that may not show
        assert same(first, other) == (not draws(name))


def test_a_chain_of_it_is_the_defense_itself(name):
    shape = CUT_SHAPES["maps"]
    alone = everything_of(made(name), a_round(shape).member(0), shape)
    chain = DefenseChain([made(name)])
    assert same(alone, everything_of(chain, a_round(shape), shape))
    cut, released = a_cut(shape), RoundRelease(records=60, batch_size=6, steps=10, epochs=1)
    assert chain.wire_bytes(cut) == made(name).wire_bytes(cut)
    assert list(chain.guarantees(released)) == list(made(name).guarantees(released))
    assert chain.tier_floor == made(name).tier_floor
    assert chain.extra_macs(cut) == made(name).extra_macs(cut)


def test_what_it_remembers_survives_a_checkpoint(name):
    """A round in one piece equals one that starts from the memory of the round before, as plain CPU tensors."""
    shape = CUT_SHAPES["maps"]
    one = a_round(shape)
    everything_of(DefenseChain([made(name)]), one, shape)
    kept = one.remembered()
    assert all(re.fullmatch(r"0/[\w./-]+", key) for key in kept)
    for tensor in kept.values():
        assert type(tensor) is Tensor
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad
    stored = {key: tensor.clone() for key, tensor in kept.items()}
    results = [
        everything_of(DefenseChain([made(name)]), a_round(shape, round=10, memory=dict(memory)), shape)
        for memory in (kept, stored)
    ]
    assert same(*results)


@pytest.mark.parametrize("kind", CUT_SHAPES)
@pytest.mark.parametrize("shape_of_odd_size", [False, True])
def test_the_bytes_it_announces_are_the_bytes_it_sends(name, kind, shape_of_odd_size):
    shape = CUT_SHAPES[kind]
    if shape_of_odd_size:
        shape = (5, *shape[1:]) if kind == "maps" else (shape[0], 5)
    defense, cut = made(name), a_cut(shape)
    sent = defense.protect_batch(a_batch(shape), a_round(shape))
    assert sent.smashed_bytes == 6 * defense.wire_bytes(cut)
    assert (sent.packed_bytes is not None) == defense.facts.packs
    assert defense.extra_macs(cut) >= 0


RELEASED = RoundRelease(records=60, batch_size=6, steps=10, epochs=1)
RULES = {"tier<=2": [(1, ""), (2, "phone")], "tier=2&profile=phone": [(2, "phone")], "profile=phone": [(7, "phone")]}
ELSEWHERE = {"tier<=2": [(3, "phone")], "tier=2&profile=phone": [(2, "tv"), (1, "phone")], "profile=phone": [(2, "tv")]}


def ruled(name: str, rule: str) -> DefenseChain:
    """Return a chain of this defense with a rule, behind one that acts elsewhere and before one that always does."""
    if name == "tier-floor":
        with pytest.raises(InputError, match="tier-floor takes no rule"):
            make_defense(f"{name}@{rule}")
        pytest.skip("tier-floor takes no rule")
    others = [make_defense("identity@tier=9"), make_defense(f"{name}@{rule}"), create("defense", "identity")]
    return DefenseChain(others).calibrated(RUN)


def test_with_a_rule_it_does_all_that_it_does_where_that_holds(name):
    for (rule, places), shape in itertools.product(RULES.items(), CUT_SHAPES.values()):
        chain, plain = ruled(name, rule), DefenseChain([create("defense", "identity"), made(name)])
        for tier, profile in places:
            there = {"tier": tier, "profile": profile}
            expected = everything_of(plain, a_round(shape, **there), shape)
            assert same(everything_of(chain.at(tier, profile), a_round(shape, **there), shape), expected)
            assert same(everything_of(chain, a_round(shape, **there), shape), expected)
            acting, cut = chain.at(tier, profile), a_cut(shape)
            acting.check(cut)
            assert (acting.extra_macs(cut), acting.wire_bytes(cut)) == (plain.extra_macs(cut), plain.wire_bytes(cut))
            assert list(acting.guarantees(RELEASED)) == list(plain.guarantees(RELEASED))
            assert acting.known_noise(cut) == plain.known_noise(cut)
            step, released = a_step(shape), a_batch(shape).smashed
            losses = [one.classification_loss(step.logits, step.labels) for one in (acting, plain)]
            assert torch.equal(*losses)
            readings = [one.read(Reading.of(released)) for one in (acting, plain)]
            assert torch.equal(readings[0].values, readings[1].values)
            assert readings[0].is_noisy == readings[1].is_noisy


@pytest.mark.parametrize("rule", ELSEWHERE)
def test_with_a_rule_what_leaves_a_client_elsewhere_is_raw(name, rule):
    chain, shape = ruled(name, rule), CUT_SHAPES["maps"]
    for tier, profile in ELSEWHERE[rule]:
        there = {"tier": tier, "profile": profile}
        raw = everything_of(DefenseChain(), a_round(shape, **there), shape)
        acting, cut = chain.at(tier, profile), a_cut(shape)
        assert same(everything_of(acting, a_round(shape, **there), shape), raw)
        assert same(everything_of(chain, a_round(shape, **there), shape), raw)
        assert (acting.extra_macs(cut), acting.wire_bytes(cut)) == (0, cut.smashed_bytes)
        assert [name_of(member) for member in acting] == ["identity"]


@pytest.mark.parametrize("rule", ELSEWHERE)
def test_with_a_rule_a_release_elsewhere_is_stated_to_have_no_guarantee(name, rule):
    chain, kinds = ruled(name, rule), [type(one).__name__ for one in made(name).guarantees(RELEASED)]
    tier, profile = ELSEWHERE[rule][0]
    stated = chain.at(tier, profile).guarantees(RELEASED)
    assert list(stated) == [Undefended(instead_of=kind) for kind in kinds]
    nothing = dataclasses.replace(RELEASED, batches=False, update=False)
    assert list(chain.at(tier, profile).guarantees(nothing)) == []


def test_with_a_rule_what_depends_on_no_client_is_not_answered_without_one(name):
    member, cut = ruled(name, "tier<=2").defenses[1], a_cut(CUT_SHAPES["maps"])
    step = a_step(CUT_SHAPES["maps"])
    for ask in (
        lambda: member.guarantees(RELEASED),
        lambda: member.check(cut),
        lambda: member.wire_bytes(cut),
        lambda: member.extra_macs(cut),
        lambda: member.known_noise(cut),
        lambda: member.read(Reading.of(step.smashed)),
        lambda: member.classification_loss(step.logits, step.labels),
    ):
        with pytest.raises(ValueError, match=re.escape(f"{name}@tier<=2 acts at some clients only")):
            ask()


def test_with_a_rule_it_keeps_what_it_remembers_over_a_round_elsewhere(name):
    shape, chain = CUT_SHAPES["maps"], ruled(name, "tier<=2")
    for _ in range(2):
        first = a_round(shape)
        everything_of(chain.at(2), first, shape)
        chain.at(2).inspect(first.download, first)
    away = a_round(shape, round=10, tier=3, memory=first.remembered())
    everything_of(chain.at(3), away, shape)
    chain.at(3).inspect(away.download, away)
    assert same(away.remembered(), first.remembered())


def test_with_a_rule_it_is_a_frozen_value_that_worker_processes_get(name):
    member = ruled(name, "tier<=2&profile=phone").defenses[1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        member.rule = None
    sent = multiprocessing.reduction.ForkingPickler.loads(multiprocessing.reduction.ForkingPickler.dumps(member))
    assert sent == member
    assert name_of(sent) == f"{name}@tier<=2&profile=phone"
    assert sent.facts == create("defense", name).facts

import itertools
from typing import ClassVar

import pytest
from torch import nn

from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.dp_weights import DpWeights
from dtfl_private.defenses.identity import Identity
from dtfl_private.defenses.label_rr import LabelRr
from dtfl_private.defenses.pixel_dp import PixelDp
from dtfl_private.errors import InputError
from dtfl_private.privacy.compatibility import check_defenses, check_network, check_places, needs_group_norm
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.conditional import only_where
from dtfl_private.protection.defense_chain import DefenseChain


def a_defense(name, **facts):
    """Make a defense of this class name with these facts."""
    full = {"protects": "something", "acts_on": ("smashed",), **facts}
    annotations = {"__annotations__": {"facts": ClassVar[DefenseFacts]}}
    return type(name, (Defense,), {"facts": DefenseFacts(**full), **annotations})()


DISTANCE = a_defense("DistanceCorrelation", acts_on=("loss",), couples_records=frozenset({"loss"}))
MIXUP = a_defense("Mixup", acts_on=("input",), couples_records=frozenset({"input"}))
BATCH_ENCODER = a_defense("BatchEncoder", acts_on=("activations",), couples_records=frozenset({"activations"}))
BATCH_SHUFFLE = a_defense("BatchPatchShuffle", couples_records=frozenset({"smashed"}))
FISHER = a_defense("FisherNoise", guarantee="a bound")
PLAIN_NOISE = a_defense("GaussianNoise")
ALL = [DpWeights(), DpActivations(), LabelRr(), DISTANCE, MIXUP, BATCH_ENCODER, BATCH_SHUFFLE, FISHER, PLAIN_NOISE]


def check(*defenses, norm="group", precision="fp32", local_epochs=1):
    check_defenses(DefenseChain(defenses), norm, precision, local_epochs)


@pytest.mark.parametrize(
    "defenses",
    [
        (),
        (Identity(), Identity()),
        (DpWeights(), DpActivations(), LabelRr()),
        (LabelRr(), DpActivations(), DpWeights()),
        (PLAIN_NOISE, DpActivations(), PLAIN_NOISE, PLAIN_NOISE),
        (DpWeights(), BATCH_SHUFFLE),
        (DpActivations(), BATCH_SHUFFLE),
        (DISTANCE, FISHER),
        (DISTANCE, MIXUP, BATCH_ENCODER, BATCH_SHUFFLE),
        (DISTANCE, DpActivations()),
        (LabelRr(), MIXUP),
    ],
)
def test_what_can_act_together_may(defenses):
    check(*defenses)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("other", "place"), [(DISTANCE, "loss"), (MIXUP, "input"), (BATCH_ENCODER, "activations")])
def test_dp_sgd_refuses_what_makes_one_records_gradient_depend_on_the_others(other, place, order):
    with pytest.raises(
        InputError, match=rf"dp-weights cannot be combined with .* \(by the {place}\).*leave one of them"
    ):
        check(*(DpWeights(), other)[::order])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("bounded", [DpActivations(), FISHER])
@pytest.mark.parametrize("other", [MIXUP, BATCH_ENCODER])
def test_bounds_on_a_records_activations_refuse_records_that_were_mixed_before(other, bounded, order):
    with pytest.raises(InputError, match="it mixes the records of a batch before their activations are bounded"):
        check(*(bounded, other)[::order])


@pytest.mark.parametrize(("bounded", "name"), [(DpActivations(), "dp-activations"), (FISHER, "fisher-noise")])
def test_a_shuffle_over_the_batch_comes_after_the_bound_and_never_before(bounded, name):
    check(bounded, BATCH_SHUFFLE)
    with pytest.raises(InputError, match=f"give batch-patch-shuffle after {name}"):
        check(BATCH_SHUFFLE, bounded)


@pytest.mark.parametrize("defense", [DpWeights(), DpActivations()])
def test_batch_norm_is_refused_and_another_or_unknown_norm_let_pass(defense):
    for norm in ("group", None):
        check(defense, norm=norm)
    with pytest.raises(InputError, match=r"cannot be combined with --norm batch: .* use --norm group or --norm auto"):
        check(defense, norm="batch")


def test_label_rr_lets_batch_norm_pass():
    check(LabelRr(), norm="batch", local_epochs=3, precision="bf16")


@pytest.mark.parametrize("defense", [DpWeights(), DpActivations()])
def test_several_local_epochs_are_refused_where_the_release_is_apart(defense):
    with pytest.raises(InputError, match=r"sends each record once per round.* use --local-epochs 1 .* instead of 3"):
        check(defense, local_epochs=3)


def test_gradients_must_be_clipped_exactly():
    with pytest.raises(
        InputError, match=r"dp-weights cannot be combined with --precision bf16: .* use --precision fp32"
    ):
        check(DpWeights(), precision="bf16")
    for precision in ("fp32", "fp64"):
        check(DpWeights(), precision=precision)
    check(DpActivations(), precision="bf16")


@pytest.mark.parametrize("kind", [DpWeights, DpActivations, LabelRr])
def test_a_guarantee_is_given_once(kind):
    with pytest.raises(InputError, match=r"is given twice: give it once"):
        check(kind(), PLAIN_NOISE, kind())


def test_only_one_defense_trains_the_client_half():
    other = a_defense("OtherTrainer", acts_on=("training",))
    with pytest.raises(InputError, match="other-trainer and dp-weights both train the client half"):
        check(DpWeights(), other)


@pytest.mark.parametrize("order", [1, -1])
def test_two_that_exclude_each_other_are_refused_with_the_reason(order):
    shy = a_defense("Shy", excludes={"gaussian_noise": "it is loud"})
    with pytest.raises(
        InputError, match="shy cannot be combined with gaussian-noise: it is loud; leave one of them out"
    ):
        check(*(shy, PLAIN_NOISE)[::order])
    check(shy, Identity())


def test_it_does_not_matter_who_stands_between():
    with pytest.raises(InputError, match="dp-weights cannot be combined with distance-correlation"):
        check(DISTANCE, Identity(), LabelRr(), DpWeights())


@pytest.mark.parametrize("pair", list(itertools.permutations(ALL, 2)))
def test_every_refusal_is_one_line_that_names_a_defense(pair):
    refusal = None
    try:
        check(*pair)
    except InputError as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        assert any(name in refusal for name in ("dp-weights", "dp-activations", "fisher-noise"))


def test_the_norm_is_chosen_by_the_defenses():
    assert needs_group_norm(DefenseChain([PLAIN_NOISE, DpWeights()]))
    assert needs_group_norm([DpActivations()])
    assert not needs_group_norm(DefenseChain([PLAIN_NOISE, LabelRr()]))
    assert not needs_group_norm(DefenseChain())


def test_a_network_of_the_users_own_is_looked_through():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2)))
    with pytest.raises(
        InputError, match=r"dp-activations cannot protect a network with batch norm \(1.0 is a BatchNorm1d"
    ):
        check_network([LabelRr(), DpActivations()], network)
    check_network([LabelRr()], network)
    check_network([DpActivations()], nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2)))


def test_defenses_that_never_act_at_one_client_need_not_go_together():
    """What is refused together is allowed apart; and so is a guarantee given twice, in other strengths."""
    weights, weak = DpWeights(noise_multiplier=1.0), DpWeights(noise_multiplier=2.0)
    check_defenses([only_where("tier<=2", weights), only_where("tier>=3", weak)], "group", "fp32", 1)
    check_defenses([only_where("tier<=2", weights), only_where("tier>=3", DISTANCE)], "group", "fp32", 1)
    check_defenses([only_where("profile=a", weights), only_where("profile=b", DISTANCE)], "group", "fp32", 1)
    for together in (
        [only_where("tier<=2", weights), DISTANCE],
        [only_where("tier<=3", weights), only_where("tier>=3", DISTANCE)],
        [only_where("tier<=3", weights), only_where("profile=a", DISTANCE)],
    ):
        with pytest.raises(InputError, match="dp-weights cannot be combined with distance-correlation"):
            check_defenses(together, "group", "fp32", 1)


def test_a_defense_given_twice_with_rules_that_overlap_is_refused():
    for first, second in (("tier<=2", "tier=2"), ("tier<=2", "profile=a"), ("profile=a", "profile=A")):
        with pytest.raises(InputError, match="would both act at some clients: give rules of which no two hold at once"):
            check_defenses([only_where(first, PLAIN_NOISE), only_where(second, PLAIN_NOISE)], "batch", "fp32", 1)
    with pytest.raises(InputError, match="would both act at some clients"):
        check_defenses([PLAIN_NOISE, only_where("tier=2", PLAIN_NOISE)], "batch", "fp32", 1)


def test_what_a_defense_needs_of_the_run_it_needs_wherever_it_acts():
    acts_once = only_where("tier=1", DpWeights(noise_multiplier=1.0))
    assert needs_group_norm([acts_once])
    with pytest.raises(InputError, match="cannot be combined with --norm batch"):
        check_defenses([acts_once], "batch", "fp32", 1)
    with pytest.raises(InputError, match="dp-weights cannot protect a network with batch norm"):
        check_network([acts_once], nn.Sequential(nn.BatchNorm2d(3)))
    with pytest.raises(InputError, match="dp-weights acts on training"):
        check_places([acts_once], {"weights"}, "fedavg")


@pytest.mark.parametrize("apart", [DpWeights(), DpActivations()])
@pytest.mark.parametrize("order", [1, -1])
def test_noise_on_inputs_does_not_go_with_a_release_apart_at_other_clients_either(apart, order):
    """With one such member all clients train first and send later, so that an input would get noise twice a round."""
    there, elsewhere = only_where("tier<=2", PixelDp(fixed=False)), only_where("tier>=3", apart)
    with pytest.raises(InputError, match="compute its activations once more"):
        check(*[there, elsewhere][::order])
    check(only_where("tier<=2", PixelDp(fixed=False)), only_where("tier>=3", FISHER))

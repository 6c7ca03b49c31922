import pytest
import tomli_w

from dtfl_private.choosing.built_in_space import built_in_space
from dtfl_private.choosing.defense_choice import DefenseChoice, defense_texts
from dtfl_private.choosing.limits import parse_limits
from dtfl_private.choosing.points import Base, acts_somewhere, config_of, first_points, within, without_defenses
from dtfl_private.choosing.sampler import next_points
from dtfl_private.choosing.space import in_words, parse_space, space_document
from dtfl_private.choosing.trial import Rules
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.named_plugins import make_method

BASE = Base(config=TrainConfig(), tiers=[1, 2, 3, 4])
TEXT = """
[[defense]]
name = "gaussian-noise"
settings = { sd = { low = 0.05, high = 4.0, scale = "log" } }

[[defense]]
name = "top-k"
settings = { share = [0.1, 0.5] }

[[defense]]
slot = "labels"
name = "label-rr"
settings = { epsilon = 2.0 }

[train]
wire = ["int8"]
tiers = [">=2"]
"""


def space_of_text(text: str = TEXT):
    return within(parse_space(text, "space"), BASE)


def test_a_point_comes_to_a_configuration():
    space = space_of_text()
    point = {
        "activations": "gaussian-noise",
        "labels": "label-rr",
        "gaussian-noise.sd": 0.123456,
        "train.wire": "int8",
        "train.tiers": ">=2",
    }
    assert space.holds(point)
    config = config_of(space, point, BASE)
    assert config.defense == ["gaussian-noise:sd=0.1235", "label-rr:epsilon=2"]
    assert (config.wire, config.allowed_tiers) == ("int8", [2, 3, 4])
    assert config_of(space, {**point, "train.tiers": "all"}, BASE).allowed_tiers is None
    assert not space.holds({**point, "top-k.share": 0.1})
    assert not space.holds({**point, "gaussian-noise.sd": 5.0})


def test_the_configurations_own_values_are_choices_and_the_first_points_have_them():
    space = space_of_text()
    assert space.train == {"wire": ("auto", "int8"), "tiers": ("all", ">=2")}
    points, left_out = first_points(space)
    assert config_of(space, points[0], BASE) == BASE.config
    assert [config_of(space, point, BASE).defense for point in points[1:]] == [
        ["gaussian-noise:sd=0.1"],
        ["top-k:share=0.1"],
        ["label-rr:epsilon=2"],
    ]
    assert left_out == []
    _, left_out = first_points(space_of_text(TEXT.replace("low = 0.05", "low = 0.5")))
    assert len(left_out) == 1
    assert "gaussian-noise" in left_out[0]


def test_a_finite_space_has_as_many_points_as_it_yields():
    space = space_of_text(TEXT.replace('{ low = 0.05, high = 4.0, scale = "log" }', "[0.1, 1.0, 2.0]"))
    points = list(space.points())
    assert len(points) == space.size == (1 + 3 + 2) * 2 * 2 * 2
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    assert all(space.holds(point) for point in points)
    assert space_of_text().size is None


def test_a_space_survives_the_way_through_a_file():
    space = space_of_text()
    text = tomli_w.dumps(space_document(space))
    assert within(parse_space(text, "space"), BASE) == space


def test_defenses_are_taken_out_with_their_strengths():
    space = space_of_text()
    point = {
        "activations": "top-k",
        "top-k.share": 0.1,
        "labels": "label-rr",
        "train.wire": "auto",
        "train.tiers": "all",
    }
    bare = without_defenses(space, point, ["top-k"])
    assert bare == {"activations": "none", "labels": "label-rr", "train.wire": "auto", "train.tiers": "all"}
    assert space.holds(bare)


def test_where_a_defense_acts_can_be_a_dimension():
    """With rules such as NAME@tier<=2, which a configuration takes as part of a defense's text."""
    choice = DefenseChoice(name="gaussian-noise", settings={"sd": 0.5}, tiers=["all", "<=2"])
    assert defense_texts(choice, {"gaussian-noise@tier": "<=2"}) == ["gaussian-noise:sd=0.5@tier<=2"]
    assert defense_texts(choice, {"gaussian-noise@tier": "all"}) == ["gaussian-noise:sd=0.5"]


SCHEDULED = """
[[defense]]
name = "gaussian-noise"
settings = { sd = [0.1, 0.5, 2.0] }
tiers = ["all", "<=2", ["<=2", "=3", ">=4"]]
"""


def test_a_defense_may_have_a_strength_of_its_own_in_each_of_several_tiers():
    space = space_of_text(SCHEDULED)
    first = {"activations": "gaussian-noise"}
    (where,) = space.further_dimensions(first)
    assert where.values == ("all", "<=2", "<=2 / =3 / >=4")
    scheduled = {**first, "gaussian-noise@tier": "<=2 / =3 / >=4"}
    strengths = [one.name for one in space.further_dimensions(scheduled)[1:]]
    assert strengths == ["gaussian-noise.sd", "gaussian-noise.sd@tier=3", "gaussian-noise.sd@tier>=4"]
    point = {**scheduled, **dict(zip(strengths, (2.0, 0.5, 0.1), strict=True))}
    assert space.holds(point)
    assert config_of(space, point, BASE).defense == [
        "gaussian-noise:sd=2@tier<=2",
        "gaussian-noise:sd=0.5@tier=3",
        "gaussian-noise:sd=0.1@tier>=4",
    ]
    assert without_defenses(space, point, ["gaussian-noise"]) == {"activations": "none"}
    points = list(space.points())
    assert len(points) == space.size == 1 + 3 + 3 + 3**3
    assert all(space.holds(one) for one in points)
    assert parse_space(tomli_w.dumps(space_document(space)), "space") == space
    assert first_points(space)[0][1] == {**first, "gaussian-noise@tier": "all", "gaussian-noise.sd": 0.1}


def test_strengths_in_several_tiers_are_proposed():
    space = space_of_text(SCHEDULED.replace("[0.1, 0.5, 2.0]", "{ low = 0.1, high = 2.0 }"))
    found = next_points(
        space, [], Rules(limits=parse_limits(["ssim<=0.4"])), count=20, batch=0, seed=0, is_new=lambda _: True
    )
    assert all(space.holds(point) for point in found)
    assert any("gaussian-noise.sd@tier=3" in point for point in found)


@pytest.mark.parametrize(
    ("tiers", "possible"),
    [("all", True), (">=2", True), (">=3", False)],
)
def test_a_defense_that_acts_in_none_of_the_tiers_that_are_left_is_no_possible_point(tiers, possible):
    """A run with it is refused, so that a trial would be spent on nothing."""
    space = space_of_text(f'{SCHEDULED}[train]\ntiers = [">=2", ">=3"]\n')
    point = {"activations": "gaussian-noise", "gaussian-noise@tier": "<=2", "train.tiers": tiers}
    assert acts_somewhere(space, point, BASE) is possible
    assert acts_somewhere(space, {**point, "gaussian-noise@tier": "all"}, BASE)
    assert acts_somewhere(space, {**point, "gaussian-noise@tier": "<=2 / =3 / >=4"}, BASE) is possible


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"=3", ">=4"', '"<=3", ">=4"', "may hold at one client"),
        ('"=3", ">=4"', '"=3", "all"', "not understood"),
        ('["<=2", "=3", ">=4"]', '["<=2"]', "tiers"),
    ],
)
def test_strengths_for_the_same_client_twice_are_refused(old, new, says):
    assert old in SCHEDULED
    with pytest.raises(InputError, match=says) as caught:
        space_of_text(SCHEDULED.replace(old, new))
    assert "\n" not in str(caught.value)


def test_what_is_assumed_of_a_federation_is_nothing_to_choose():
    """An assumption would hide updates from every attack, at no cost, and protect nobody."""
    with pytest.raises(InputError, match="unknown key in space: 'assume'"):
        space_of_text(f'{TEXT}assume = ["secure-aggregation"]\n')


@pytest.mark.parametrize(
    ("method", "deeper"),
    [
        ("splitfed-v1", ["splitfed-v1:cut=3", "splitfed-v1:cut=4"]),
        ("u-shaped:cut=1,tail=2", ["u-shaped:cut=2,tail=2"]),
        ("local-loss:cut=4", []),
        ("fedavg", []),
    ],
)
def test_the_cut_of_a_method_that_has_one_is_in_the_built_in_space(method, deeper):
    base = Base(config=TrainConfig(method=method), tiers=[2])
    text = built_in_space(base.config, make_method(method), base.tiers, parse_limits(["ssim<=0.4"]), 5)
    space = within(parse_space(text, "built in"), base)
    assert space.train.get("method", (method,)) == (method, *deeper)


@pytest.mark.parametrize("method", ["dtfl", "fedavg", "splitfed-v1", "dtfl-full"])
def test_the_built_in_space_is_one_and_holds_every_default(method):
    base = Base(config=TrainConfig(method=method), tiers=[1, 2, 3])
    limits = parse_limits(["ssim<=0.4", "epsilon-labels<=3", "epsilon-weights<=8", "epsilon-smashed<=50"])
    text = built_in_space(base.config, make_method(method), base.tiers, limits, 5)
    space = within(parse_space(text, "built in"), base)
    points, left_out = first_points(space)
    assert all(space.holds(point) for point in points)
    # Only those without a default strength are left out.
    assert {line.partition(" ")[0] for line in left_out} <= {"dp-activations", "dp-weights", "pixel-dp"}


def test_a_defense_in_shallow_tiers_alone_is_a_point_that_trains():
    """The built-in space has such points where there are several tiers."""
    base = Base(config=TrainConfig(), tiers=[1, 2, 3, 4])
    method = make_method("dtfl")
    text = built_in_space(base.config, method, base.tiers, parse_limits(["ssim<=0.4"]), 5)
    space = within(parse_space(text, "built in"), base)
    untouched = first_points(space)[0][0]
    point = {**untouched, "activations": "micro-aggregation", "micro-aggregation.k": 5, "micro-aggregation@tier": "<=2"}
    assert space.holds(point)
    assert config_of(space, point, base).defense == ["micro-aggregation:k=5@tier<=2"]
    assert any("gaussian-noise (sd 0.05-4, tiers all|<=2|<=2 / >=3)" in line for line in in_words(space))
    alone = built_in_space(base.config, method, [2], parse_limits(["ssim<=0.4"]), 5)
    assert "@tier" not in str(parse_space(alone, "built in").further_dimensions({"activations": "gaussian-noise"}))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[[defense]]", "[[defence]]", "did you mean 'defense'"),
        ('"gaussian-noise"', '"gausian-noise"', "did you mean 'gaussian-noise'"),
        ("settings = { sd", "settings = { sigma", "unknown setting"),
        ("high = 4.0", "high = 0.01", "is not below high"),
        ("low = 0.05", "low = -1.0", "begins above 0"),
        ("share = [0.1, 0.5]", "share = [0.1, 7]", "refused"),
        ("share = [0.1, 0.5]", "share = []", "settings.share"),
        ('["int8"]', '["int9"]', "wire"),
        ("wire =", "dataset =", "unknown key"),
        ("wire =", "wyre =", "did you mean 'wire'"),
        ('wire = ["int8"]', 'assume = ["secure-aggregation"]', "unknown key"),
        ('[">=2"]', '[">=9"]', "leave none of the tiers"),
        ('[">=2"]', '["two"]', "expected all, or a condition"),
        ('name = "top-k"', 'name = "gaussian-noise"', "refused|twice|unknown setting"),
        ('name = "top-k"', 'name = "os:system"', "installed defenses only"),
        ('scale = "log"', 'scale = "ln"', "refused"),
        ('scale = "log"', "scale = [[[[[[[[[", "no TOML"),
    ],
)
def test_a_space_that_declares_what_cannot_be_chosen_is_refused_in_one_line(old, new, says):
    assert old in TEXT
    with pytest.raises(InputError, match=says) as caught:
        space_of_text(TEXT.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_proposals_are_points_are_new_and_depend_on_the_seed_alone():
    space, rules = space_of_text(), Rules(limits=parse_limits(["ssim<=0.4"]))
    asked = [next_points(space, [], rules, count=4, batch=batch, seed=0, is_new=lambda _: True) for batch in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]
    assert all(space.holds(point) for point in asked[0])
    assert next_points(space, [], rules, count=4, batch=0, seed=0, is_new=lambda _: False) == []

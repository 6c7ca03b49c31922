import pytest
import tomli_w

from dtfl_private.choosing.built_in_space import built_in_space
from dtfl_private.choosing.limits import parse_limits
from dtfl_private.choosing.points import Base, config_of, first_points, within, without_defenses
from dtfl_private.choosing.sampler import next_points
from dtfl_private.choosing.space import DefenseChoice, defense_text, in_words, parse_space, space_document
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
    assert defense_text(choice, {"gaussian-noise@tier": "<=2"}) == "gaussian-noise:sd=0.5@tier<=2"
    assert defense_text(choice, {"gaussian-noise@tier": "all"}) == "gaussian-noise:sd=0.5"


@pytest.mark.parametrize("method", ["dtfl", "fedavg", "splitfed-v1", "dtfl-full"])
def test_the_built_in_space_is_one_and_holds_every_default(method):
    base = Base(config=TrainConfig(method=method), tiers=[1, 2, 3])
    limits = parse_limits(["ssim<=0.4", "epsilon-labels<=3", "epsilon-weights<=8", "epsilon-smashed<=50"])
    text = built_in_space(base.config, make_method(method), base.tiers, limits)
    space = within(parse_space(text, "built in"), base)
    points, left_out = first_points(space)
    assert all(space.holds(point) for point in points)
    # Only those without a default strength are left out.
    assert {line.partition(" ")[0] for line in left_out} <= {"dp-activations", "dp-weights", "pixel-dp"}


def test_a_defense_in_shallow_tiers_alone_is_a_point_that_trains():
    """The built-in space has such points where there are several tiers."""
    base = Base(config=TrainConfig(), tiers=[1, 2, 3, 4])
    method = make_method("dtfl")
    text = built_in_space(base.config, method, base.tiers, parse_limits(["ssim<=0.4"]))
    space = within(parse_space(text, "built in"), base)
    untouched = first_points(space)[0][0]
    point = {**untouched, "activations": "micro-aggregation", "micro-aggregation.k": 5, "micro-aggregation@tier": "<=2"}
    assert space.holds(point)
    assert config_of(space, point, base).defense == ["micro-aggregation:k=5@tier<=2"]
    assert any("gaussian-noise (sd 0.05-4, tiers all|<=2)" in line for line in in_words(space))
    alone = built_in_space(base.config, method, [2], parse_limits(["ssim<=0.4"]))
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

"""By which attacks trials and fresh audits are judged."""

import pytest

from dtfl_private.attacking.ladder import ladder_of
from dtfl_private.choosing.limits import parse_limits
from dtfl_private.choosing.rungs import LEFT_OUT, LINEAR, fresh_attacks, search_attacks
from dtfl_private.experiments.setup.named_plugins import make_method
from dtfl_private.plugins.installed import installed

OF_RECORDS = ["membership-auc<=0.6", "label-accuracy<=0.5", "attribute-accuracy<=0.6"]
LIMITS = parse_limits(["ssim<=0.4", "token-accuracy<=0.2", *OF_RECORDS])


@pytest.mark.parametrize("name", installed("method"))
def test_every_attack_of_a_methods_ladder_judges_it_but_those_that_are_left_out_by_name(name):
    method = make_method(name)
    whole = method.full_tier
    ladder = {one for names in ladder_of(method, whole=whole).values() for one in names}
    quick, thorough = search_attacks(LIMITS, [(method, whole)])
    fresh = fresh_attacks(LIMITS, method, whole=whole, input_shape=(1, 16, 16))
    for found in (quick, thorough, fresh):
        names = {text.partition(":")[0].replace(LINEAR, "decoder") for text in found}
        assert names == ladder - LEFT_OUT
        assert names


def test_labels_that_stay_with_a_client_are_sought_in_the_gradients_that_it_returns():
    limits = parse_limits(["label-accuracy<=0.5"])
    method = make_method("u-shaped")
    assert "label-matching" in search_attacks(limits, [(method, False)])[1]
    assert "label-matching" in fresh_attacks(limits, method, whole=False, input_shape=(1, 16, 16))


def test_decoders_of_the_fresh_audit_have_steps_by_the_size_of_images():
    dtfl, shapes = make_method("dtfl"), ((1, 8, 8), (1, 28, 28))
    steps = [fresh_attacks(LIMITS, dtfl, whole=False, input_shape=shape)[0] for shape in shapes]
    assert steps == ["decoder:size=small,steps=300", "decoder:size=small,steps=920"]

from dtfl_private.plugins.registry import create
from dtfl_private.privacy.compatibility import exclusions


def excluded(name: str, *others: str) -> list[str]:
    return exclusions(create("defense", name), [create("defense", other) for other in others])


def test_what_is_refused_together_is_listed_on_both_sides():
    assert excluded("distance-correlation", "dp-weights", "gaussian-noise") == ["dp-weights"]
    assert excluded("dp-weights", "distance-correlation", "label-rr") == [
        *("distance-correlation", "batch norm", "bf16", "several local epochs")
    ]


def test_an_order_that_is_refused_is_said_as_such():
    assert excluded("quantize", "gaussian-noise") == ["gaussian-noise after it"]
    assert excluded("gaussian-noise", "quantize") == ["quantize before it"]


def test_a_defense_with_a_guarantee_is_not_given_twice():
    assert excluded("label-rr", "label-rr") == ["itself"]
    assert excluded("gaussian-noise", "gaussian-noise", "identity") == []

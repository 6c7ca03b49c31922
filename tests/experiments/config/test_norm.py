from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import make_config


def test_automatic_norm_is_batch_norm_and_a_named_one_itself():
    assert [resolved_norm(make_config({"norm": norm})) for norm in ("auto", "batch", "group")] == [
        "batch",
        "batch",
        "group",
    ]

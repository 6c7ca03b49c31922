"""Results of attacks as reports get them."""

from typing import Any

from dtfl_private.leakage.results.result import Result


def made(**values: Any) -> Result:
    value = values.setdefault("value", 0.5)
    given = {
        "tier": 1,
        "cut": [16, 28, 28],
        "source": "decoder",
        "metric": "ssim",
        "ci_low": value - 0.1,
        "ci_high": value + 0.2,
        "n": 100,
        "seeds": 3,
        "adaptive": True,
    }
    return Result.model_validate({**given, **values})

"""The space for who declares none: the built-in defenses over the strengths that matter, tiers, and the wire."""

from collections.abc import Sequence

from dtfl_private.attacking.base import LabelInference
from dtfl_private.choosing.defense_choice import ALL
from dtfl_private.choosing.limits import Limit, aims_of
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.plugins.specification import canonical, with_settings
from dtfl_private.training.method import Method

_HEAD = """\
# What `dtfl-private tune` may choose: one defense of each slot or none, and a value of each key below [train].
# Ranges are { low = ..., high = ..., scale = "lin" or "log" }; lists are choices. The values of the configuration
# itself are always among the choices of [train].
"""

# Of smashed data: defenses whose defaults lie within their ranges, so that each is tried as it is given. The two that
# hide most may also act in shallow tiers alone, which leak most, or with a strength of its own there.
_ACTIVATIONS = """
[[defense]]
name = "gaussian-noise"
settings = {{ sd = {{ low = 0.05, high = 4.0, scale = "log" }} }}
{where}
[[defense]]
name = "micro-aggregation"
settings = {{ k = [2, 3, 5, 8] }}
{where}
[[defense]]
name = "laplace-noise"
settings = {{ sd = {{ low = 0.05, high = 4.0, scale = "log" }} }}

[[defense]]
name = "learned-noise"
settings = {{ sd = {{ low = 0.05, high = 4.0, scale = "log" }}, reward = {{ low = 0.01, high = 0.3, scale = "log" }} }}

[[defense]]
name = "dropout"
settings = {{ p = {{ low = 0.1, high = 0.9 }} }}

[[defense]]
name = "top-k"
settings = {{ share = {{ low = 0.01, high = 0.3, scale = "log" }} }}

[[defense]]
name = "quantize"
settings = {{ bits = [4, 8] }}

[[defense]]
name = "patch-shuffle"
settings = {{ patch = [2, 4, 8] }}

[[defense]]
name = "batch-patch-shuffle"
settings = {{ patch = [2, 4, 8], share = {{ low = 0.1, high = 1.0 }} }}

[[defense]]
name = "channel-shuffle"

[[defense]]
name = "distance-correlation"
settings = {{ alpha = {{ low = 0.1, high = 0.95 }} }}

[[defense]]
name = "adversarial-decoder"
settings = {{ strength = {{ low = 0.1, high = 5.0, scale = "log" }} }}

[[defense]]
name = "information-bottleneck"
settings = {{ beta = {{ low = 0.001, high = 0.3, scale = "log" }}, sigma = {{ low = 0.1, high = 2.0, scale = "log" }} }}

[[defense]]
name = "fisher-noise"
settings = {{ mse = {{ low = 0.01, high = 1.0, scale = "log" }} }}
"""

# With a proof that counts for a limit on epsilon.
_PROVEN = """
[[defense]]
name = "dp-activations"
settings = { epsilon = { low = 5.0, high = 500.0, scale = "log" } }

[[defense]]
name = "pixel-dp"
settings = { epsilon = { low = 50.0, high = 20000.0, scale = "log" } }
"""

_LABELS = """
[[defense]]
slot = "labels"
name = "label-rr"
settings = { epsilon = { low = 0.5, high = 5.0, scale = "log" } }
"""

_WEIGHTS = """
[[defense]]
slot = "weights"
name = "update-noise"
settings = { sd = { low = 0.0003, high = 0.03, scale = "log" } }

[[defense]]
slot = "weights"
name = "update-clip"
settings = { norm = { low = 0.1, high = 10.0, scale = "log" } }

[[defense]]
slot = "weights"
name = "dp-weights"
settings = { epsilon = { low = 1.0, high = 50.0, scale = "log" } }
"""

# Without a tier in which clients keep the whole network: attacks on whole updates take as long as all others.
_TIERED = ("dtfl", "dtfl-shared:full=false")


# Deeper cuts that are tried besides the configuration's own.
MOST_CUTS = 3


def built_in_space(
    config: TrainConfig, method: Method, tiers: Sequence[int], limits: Sequence[Limit], modules: int
) -> str:
    """Return the space for a configuration and limits, as the text of a TOML file.

    Args:
        config: that is to be changed.
        method: its own.
        tiers: that its clients may be in, ascending.
        limits: what matters: labels and weights are protected only where a limit is about them.
        modules: that the network has.
    """
    guaranteed = {limit.guaranteed for limit in limits}
    parts = [_HEAD]
    if method.cuts:
        parts.append(_ACTIVATIONS.format(where=_where(tiers)))
    if "smashed" in guaranteed:
        parts.append(_PROVEN)
    if "labels" in guaranteed or LabelInference in aims_of(limits):
        parts.append(_LABELS)
    if "weights" in guaranteed or not method.cuts:
        parts.append(_WEIGHTS)
    return "".join([*parts, _train(config, method, tiers, modules)])


def _where(tiers: Sequence[int]) -> str:
    """Return the key of a defense that acts in all tiers, in the shallower half, or differently in both halves."""
    if len(tiers) < 2:
        return ""
    shallow, deep = f'"<={tiers[len(tiers) // 2 - 1]}"', f'">={tiers[len(tiers) // 2]}"'
    return f'tiers = ["{ALL}", {shallow}, [{shallow}, {deep}]]\n'


def _train(config: TrainConfig, method: Method, tiers: Sequence[int], modules: int) -> str:
    lines = ["\n[train]\n"]
    if method.tiered and len(tiers) > 1:
        # Conditions that leave fewer and fewer tiers, at most three besides all.
        conditions = ", ".join(f'">={tier}"' for tier in tiers[1:4])
        lines.append(f"tiers = [{conditions}]\n")
    if method.cuts:
        lines.append('wire = ["int8", "int4"]\n')
    if canonical("method", config.method).partition(":")[0] in ("dtfl", "dtfl-shared"):
        lines.append(f"method = [{_quoted(_TIERED)}]\n")
    elif deeper := _deeper_cuts(config, method, modules):
        lines.append(f"method = [{_quoted(deeper)}]\n")
    return "".join(lines) if len(lines) > 1 else ""


def _deeper_cuts(config: TrainConfig, method: Method, modules: int) -> list[str]:
    """Return a method that cuts the network at one place as it is with deeper cuts; none of a method without a cut."""
    own = getattr(method, "cut", None)
    if own is None:
        return []
    deeper = range(own + 1, modules - method.held_tail)
    return [with_settings("method", config.method, {"cut": cut}) for cut in deeper[:MOST_CUTS]]


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)

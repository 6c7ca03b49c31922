"""What an attack reconstructs in a sanity check: of inputs, or of an update, that the check itself has sent."""

from functools import partial

from torch import Tensor

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.base import Attack, Reconstruction, name_of
from dtfl_private.attacking.cache_keys import SharedResults
from dtfl_private.attacking.crashes import crashes_named
from dtfl_private.attacking.evidence import Evidence
from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.attacking.result_cache import ResultCache, code_of, digest_of, digest_of_auxiliary
from dtfl_private.attacking.view import View
from dtfl_private.leakage.image_metrics import ssim
from dtfl_private.protocol.adversaries import ADVERSARIES
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import threads


def reached_ssim(
    attack: Attack,
    evidence: Evidence,
    truth: Tensor,
    *,
    check: str,
    label: str,
    config: AttackConfig,
    cores: int,
    cache: ResultCache,
    progress: Callback,
) -> float:
    """Return the mean SSIM of what an attack gets from a check's evidence; cached.

    Args:
        attack: a reconstruction.
        evidence: what the check has sent.
        truth: the images (N, C, H, W) of it, in [0, 1].
        check: name of the check, which tells its cached guesses and its chance from another's.
        label: of the job, for people.
        config: of the attack.
        cores: threads to compute with.
        cache: of guesses.
        progress: told how far it is.
    """
    assert isinstance(attack, Reconstruction)
    progress.job_started(label)
    sent = {
        "seen": digest_of(evidence.round.seen),
        "auxiliary": None if evidence.auxiliary is None else digest_of_auxiliary(evidence.auxiliary),
    }
    view = View(
        evidence,
        adversary=ADVERSARIES["server-honest-but-curious"],
        knows=Knowledge.parse(config.aux).kind,
        attack=name_of(attack),
        seed=0,
        progress=partial(progress.job_advanced, label),
        keep=SharedResults(cache, {"check": check, **sent}),
    )
    what = {check: repr(attack), "code": code_of(attack), **sent}
    with crashes_named(f"attack {label}"), isolated(0, check, name_of(attack)), threads(cores):
        guess, cached = cache.get_or_make(what, lambda: {"guess": attack.reconstruct(view)})
        reached = float(ssim(guess["guess"], truth).mean())
    progress.job_finished(label, cached=cached)
    return reached

"""What guesses of attacks depend on, and so under what they are cached; and what attacks share while they guess."""

import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import version

from torch import Tensor

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.result_cache import ResultCache, code_of, digest_of, digest_of_auxiliary
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victim_rounds import Played


def run_key(opened: OpenedRun, config: AttackConfig, auxiliary: Auxiliary | None) -> dict[str, object]:
    """Return what every guess on a run depends on, in addition to attack, tier, seed and what is seen."""
    digest = hashlib.sha256()
    for state in (opened.before.weights.model, opened.after.weights.model):
        for name, tensor in sorted(state.items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return {
        "version": version("dtfl-private"),
        "model": digest.hexdigest(),
        "data": opened.prepared.data_sha256,
        "config": opened.prepared.config.model_dump_json(exclude={"workers", "executor", "data_dir", "download"}),
        "aux": config.aux,
        "auxiliary": None if auxiliary is None else digest_of_auxiliary(auxiliary),
    }


def guess_key(job: Job, seed: int, played: Played) -> Mapping[str, object] | None:
    """Return what else a guess depends on; None if that cannot be written down, so that it is not cached."""
    code = code_of(job.chosen.attack)
    if code is None:
        return None
    return {
        "code": code,
        "seen": digest_of([*played.victims.seen, *played.earlier]),
        "guess": job.chosen.text,
        "adversary": job.chosen.adversary.name,
        "tier": job.tier,
        "seed": seed,
        "victims": played.victims.records.tolist(),
    }


def shared_key(job: Job, seed: int, played: Played | None) -> Mapping[str, object]:
    """Return what results that attacks share depend on: at one tier with one seed, of the same messages.

    Attacks on weights that only they send, or lead clients to, share nothing.
    """
    sent = None if played is None else played.tampering
    planted = sent is not None and (bool(sent.weights) or sent.answer is not None)
    return {
        "tier": job.tier if played is None else played.tier,
        "seed": seed,
        "planted": job.chosen.text if planted else None,
        "seen": None if played is None else digest_of([*played.victims.seen, *played.earlier]),
    }


class SharedResults:
    """Results that attacks share, cached by name; see `dtfl_private.attacking.callbacks.Keep`.

    Args:
        cache: where they lie.
        key: what all of them depend on; see `shared_key`.
    """

    def __init__(self, cache: ResultCache, key: Mapping[str, object]) -> None:
        self._cache, self._key = cache, key

    def __call__(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """Return the tensors of a name, made if they are not there."""
        key = {"kept": name, **self._key}
        found = self._cache.find(key)
        return self._cache.store(key, make()) if found is None else found

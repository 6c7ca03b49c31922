"""Before a client takes part: what its own messages would leak, at each tier that it may be asked to hold.

Nothing leaves the machine. A round is played with the client's own images under the agreed configuration, and the
server's view of it is attacked as `audit` does it, quickly: a lower bound, never that it is safe.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.attacking.runner import attack
from dtfl_private.choosing.linear_decoder import LinearDecoder
from dtfl_private.data.dataset import ImageDataset
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.train import train
from dtfl_private.leakage.results.result import Result
from dtfl_private.protection.base import Defense
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.executor_choice import LOCAL
from dtfl_private.verdicts.findings import TierVerdict
from dtfl_private.verdicts.verdict import tier_verdicts

VICTIMS = 32
AUXILIARY = 1000
# Of the client's images: more make the round longer, and the attacks no better.
MOST_IMAGES = 1000

# One client alone for one round: nothing comes and goes, and no budget over several rounds limits it.
ALONE = {
    "clients": 1,
    "fraction": 1.0,
    "rounds": 1,
    "partition": "iid",
    "absent": 0.0,
    "leave": 0.0,
    "join": 0.0,
    "dropout": 0.0,
    "deadline": None,
    "train_avoids": [],
    "validation": 0.0,
    "validation_avoids": [],
    "judged_on": "test",
    "target_accuracy": None,
    "stop_at_target": False,
    "exposure_budget": None,
    "leakage_from": None,
    "tier_leakage": None,
    "record_rounds": [],
    "record_clients": [],
    "workers": 1,
    "executor": LOCAL,
    "defense": [],
}


@dataclass(frozen=True, kw_only=True)
class SelfAudit:
    """What a client's messages would leak.

    Attributes:
        verdicts: what each tier comes to.
        results: of the attacks.
        disclosed: sentences on each kind of data that a round would send.
        left_out: what could not be tried, and why.
    """

    verdicts: Sequence[TierVerdict]
    results: Sequence[Result]
    disclosed: Sequence[str]
    left_out: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """A line for each tier, and those on what a round would send."""
        tiers = [f"tier {verdict.tier}: {verdict.level}. {verdict.sentence}" for verdict in self.verdicts]
        untried = [f"not tried: {line}" for line in self.left_out]
        return [*tiers, *(f"in a round: {line}" for line in self.disclosed), *untried]


def self_audit(
    config: TrainConfig,
    dataset: ImageDataset,
    folder: Path,
    *,
    defenses: Sequence[Defense],
    attacks: Sequence[str] | None = None,
    victims: int = VICTIMS,
    aux_images: int = AUXILIARY,
    callbacks: Sequence[Callback] = (),
) -> SelfAudit:
    """Return what a client's own messages would leak in a round, at each tier that the configuration allows.

    Args:
        config: that the client would agree to.
        dataset: the client's images for training; those for testing are what the attacker knows, 16 or more.
        folder: for what is made on the way: a run folder with the attacks in it; it must be new or empty.
        defenses: the client's, calibrated for the real run: in this one round they would otherwise be too weak.
        attacks: as ``--attack`` names them, as ``decoder``; what cannot run here is left out. None for the best linear
            reconstruction, which takes seconds a tier: networks reconstruct better, and take minutes.
        victims: images that are attacked at each tier.
        aux_images: images that the attacker learns from, at most.
        callbacks: hear how the attacks proceed.

    Raises:
        InputError: too few images, a folder in use, or a configuration of which no single round can be played.
        RunError: training or an attack failed.
    """
    fewer = min(len(dataset.train_labels), config.max_train_images or MOST_IMAGES, MOST_IMAGES)
    alone = config.model_copy(update={**ALONE, "max_train_images": fewer})
    run = train(alone, out=folder, dataset=dataset, defenses=defenses)
    how = make_attack_config(
        attacks=None if attacks is None else tuple(attacks),
        tiers="all",
        replay=True,
        victims=min(victims, fewer),
        aux_images=aux_images,
        seeds=1,
        effort="quick",
        where_applicable=True,
        device=config.device,
    )
    objects = [LinearDecoder()] if attacks is None else None
    found = attack(run, how, attacks=objects, dataset=dataset, defenses=defenses, callbacks=callbacks)
    return SelfAudit(
        verdicts=tier_verdicts(found.results, valid=True),
        results=found.results,
        disclosed=[*dict.fromkeys(entry["sentence"] for entry in run.records[-1]["privacy"])],
        left_out=[f"{one.attack}{f' at tier {one.tier}' if one.tier else ''}: {one.why}" for one in found.left_out],
    )

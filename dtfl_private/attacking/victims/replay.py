"""A finished run opened again: what it was set up from, and its last round, ready to be played once more."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.partition import dealt
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.checkpoint import load_round
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.provenance import (
    recorded_data,
    recorded_images,
    recorded_run,
    with_all_images,
)
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import NO_OBJECTS, RunObjects
from dtfl_private.models.cutting.staged import snapshot
from dtfl_private.models.heads import make_heads
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, allowance
from dtfl_private.privacy.budget import spent_clients
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import isolated
from dtfl_private.runtime.device import device_or_cpu
from dtfl_private.runtime.executor_choice import LOCAL
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.estimates import Observation
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_round import Presence, plan_round, schedule_round
from dtfl_private.training.method import only_tier
from dtfl_private.training.recording import Recorder
from dtfl_private.training.round_record import Record
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import ClientTask


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """A finished run with the states around its last round.

    Attributes:
        folder: where it lies.
        prepared: its data, network, defenses and settings, as `train` had them.
        before: the state that the last round began with.
        after: the state that it ended with.
        plan: of the last round.
        records: of all rounds.
        objects: what `train` was given as objects.
        cut_shapes: shape of one record's activations in every tier of the network, also in those that the run leaves
            out where a malicious server may name any.
        spare_heads: untrained auxiliary heads of the tiers that the run leaves out; nothing where the method has none.
        trained_on: its device. Rounds are played again there, or on the CPU if this machine has none.

    In the tier of all modules, the only one where the method does not cut the network, the shape is that of the logits.
    """

    folder: RunFolder
    prepared: Prepared
    before: FederatedState
    after: FederatedState
    plan: RoundPlan
    records: Sequence[Record]
    objects: RunObjects
    cut_shapes: Mapping[int, tuple[int, ...]]
    spare_heads: Mapping[int, nn.Module]
    trained_on: str

    @property
    def notes(self) -> list[str]:
        """Lines for the user: of rounds that are played again elsewhere than where they were trained."""
        here = self.prepared.config.device
        if here == self.trained_on:
            return []
        return [f"the run was trained on {self.trained_on}, which is not here: rounds are played again on {here}"]

    @property
    def tiers(self) -> list[int]:
        """The tiers of the run, ascending; all can be attacked."""
        return [tier for tier in self.prepared.settings.schedule.table.tiers_M.tolist() if tier in self.cut_shapes]

    @property
    def cut_tiers(self) -> list[int]:
        """The tiers of the run in which clients send activations, ascending."""
        return [tier for tier in self.tiers if tier != self.whole_tier]

    @property
    def whole_tier(self) -> int | None:
        """The tier in which a client keeps the whole network and sends weights alone, if the run has it."""
        table = self.prepared.settings.schedule.table
        return table.modules if table.modules in table.tiers_M else None

    @property
    def tasks(self) -> Sequence[ClientTask]:
        """The clients' parts of the last round."""
        return self.prepared.method.tasks(self.plan, self.before)

    @property
    def method_name(self) -> str:
        """The training method without its settings, as users write it."""
        return self.prepared.config.method.partition(":")[0]

    @property
    def local_loss(self) -> bool:
        """Whether a client can compute a loss without the server's half: by an auxiliary head, or the whole network."""
        return self.prepared.method.has_heads or not self.prepared.method.cuts

    @property
    def sends_once(self) -> bool:
        """Whether a client trains first, and then sends each record once; otherwise it sends one in every epoch."""
        return self.prepared.worker.defense.releases_apart or self.prepared.method.timing.trains_first

    @property
    def vocabulary(self) -> Vocabulary | None:
        """What the numbers of the run's sequences mean; None of a run on images."""
        tokens = self.prepared.data.tokens
        return None if tokens is None else replace(tokens, tokenizer=self.prepared.tokenizer)

    @property
    def heads(self) -> Mapping[int, nn.Module]:
        """An auxiliary head for every tier of the network."""
        return {**self.spare_heads, **self.prepared.worker.heads}

    @property
    def weights(self) -> GlobalWeights:
        """The global weights that the last round began with, with a head for every tier of the network."""
        spare = {tier: snapshot(head) for tier, head in self.spare_heads.items()}
        return replace(self.before.weights, heads={**spare, **self.before.weights.heads})

    def cut_at(self, tier: int) -> "OpenedRun":
        """Return the same last round as if the network had been cut at another tier: for checks of attacks only."""
        worker, schedule = self.prepared.worker, self.prepared.settings.schedule
        network = analyse(worker.model, tuple(worker.train_images.shape[1:]), worker.classes, worker.numerics)
        table = replace(network, rows=(only_tier(network, tier),))
        settings = replace(self.prepared.settings, schedule=replace(schedule, table=table))
        shapes = {row.tier: row.cut_shape for row in table.rows}
        return replace(
            self,
            prepared=replace(self.prepared, settings=settings),
            plan=replace(self.plan, tiers_P=np.full_like(self.plan.tiers_P, tier)),
            cut_shapes=shapes,
            spare_heads=_spare_heads(self.prepared, shapes),
        )

    def recorder(self) -> Recorder:
        """Return what plays clients' rounds once more, in any tier of the network."""
        worker = replace(self.prepared.worker, heads=self.heads)
        return Recorder(worker, sends_weights=self.prepared.method.sends_weights)


def open_run(
    run: Run | RunFolder | Path | str,
    *,
    data_dir: Path | str | None = None,
    objects: RunObjects = NO_OBJECTS,
    allow_plugins: Iterable[str] = (),
) -> OpenedRun:
    """Open a run, and check that its last round can be played again exactly as it was.

    Args:
        run: a run, or where its folder is.
        data_dir: where the run's data are now, if they have moved.
        objects: what `train` was given as objects; the weights of a network do not matter.
        allow_plugins: modules whose objects the run's configuration may name (``package.module:function``). Those that
            the configuration of a `Run` allows are.

    Raises:
        InputError: no run folder, one whose configuration names an object that is not allowed, or one that belongs to
            other data or objects.
        RunError: the run has no finished round, or is damaged.
    """
    folder = run.folder if isinstance(run, Run) else run if isinstance(run, RunFolder) else RunFolder(path=Path(run))
    allowed = allowance(allow_plugins) | (run.config.allowed if isinstance(run, Run) else NOTHING_ALLOWED)
    config = read_run_config(folder, allowed=allowed)
    prepared = _prepare_again(folder, config, data_dir, objects)
    records, _ = read_records(folder)
    if not records:
        raise InputError(f"'{folder.path}' has no finished round yet: train it first (--resume --out {folder.path})")
    before, after = _states(folder, prepared, len(records))
    if records[-1].get("clock") == "wall":
        plan = _plan_as_recorded(prepared, before, records[-1])
    else:
        plan = _last_plan(prepared, before, len(records))
    _require_same_round(plan, records[-1], folder)
    worker = prepared.worker
    table = analyse(worker.model, tuple(worker.train_images.shape[1:]), worker.classes, worker.numerics)
    # Where the server does not name the tier, there are no others than the run's own.
    own = prepared.settings.schedule.table.rows
    rows = own if "chooses-tier" in prepared.method.hides else (*table.rows, *own)
    cut_shapes = {row.tier: row.cut_shape for row in rows}
    return OpenedRun(
        folder=folder,
        prepared=prepared,
        before=before,
        after=after,
        plan=plan,
        records=records,
        objects=objects,
        cut_shapes=cut_shapes,
        spare_heads=_spare_heads(prepared, cut_shapes),
        trained_on=config.device,
    )


def _prepare_again(
    folder: RunFolder, config: TrainConfig, data_dir: Path | str | None, objects: RunObjects
) -> Prepared:
    """Return what a run was set up from, which must be what it was, but for a device that is not here."""
    if data_dir is not None:
        config = config.model_copy(update={"data_dir": Path(data_dir)})
    config = with_all_images(config, folder)
    here = {"workers": 1, "executor": LOCAL, "device": device_or_cpu(config.device)}
    prepared = prepare(config.model_copy(update=here), objects)
    if not prepared.method.sends:
        raise InputError(f"'{folder.path}' was trained by {config.method}, whose clients send nothing to attack")
    if recorded_run(folder) is not None:
        _require_parts(folder, config, prepared)
    elif recorded_data(folder) != prepared.data_sha256:
        raise InputError(f"run folder '{folder.path}' was trained on other data than are there now: see data_dir")
    return prepared


def _require_parts(folder: RunFolder, config: TrainConfig, prepared: Prepared) -> None:
    """Check that the clients of a deployed run had the parts of the data set that is here: its server saw none.

    Raises:
        InputError: they had images of their own, or the test images are others.
    """
    if recorded_data(folder) != dealt(config).dataset.without_training().fingerprint():
        raise InputError(f"run folder '{folder.path}' was judged on other images than are there now: see data_dir")
    if recorded_images(folder) != [len(part) for part in prepared.worker.parts]:
        raise InputError(
            f"the clients of '{folder.path}' trained on images of their own, which are not here: they can see what "
            "they give away by `dtfl-private deploy join --self-audit`"
        )


def _states(folder: RunFolder, prepared: Prepared, last: int) -> tuple[FederatedState, FederatedState]:
    """Return the states that the last round began and ended with."""
    initial, schedule = prepared.initial, prepared.settings.schedule
    before = load_round(folder.checkpoint, last - 1, initial, schedule) if last > 1 else initial
    return before, load_round(folder.checkpoint, last, initial, schedule)


def _last_plan(prepared: Prepared, before: FederatedState, last: int) -> RoundPlan:
    retired = spent_clients(before.ledgers, prepared.settings.privacy)
    _, plan = schedule_round(before.schedule, prepared.settings.schedule, last, retired)
    return plan


def _plan_as_recorded(prepared: Prepared, before: FederatedState, record: Record) -> RoundPlan:
    """Return the plan of a round whose tiers were named by what was measured: whole rounds in the recorded tiers."""
    settings = replace(prepared.settings.schedule, fraction=1.0)
    clients_P = np.array(record["participants"], dtype=np.int64)
    present_K = np.zeros(len(settings.images_K), dtype=np.bool_)
    present_K[clients_P] = True
    presence = Presence(present_K=present_K, probes=Observation.of_nobody())
    plan = plan_round(before.schedule, settings, record["round"], (), presence).plan
    return replace(
        plan,
        tiers_P=np.array([record["tiers"][str(client)] for client in clients_P.tolist()], dtype=np.int64),
        dropped_P=np.isin(clients_P, record["dropped"]),
    )


def _spare_heads(prepared: Prepared, cut_shapes: Mapping[int, tuple[int, ...]]) -> dict[int, nn.Module]:
    """Return untrained auxiliary heads of the tiers that a run leaves out; without heads nothing stands in for them."""
    worker = prepared.worker
    if not prepared.method.has_heads:
        return {tier: nn.Identity() for tier in cut_shapes}
    whole: dict[int, nn.Module] = {tier: nn.Identity() for tier in cut_shapes if tier == len(worker.model)}
    missing = {tier: shape for tier, shape in cut_shapes.items() if tier not in {*worker.heads, *whole}}
    with isolated(worker.seed, "spare heads"):
        spare = make_heads(missing, worker.classes, worker.head_size, worker.model.vocabulary)
    return whole | {tier: head.to(dtype=worker.numerics.weight_dtype) for tier, head in spare.items()}


def _require_same_round(plan: RoundPlan, record: Record, folder: RunFolder) -> None:
    tiers = {str(client): tier for client, tier in zip(plan.clients_P.tolist(), plan.tiers_P.tolist(), strict=True)}
    if tiers != record["tiers"]:
        raise RunError(
            f"the last round of '{folder.path}' cannot be played again: its schedule differs from the recorded one; "
            "was the run made by another version?"
        )

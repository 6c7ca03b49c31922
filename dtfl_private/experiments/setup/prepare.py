"""Setup: from a configuration to all that a run needs; everything is checked, and nothing is written.

load_inputs -> build_network -> cost_table -> over_places -> placed -> calibrated -> run_devices -> method_schedule
-> weighed_classes -> worker_setup -> Prepared
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.data.description import DataDescription
from dtfl_private.data.registration import Registration, register
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.client_devices import traces_notes
from dtfl_private.experiments.setup.described_data import described
from dtfl_private.experiments.setup.device_settings import memory_notes, run_devices
from dtfl_private.experiments.setup.exposure_by_audit import exposure_notes
from dtfl_private.experiments.setup.frozen_notes import frozen_notes
from dtfl_private.experiments.setup.held_data import HeldData
from dtfl_private.experiments.setup.loaded_inputs import RunInputs, held_inputs, load_inputs
from dtfl_private.experiments.setup.named_parts import NamedParts, named_parts
from dtfl_private.experiments.setup.network import CostedNetwork, build_network
from dtfl_private.experiments.setup.next_token_runs import next_token_notes
from dtfl_private.experiments.setup.privacy_settings import calibrated, over_places, placed, privacy_settings
from dtfl_private.experiments.setup.resolved_config import resolved_config
from dtfl_private.experiments.setup.run_costs import RunCosts, cost_table
from dtfl_private.experiments.setup.run_objects import NO_OBJECTS, RunObjects
from dtfl_private.experiments.setup.schedule_settings import method_schedule
from dtfl_private.experiments.setup.weighed_classes import weighed_classes, with_traffic
from dtfl_private.experiments.setup.worker_setup import plateau_settings, worker_setup
from dtfl_private.models.cutting.staged import snapshot
from dtfl_private.models.norms import norms_of
from dtfl_private.protection.base import name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ChannelSums, ClassCounts
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.device import choose_workers
from dtfl_private.runtime.executor_choice import LOCAL
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.training.judging import JudgedImages
from dtfl_private.training.method import Method
from dtfl_private.training.optimizers import PlateauState
from dtfl_private.training.round import RoundSettings
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.worker import WorkerSetup


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that has been checked completely and has written nothing yet.

    ``data`` is what must be known of the data to use the network; ``tokenizer`` is the text of tokenizer.json, of runs
    on texts; ``statistics`` is what clients say of their images before round 1; ``notes`` are lines for the user.
    """

    config: TrainConfig
    method: Method
    settings: RoundSettings
    initial: FederatedState
    worker: WorkerSetup
    workers: int
    data_sha256: str
    data: DataDescription
    tokenizer: str | None = None
    statistics: Sequence[ChannelSums | ClassCounts] = ()
    notes: Sequence[str] = ()


def prepare(config: TrainConfig, objects: RunObjects = NO_OBJECTS, held: HeldData | None = None) -> Prepared:
    """Check everything about a run and build what it needs; write nothing.

    Args:
        config: of the run.
        objects: parts of it that a program passes as objects.
        held: what this machine holds of the data, where clients are on machines of their own.

    Raises:
        InputError: something of it is wrong.
    """
    parts = named_parts(config, objects)
    if held is None:
        inputs = load_inputs(config, objects.dataset, pooled=parts.method.pooled)
    else:
        inputs = held_inputs(config, held)
    padding = inputs.dataset.padding if isinstance(inputs.dataset, TokenDataset) else None
    parts = replace(parts, defense=parts.defense.padded_by(padding))
    network = build_network(config, objects.model, parts, inputs.dataset)
    texts = next_token_notes(network.model, parts, inputs, config, held)
    costs = cost_table(config, parts, network, inputs)
    defense = placed(costs.config, over_places(parts.defense, inputs.dataset, network.model), costs.table)
    defense = calibrated(costs.config, defense, inputs.classes, inputs.images_K, costs.table.modules)
    devices = run_devices(
        costs.config,
        parts.method,
        costs.table,
        network.model,
        parts.numerics,
        inputs.dataset.input_shape,
        inputs.classes,
    )
    schedule = method_schedule(
        costs.config, parts.method, costs.table, objects.scheduler, inputs.images_K, defense, devices
    )
    registration = _registration(inputs, defense, parts.method) if held is None else held.registration
    weighed = weighed_classes(costs.config, inputs, defense, parts.method)
    if weighed is not None:
        defense = defense.weighing(weighed.weights)
    worker = worker_setup(costs.config, parts, inputs, network, costs.table, defense, registration.preprocessor)
    settings, initial = _first_round(costs.config, parts.method, network, schedule, worker, registration, inputs)
    workers = choose_workers(config.workers, parts.numerics.device, participants(config))
    if config.executor != LOCAL:
        workers = 1  # of this machine
    return Prepared(
        config=resolved_config(parts, inputs, network, costs, workers),
        method=parts.method,
        settings=settings if weighed is None else with_traffic(settings, weighed),
        initial=initial,
        worker=worker,
        workers=workers,
        data_sha256=inputs.dataset.fingerprint(),
        data=described(inputs.dataset, registration.preprocessor),
        tokenizer=inputs.dataset.tokenizer if isinstance(inputs.dataset, TokenDataset) else None,
        statistics=(*registration.sums, *(weighed.counts if weighed is not None else ())),
        notes=[
            *_notes(parts, inputs, costs, registration, workers),
            *network.model.notes,
            *texts,
            *frozen_notes(network.model),
            *memory_notes(schedule),
            *exposure_notes(schedule),
        ],
    )


def participants(config: TrainConfig) -> int:
    """Return how many clients take part in a round at most."""
    return max(1, round(config.fraction * config.clients))


def _registration(inputs: RunInputs, defense: DefenseChain, method: Method) -> Registration:
    """Return what clients say of their images before round 1; nothing where a defense keeps records apart."""
    apart = [name_of(member) for member in defense if member.facts.keeps_inputs_apart]
    return register(inputs.dataset, inputs.parts, inputs.normalization, apart=apart, central=method.pooled)


def _first_round(
    config: TrainConfig,
    method: Method,
    network: CostedNetwork,
    schedule: ScheduleSettings,
    worker: WorkerSetup,
    registration: Registration,
    inputs: RunInputs,
) -> tuple[RoundSettings, FederatedState]:
    """Return what all rounds share, and the state before the first."""
    privacy, ledgers = privacy_settings(config, method, worker.defense, schedule.images_K)
    judged = JudgedImages(on="test", count=len(worker.test_labels))
    settings = RoundSettings(
        schedule=schedule,
        plateau=plateau_settings(config),
        privacy=replace(privacy, statistics=registration.statistics, next_tokens=network.model.vocabulary is not None),
        registration=registration.traffic,
        norms=norms_of(network.model),
        judged=judged,
        validation=_validation(config, inputs, judged),
    )
    initial = FederatedState(
        round=0,
        weights=GlobalWeights(
            model=snapshot(worker.model),
            heads={tier: snapshot(head) for tier, head in worker.heads.items()},
        ),
        schedule=ScheduleState.start(schedule),
        plateau=PlateauState(lr=config.lr),
        ledgers=ledgers,
        extras=method.initial_extras(worker),
    )
    return settings, initial


def _validation(config: TrainConfig, inputs: RunInputs, judged: JudgedImages) -> JudgedImages | None:
    """Return the validation images, which may be those that a run is judged on."""
    if inputs.validation is None or config.judged_on == "validation":
        return None if inputs.validation is None else judged
    return JudgedImages(on="validation", count=len(inputs.validation.labels), owned=inputs.validation.owned)


def _notes(
    parts: NamedParts, inputs: RunInputs, costs: RunCosts, registration: Registration, workers: int
) -> list[str]:
    """Return the lines for the user: of the data, the workers, the normalisation and the audit."""
    asked = costs.config.workers
    few = []
    if costs.config.executor != LOCAL and (asked or 1) > 1:
        few = [f"workers {asked} are of this machine and not used: executor ray:actors=N says how many a cluster has"]
    elif asked is not None and asked > workers:
        few = [f"{number_of(workers, 'worker')} instead of {asked}: more clients do not train in a round"]
    return [
        *inputs.dataset.notes,
        *traces_notes(costs.config),
        *few,
        *([] if registration.note is None else [registration.note]),
        *([] if parts.audited is None else parts.audited.notes(costs.in_use)),
        *([] if parts.leaking is None else parts.leaking.notes(costs.in_use)),
    ]

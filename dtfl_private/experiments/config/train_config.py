"""The configuration of a run: one frozen value, read from TOML, options and defaults, checked as a whole.

Every field is a key of CONFIG.toml and an option of ``dtfl-private train`` (hyphens and underscores are alike). The
field descriptions are the options' help.
"""

from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from dtfl_private.experiments.config.config_errors import config_error
from dtfl_private.experiments.config.field_kinds import (
    Augmentation,
    Count,
    PositiveShare,
    Profiles,
    Rate,
    RecordedClient,
    RecordedRound,
    Seed,
    Share,
    Speed,
    Tiers,
    Times,
    ValidationShare,
    as_automatic,
    as_budget,
    as_leakage,
    as_leakage_source,
    as_normalization,
    as_nothing,
    as_several,
    as_tiers,
    as_traces,
)
from dtfl_private.experiments.config.plugin_fields import PLUGIN_FIELDS, all_named, named, named_objects
from dtfl_private.models.setting_types import HeadSize
from dtfl_private.numerics import DeviceName, Precision
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed, allowance, require_allowed
from dtfl_private.privacy.ledger import OnBudget
from dtfl_private.protocol.assumptions import AssumptionName
from dtfl_private.protocol.contracts import FirstTier
from dtfl_private.runtime.executor_choice import LOCAL, spelled_executor
from dtfl_private.simulation.clients.drift import DriftKind
from dtfl_private.simulation.clients.profiles import LinkUnit
from dtfl_private.simulation.exposure_budget import Spending
from dtfl_private.training.optimizers import OptimizerName


def _field(group: str, default: Any, description: str) -> Any:
    return Field(default=default, description=description, json_schema_extra={"group": group})


class TrainConfig(BaseModel):
    """All that determines a run, but the folder it is written to.

    Plug-ins may be objects that are named by their module (``package.module:function``). A configuration that stands in
    a Python program allows those that it names; one that `make_config` made of a file's values allows what it is told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _allowed: Allowed = PrivateAttr(default=NOTHING_ALLOWED)

    def model_post_init(self, context: Any) -> None:
        """Settle what this configuration may name: ``context`` is what `make_config` was told, else None."""
        self._allowed = self.named_objects if context is None else context

    def __eq__(self, other: object) -> bool:
        """Whether all values are the same; what they may name is none."""
        return isinstance(other, TrainConfig) and self.model_dump() == other.model_dump()

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and not isinstance(cls.model_fields[str(info.field_name)].default, bool):
            raise ValueError("true and false are no value here")
        return value

    dataset: Annotated[str, named("dataset")] = _field("Data", "digits", "data set; see `dtfl-private list datasets`")
    data_dir: Annotated[Path | None, BeforeValidator(as_nothing)] = _field(
        "Data", None, "folder of the data set's files; by default where the data set looks for itself"
    )
    download: bool = _field("Data", False, "fetch missing files into --data-dir")
    max_train_images: Annotated[Count | None, BeforeValidator(as_nothing)] = _field(
        "Data", None, "train on this many randomly drawn images; by default on all"
    )
    train_avoids: Annotated[list[Seed], BeforeValidator(as_several)] = _field(
        "Data",
        [],
        "seeds, comma-separated, of runs whose training images are none of this run's; needs max_train_images",
    )
    validation: ValidationShare = _field(
        "Data", 0.0, "share of the training images that are held out as validation images, the same for every seed"
    )
    validation_avoids: Annotated[list[Seed], BeforeValidator(as_several)] = _field(
        "Data",
        [],
        "seeds, comma-separated, of runs whose training images are no validation images; needs max_train_images",
    )
    validation_held_by: Literal["server", "clients"] = _field(
        "Data",
        "server",
        "who holds the validation images: server (drawn before images are dealt out, from all of them), or clients "
        "(each keeps back this share of its own)",
    )
    judged_on: Literal["test", "validation"] = _field(
        "Data", "test", "images on which accuracy is measured after each round"
    )
    normalization: Annotated[str, BeforeValidator(as_normalization)] = _field(
        "Data",
        "client-sums",
        "mean and deviation of images: client-sums (each client sends its pixels' count, sum and sum of squares once), "
        "constants (published ones of the data set, or mean=X,std=Y; nothing is sent), pooled (of all clients' pixels "
        "at one place, for comparison)",
    )
    augment: Annotated[list[Augmentation], BeforeValidator(as_several)] = _field(
        "Data", [], f"random changes of training images, comma-separated: {', '.join(get_args(Augmentation))}"
    )
    partition: Annotated[str, named("partition")] = _field(
        "Data", "iid", "how images are dealt out to clients: iid, dirichlet:ALPHA, ...; see `list partitions`"
    )

    model: Annotated[str, named("model")] = _field("Model", "resnet-8", "network; see `dtfl-private list models`")
    norm: Literal["auto", "batch", "group"] = _field(
        "Model", "auto", "normalisation; auto is batch norm, and group norm as soon as a defense needs it"
    )
    head: HeadSize = _field(
        "Model",
        "paper",
        "auxiliary heads of client halves: paper (average pool, one layer), small (of four channels the mean only), "
        "large (before these a layer of as many features at every position)",
    )

    method: Annotated[str, named("method")] = _field("Federation", "dtfl", "training method; see `list methods`")
    scheduler: Annotated[str, named("scheduler")] = _field(
        "Federation",
        "dynamic",
        "who gets which tier: dynamic (the paper's), static:m, ...; see `list schedulers`",
    )
    tiers: Annotated[Count | None, BeforeValidator(as_nothing)] = _field(
        "Federation", None, "use the M deepest cuts of the network; by default all it has"
    )
    allowed_tiers: Annotated[Tiers | None, BeforeValidator(as_tiers)] = _field(
        "Federation", None, "the only cuts that may be named as tiers, comma-separated; by default all in use"
    )
    first_tier: FirstTier = _field(
        "Federation",
        "probe",
        "tier of a client not yet measured: probe (it times one batch first), or the shallowest, middle or deepest",
    )
    ema: PositiveShare = _field("Federation", 2 / 3, "weight of the newest sample in the averages of measured times")
    clients: Count = _field("Federation", 10, "number of clients")
    fraction: PositiveShare = _field("Federation", 1.0, "share of the present clients that take part in a round")
    rounds: Count = _field("Federation", 60, "number of rounds")
    deadline: Annotated[Times | None, BeforeValidator(as_nothing)] = _field(
        "Federation", None, "clients stop training when so many times the expected time of a round is over"
    )
    target_accuracy: Annotated[PositiveShare | None, BeforeValidator(as_nothing)] = _field(
        "Federation", None, "test accuracy (0..1) whose first reaching is reported"
    )
    stop_at_target: bool = _field("Federation", False, "end the run after the round that reaches the target accuracy")
    patience: Annotated[Count | None, BeforeValidator(as_nothing)] = _field(
        "Federation", None, "end the run after so many rounds without a better validation accuracy; needs validation"
    )

    wire: Literal["auto", "fp32", "bf16", "int8", "int4", "scheduled"] = _field(
        "Training",
        "auto",
        "smashed data on the wire: auto (as computed), int8 and int4 (within each channel's range), scheduled (each "
        "client's as fine as the round's time allows, of int4, int8 and bf16), ...",
    )
    send_every: Annotated[int, Field(ge=1, le=10**6)] = _field(
        "Training", 1, "clients train on every batch, and send the smashed data of every so many-th"
    )
    batch_size: Annotated[int, Field(ge=2, le=2**20)] = _field("Training", 32, "images per batch")
    local_epochs: Annotated[int, Field(ge=1, le=10**6)] = _field(
        "Training", 1, "passes over a client's images in a round"
    )
    optimizer: OptimizerName = _field("Training", "adam", "optimiser of both halves")
    lr: Rate = _field("Training", 1e-3, "learning rate")
    lr_decay: PositiveShare = _field("Training", 0.9, "factor on the learning rate at a plateau of the training loss")
    lr_patience: Count = _field("Training", 10, "rounds without a better training loss that make a plateau")
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _field("Training", 0.0, "weight decay (L2)")
    momentum: Annotated[float, Field(ge=0, lt=1)] = _field("Training", 0.0, "momentum of sgd")
    class_weights: Literal["none", "balanced"] = _field(
        "Training",
        "none",
        "weights of classes in the training loss: none, or balanced (images / (classes * images of the class); each "
        "client sends its class counts once)",
    )

    profiles: Profiles = _field(
        "Environment", "paper", "the clients' resources: paper, uniform, or a TOML file; see `list profiles`"
    )
    link_unit: LinkUnit = _field(
        "Environment", "mbit", "unit of link speeds: mbit (Mbit/s), or mbyte (MByte/s: the paper's reading of Mbps)"
    )
    cpu_gmacs: Speed = _field(
        "Environment",
        15.0,
        "training speed of one reference CPU in 10^9 MAC/s; sets the scale of simulated seconds",
    )
    traces: Annotated[str | None, BeforeValidator(as_traces)] = _field(
        "Environment",
        None,
        "device traces in FedScale's layout as JSON, FILE[:sha256=HEX]: devices in place of profiles, and when they "
        "are there",
    )
    drift: DriftKind = _field(
        "Environment",
        "jumps",
        "how clients change: jumps (to a new profile at once), ramps (there bit by bit until the next change), "
        "day-night (some clients swing between two profiles)",
    )
    drift_share: Share = _field("Environment", 0.0, "share of the clients that draw a new profile ...")
    drift_every: Count = _field("Environment", 50, "... every so many rounds (day-night: rounds in a day)")
    noise: Annotated[float, Field(ge=0, le=5)] = _field(
        "Environment", 0.0, "log-standard deviation of CPU and link speed from round to round"
    )
    profile_error: Annotated[float, Field(ge=0, le=2)] = _field(
        "Environment",
        0.0,
        "log-standard deviation by which each module's time on each client differs from what its MACs say",
    )
    dropout: Share = _field("Environment", 0.0, "probability that a participant drops out in mid-round")
    absent: Share = _field("Environment", 0.0, "share of the clients that are not there at the start")
    leave: Share = _field("Environment", 0.0, "probability per round that a present client leaves")
    join: Share = _field("Environment", 0.0, "probability per round that an absent client joins")
    server_workers: Count = _field("Environment", 16, "server halves that the server trains at once; more wait")
    server_cpus: Speed = _field("Environment", 8.0, "speed of one server worker in reference CPUs")

    defense: Annotated[list[str], Field(max_length=100), all_named("defense")] = _field(
        "Privacy",
        [],
        "defense NAME[:key=value,...][@RULE]; repeat for several, applied in the order given; see `list defenses`; "
        "RULE is where it acts: tier=3, tier<=2, tier=2-4, profile=NAME, joined by &",
    )
    assume: Annotated[list[AssumptionName], BeforeValidator(as_several)] = _field(
        "Privacy",
        [],
        "what is taken for granted, not simulated: secure-aggregation (the server sees the sum of a round's weight "
        "updates only)",
    )
    leakage_budget: Annotated[str | None, BeforeValidator(as_budget)] = _field(
        "Privacy",
        None,
        "name only tiers whose audited leakage is within AUDIT.json:metric=NAME,max=X (min=X where low values expose)",
    )
    exposure_budget: Annotated[Rate | None, BeforeValidator(as_nothing)] = _field(
        "Privacy",
        None,
        "what each client may expose over the run: releases of each of its images times what a release leaks in its "
        "tier (0..1); needs leakage_from",
    )
    leakage_from: Annotated[str | None, BeforeValidator(as_leakage_source)] = _field(
        "Privacy",
        None,
        "the audit that says what a release leaks in each tier, AUDIT.json[:metric=NAME]; needs exposure_budget",
    )
    tier_leakage: Annotated[str | None, BeforeValidator(as_leakage)] = _field(
        "Privacy", None, "what a release leaks in each tier, TIER=LEAKAGE,... (0..1); by default as leakage_from says"
    )
    exposure_spending: Spending = _field(
        "Privacy",
        "paced",
        "how exposure budgets are spent: paced (to last for all rounds), or greedy (as the scheduler likes; who has "
        "spent its budget rests)",
    )
    on_budget: OnBudget = _field(
        "Privacy",
        "retire",
        "when a client's privacy budget (epsilon) is spent: retire (it takes no further part), or stop the run",
    )

    record_rounds: Annotated[list[RecordedRound], BeforeValidator(as_several)] = _field(
        "Recording",
        [],
        "rounds to record for attacks, comma-separated numbers or last: what the server saw, the ground truth apart",
    )
    record_clients: Annotated[list[RecordedClient], BeforeValidator(as_several)] = _field(
        "Recording",
        [],
        "ids of the clients to record, comma-separated; by default all who take part in these rounds",
    )
    record_images: Count = _field(
        "Recording", 64, "images whose smashed data are recorded, per client and round; whole batches, the first ones"
    )

    device: DeviceName = _field("Machine", "auto", "where to compute; auto takes cuda, mps or cpu, what is there")
    precision: Precision = _field("Machine", "fp32", "fp32, bf16 (layers under autocast, smashed data in bf16), fp64")
    memory_format: Literal["auto", "channels-last", "contiguous"] = _field(
        "Machine", "auto", "layout of images; auto takes the faster one"
    )
    workers: Annotated[Count | None, BeforeValidator(as_automatic)] = _field(
        "Machine",
        1,
        "one-thread worker processes, at most one per client; 1 computes in this process, auto takes one per core",
    )
    executor: Annotated[str, BeforeValidator(spelled_executor)] = _field(
        "Machine",
        LOCAL,
        "who computes: local (this machine, see workers), or ray[:address=ADDRESS,gpus=SHARE,actors=N] (a Ray cluster: "
        "one actor per core, or per share of a GPU)",
    )
    seed: Seed = _field("Machine", 0, "seed of all chance")

    @property
    def allowed(self) -> Allowed:
        """What the plug-ins may name by its module; `dtfl_private.plugins.registry.create` refuses anything else."""
        return self._allowed

    @property
    def named_objects(self) -> Allowed:
        """What the plug-ins do name by its module."""
        return named_objects(dict(self))

    def allowing(self, names: Iterable[str]) -> "TrainConfig":
        """Return the same configuration that may name these modules (or single objects of modules), too.

        Raises:
            InputError: a name that is none of a module.
        """
        config = self.model_copy()
        config._allowed = self._allowed | allowance(names)
        return config

    def require_allowed(self, replaced: Container[str] = ()) -> None:
        """Check that everything is allowed that the plug-ins name, before any of it is imported.

        Args:
            replaced: kinds whose plug-ins are not used, as objects were passed instead.

        Raises:
            InputError: something is not.
        """
        for kind in PLUGIN_FIELDS:
            for path in named_objects({kind: getattr(self, kind)}) if kind not in replaced else ():
                require_allowed(kind, path, self._allowed)


def plugin_options(config: TrainConfig) -> list[str]:
    """Return the options by which a command may use a run with this configuration once more."""
    modules = sorted({path.partition(":")[0] for path in config.named_objects})
    return [part for module in modules for part in ("--allow-plugin", module)]


def make_config(
    values: Mapping[str, object], source: str = "option", *, allowed: Allowed = NOTHING_ALLOWED
) -> TrainConfig:
    """Return the configuration with these values, the rest by default.

    Args:
        values: by field, whoever wrote them.
        source: where they are from, for errors.
        allowed: what they may name by its module: nothing, unless the user says so (`named_objects` of options that
            were typed, ``--allow-plugin``).

    Raises:
        InputError: the first unknown key or refused value, in one line.
    """
    try:
        return TrainConfig.model_validate(dict(values), context=allowed)
    except ValidationError as error:
        # A misspelled key is also a missing one; only its own message helps.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise config_error(first, TrainConfig.model_fields, source) from None

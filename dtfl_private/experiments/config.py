"""The configuration of a run: one frozen value, read from TOML, options and defaults, checked as a whole.

Every field is a key of CONFIG.toml and an option of ``dtfl-private train`` (hyphens and underscores are alike). The
field descriptions are the options' help.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from dtfl_private.data.normalization import Normalization
from dtfl_private.errors import InputError, unknown_name
from dtfl_private.files import reading
from dtfl_private.leakage.leakage_budget import LeakageBudget
from dtfl_private.numerics import DeviceName, Precision
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed, allowance, require_allowed
from dtfl_private.plugins.registry import canonical, named_object
from dtfl_private.printable import shown_value
from dtfl_private.privacy.ledger import OnBudget
from dtfl_private.protocol.contracts import FirstTier
from dtfl_private.simulation.clients.profiles import LinkUnit, ResourceProfile
from dtfl_private.training.optimizers import OptimizerName

# How "no value" is written in TOML, which has no null, and on the command line.
NOTHING = "none"

# How "whatever suits the host" is written.
AUTOMATIC = "auto"

# Starts the name of a plug-in that was passed from Python as an object; no entry point can have it.
OBJECT = "object:"


def _nothing(value: object) -> object:
    return None if value == NOTHING else value


def _automatic(value: object) -> object:
    return None if value in (AUTOMATIC, NOTHING) else value


def _several(value: object) -> object:
    """Let one name stand for a list of one, and an empty text for none."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _plugin(kind: str) -> BeforeValidator:
    return BeforeValidator(lambda value: _spelled(kind, value))


def _plugins(kind: str) -> BeforeValidator:
    def spell(value: object) -> object:
        texts = [value] if isinstance(value, str) else value
        return [_spelled(kind, text) for text in texts] if isinstance(texts, list | tuple) else texts

    return BeforeValidator(spell)


def _spelled(kind: str, value: object) -> object:
    if not isinstance(value, str) or value.startswith(OBJECT):
        return value
    return canonical(kind, value)


def object_name(thing: object) -> str:
    """Return how a configuration names a plug-in that was passed as an object."""
    return OBJECT + type(thing).__name__


def _budget(value: object) -> object:
    return str(LeakageBudget.parse(value)) if isinstance(value, str) and value != NOTHING else _nothing(value)


def _normalization(value: object) -> object:
    return str(Normalization.parse(value)) if isinstance(value, str) else value


def _tiers(value: object) -> object:
    return _several(value) if value != NOTHING else None


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Speed = Annotated[float, Field(ge=1e-6, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]

# Of seeds, and of rounds and clients that are named: what TOML can write.
LARGEST_INTEGER = reading.LARGEST_TOML_INTEGER

# Ascending, each once.
Tiers = Annotated[list[Count], Field(min_length=1, max_length=1000), AfterValidator(lambda tiers: sorted(set(tiers)))]
Augmentation = Literal["crop", "flip", "cutout"]
RecordedRound = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] | Literal["last"]
RecordedClient = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


# By kind of value, so that an error in a table is not reported as "not a name".
Profiles = Annotated[
    Annotated[str, Tag("<name>")] | Annotated[list[ResourceProfile], Tag("<tables>")],
    Discriminator(lambda value: "<tables>" if isinstance(value, list | tuple) else "<name>"),
]


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

    dataset: Annotated[str, _plugin("dataset")] = _field("Data", "digits", "data set; see `dtfl-private list datasets`")
    data_dir: Annotated[Path | None, BeforeValidator(_nothing)] = _field(
        "Data", None, "folder of the data set's files; by default where the data set looks for itself"
    )
    download: bool = _field("Data", False, "fetch missing files into --data-dir")
    max_train_images: Annotated[Count | None, BeforeValidator(_nothing)] = _field(
        "Data", None, "train on this many randomly drawn images; by default on all"
    )
    normalization: Annotated[str, BeforeValidator(_normalization)] = _field(
        "Data",
        "client-sums",
        "mean and deviation of images: client-sums (each client sends its pixels' count, sum and sum of squares once), "
        "constants (published ones of the data set, or mean=X,std=Y; nothing is sent), pooled (of all clients' pixels "
        "at one place, for comparison)",
    )
    augment: Annotated[list[Augmentation], BeforeValidator(_several)] = _field(
        "Data", [], f"random changes of training images, comma-separated: {', '.join(get_args(Augmentation))}"
    )
    partition: Annotated[str, _plugin("partition")] = _field(
        "Data", "iid", "how images are dealt out to clients: iid, dirichlet:ALPHA, ...; see `list partitions`"
    )

    model: Annotated[str, _plugin("model")] = _field("Model", "resnet-8", "network; see `dtfl-private list models`")
    norm: Literal["auto", "batch", "group"] = _field(
        "Model", "auto", "normalisation; auto is batch norm, and group norm as soon as a defense needs it"
    )

    method: Annotated[str, _plugin("method")] = _field("Federation", "dtfl", "training method; see `list methods`")
    scheduler: Annotated[str, _plugin("scheduler")] = _field(
        "Federation",
        "dynamic",
        "who gets which tier: dynamic (the paper's), static:m, ...; see `list schedulers`",
    )
    tiers: Annotated[Count | None, BeforeValidator(_nothing)] = _field(
        "Federation", None, "use the M deepest cuts of the network; by default all it has"
    )
    allowed_tiers: Annotated[Tiers | None, BeforeValidator(_tiers)] = _field(
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
    target_accuracy: Annotated[PositiveShare | None, BeforeValidator(_nothing)] = _field(
        "Federation", None, "test accuracy (0..1) whose first reaching is reported"
    )
    stop_at_target: bool = _field("Federation", False, "end the run after the round that reaches the target accuracy")

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

    profiles: Profiles = _field(
        "Environment", "paper", "the clients' resources: paper, uniform, or a TOML file; see `list profiles`"
    )
    link_unit: LinkUnit = _field(
        "Environment",
        "mbit",
        "unit of link speeds: mbit (Mbit/s), or mbyte (MByte/s: the paper's reading of Mbps)",
    )
    cpu_gmacs: Speed = _field(
        "Environment",
        15.0,
        "training speed of one reference CPU in 10^9 MAC/s; sets the scale of simulated seconds",
    )
    drift_share: Share = _field("Environment", 0.0, "share of the clients that draw a new profile ...")
    drift_every: Count = _field("Environment", 50, "... every so many rounds")
    noise: Annotated[float, Field(ge=0, le=5)] = _field(
        "Environment", 0.0, "log-standard deviation of CPU and link speed from round to round"
    )
    profile_error: Annotated[float, Field(ge=0, le=2)] = _field(
        "Environment",
        0.0,
        "log-standard deviation by which each module's time on each client differs from what its MACs say",
    )
    dropout: Share = _field("Environment", 0.0, "probability that a participant vanishes in mid-round")
    absent: Share = _field("Environment", 0.0, "share of the clients that are not there at the start")
    leave: Share = _field("Environment", 0.0, "probability per round that a present client leaves")
    join: Share = _field("Environment", 0.0, "probability per round that an absent client joins")
    server_workers: Count = _field("Environment", 16, "server halves that the server trains at once; more wait")
    server_cpus: Speed = _field("Environment", 8.0, "speed of one server worker in reference CPUs")

    defense: Annotated[list[str], Field(max_length=100), _plugins("defense")] = _field(
        "Privacy",
        [],
        "defense NAME[:key=value,...]; repeat for several, applied in the order given; see `list defenses`",
    )
    leakage_budget: Annotated[str | None, BeforeValidator(_budget)] = _field(
        "Privacy",
        None,
        "name only tiers whose audited leakage is within AUDIT.json:metric=NAME,max=X (min=X where low values expose)",
    )
    on_budget: OnBudget = _field(
        "Privacy",
        "retire",
        "when a client's privacy budget (epsilon) is spent: retire (it takes no further part), or stop the run",
    )

    record_rounds: Annotated[list[RecordedRound], BeforeValidator(_several)] = _field(
        "Recording",
        [],
        "rounds to record for attacks, comma-separated numbers or last: what the server saw, the ground truth apart",
    )
    record_clients: Annotated[list[RecordedClient], BeforeValidator(_several)] = _field(
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
    workers: Annotated[Count | None, BeforeValidator(_automatic)] = _field(
        "Machine",
        1,
        "one-thread worker processes, at most one per client; 1 computes in this process, auto takes one per core",
    )
    seed: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = _field("Machine", 0, "seed of all chance")

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


PLUGIN_FIELDS = ("dataset", "partition", "model", "method", "scheduler", "defense")
"""The fields that name plug-ins; each is called like its kind."""


def named_objects(values: Mapping[str, object]) -> Allowed:
    """Return what values of a configuration name by its module, which whoever wrote them by hand thereby allows."""
    found: Allowed = NOTHING_ALLOWED
    for kind in PLUGIN_FIELDS:
        value = values.get(kind, ())
        for text in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
            found |= named_object(kind, text) if isinstance(text, str) else NOTHING_ALLOWED
    return found


def plugin_options(config: TrainConfig) -> list[str]:
    """Return the options by which a command may use a run with this configuration once more."""
    modules = sorted({path.partition(":")[0] for path in config.named_objects})
    return [part for module in modules for part in ("--allow-plugin", module)]


# What a resume may change: neither the number of workers nor the place of the data changes the result.
FREE_ON_RESUME = frozenset({"workers", "data_dir", "download"})


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
        raise _input_error(first, TrainConfig.model_fields, source) from None


def _input_error(first: Any, fields: Mapping[str, FieldInfo], source: str) -> InputError:
    # The path to the value, without the tags of a union: "profiles", or "profiles.0.cpus" inside a table.
    path = [str(part) for part in first["loc"] if part not in ("<name>", "<tables>")]
    key, where = path[0], ".".join(path)
    if first["type"] == "extra_forbidden":
        return unknown_name(f"key in {source}", path[-1], fields if len(path) == 1 else ResourceProfile.model_fields)
    choices = choices_of(fields[key].annotation) if key in fields else ()
    if first["type"] == "literal_error" and choices:
        return unknown_name(key, shown_value(first["input"]).strip("'"), choices)
    reason = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "missing" else f" {shown_value(first['input'])}"
    return InputError(f"{where}{given} is refused: {reason[:1].lower()}{reason[1:]}")


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the names that a field of fixed choices takes, or nothing."""
    if get_args(annotation) and all(isinstance(value, str) for value in get_args(annotation)):
        return get_args(annotation)
    return next((found for inner in get_args(annotation) if (found := choices_of(inner))), ())


def differences(config: TrainConfig, other: TrainConfig, besides: Iterable[str] = FREE_ON_RESUME) -> Sequence[str]:
    """Return ``key: old -> new`` for each value that differs between two configurations."""
    old, new = other.model_dump(mode="json"), config.model_dump(mode="json")
    return [f"{key}: {old[key]} -> {new[key]}" for key in new if key not in besides and old[key] != new[key]]

"""One result of an attack or a measure, and the lists of them in attack.json and audit.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dtfl_private.errors import InputError
from dtfl_private.files import reading

SCHEMA_VERSION = 1
MAX_BYTES = 16 * 2**20
MAX_RESULTS = 20_000

Name = Annotated[str, Field(min_length=1, max_length=200)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
SettingValue = bool | int | Finite | Annotated[str, Field(max_length=1000)] | None


class Result(BaseModel):
    """One figure.

    Attributes:
        tier: client modules m.
        cut: shape of one record's activations at the cut.
        source: attack or measure.
        metric: what the value is.
        value: over all images and seeds.
        ci_low, ci_high: 95 % interval.
        baseline: the same metric for a trivial guess; None if there is none.
        undefended: the same metric without the defense; None where that was not run.
        advantage: by how much the value is beyond the trivial guess's, victim by victim; above 0 it exposes more.
        advantage_ci_low, advantage_ci_high: 95 % interval of that.
        p_value: probability of such an advantage, or a larger one, by chance alone; of an empirical epsilon, of so many
            right guesses by tosses of a coin. None where it is not known, as in files of older versions.
        n: images (or records) judged.
        seeds: repetitions that differ: equal ones, as of a deterministic attack, count once.
        adaptive: whether the attack knew and used the defense's own sampler.
        adversary: who attacked; None of a measure.
        baseline_name: which trivial guess.
        settings: of the attack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tier: Positive
    cut: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=8, strict=False)]
    source: Name
    metric: Name
    value: Finite
    ci_low: Finite
    ci_high: Finite
    baseline: Finite | None = None
    advantage: Finite | None = None
    advantage_ci_low: Finite | None = None
    advantage_ci_high: Finite | None = None
    p_value: Probability | None = None
    undefended: Finite | None = None
    n: Positive
    seeds: Positive
    adaptive: bool
    adversary: Name | None = None
    baseline_name: Name | None = None
    settings: Annotated[dict[Name, SettingValue], Field(max_length=100)] = Field(default_factory=dict)

    @property
    def has_spread(self) -> bool:
        """Whether more than one record was judged: one shows no spread, whatever interval a file gives it."""
        return self.n > 1

    @model_validator(mode="after")
    def _ordered(self) -> "Result":
        if not self.ci_low <= self.value <= self.ci_high:
            raise ValueError(f"value {self.value} is not within its interval {self.ci_low}..{self.ci_high}")
        advantage = (self.advantage_ci_low, self.advantage, self.advantage_ci_high)
        known = [end for end in advantage if end is not None]
        if known and (len(known) < len(advantage) or known != sorted(known)):
            raise ValueError(f"advantage {self.advantage} must come with an interval that contains it")
        return self


class _Document(BaseModel):
    """What a reader needs of a file; its other keys are the writer's."""

    schema_version: Annotated[int, Field(strict=True)]
    results: Annotated[list[Result], Field(max_length=MAX_RESULTS)]


def results_document(results: Sequence[Result], header: Mapping[str, Any]) -> bytes:
    """Return the JSON text of a file: ``schema_version``, the header's keys, ``results``."""
    listed = [result.model_dump(mode="json") for result in results]
    document = {"schema_version": SCHEMA_VERSION, **header, "results": listed}
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def read_results(path: Path) -> list[Result]:
    """Return the results in a file, which may come from anybody.

    Raises:
        InputError: the file is missing, too large, no such JSON, of another version, or a result breaks a rule.
    """
    return _parse(read_limited(path, "results"), str(path))


def read_round(path: Path) -> object:
    """Return the round that the results in a file are of, as it says; None if it does not.

    Raises:
        InputError: the file is missing, too large, or no JSON object.
    """
    try:
        document = reading.parse_json(read_limited(path, "results"))
    except ValueError as error:
        raise InputError(f"results {path}: {error}") from None
    return document.get("round") if isinstance(document, dict) else None


def read_limited(path: Path, what: str) -> bytes:
    """Return the bytes of a file that may come from anybody; ``what`` it is to be, for errors.

    Raises:
        InputError: the file is missing, too large, or no regular file.
    """
    try:
        return reading.read_bytes(path, most_bytes=MAX_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{what} {path} cannot be read: {reading.reason(error)}") from None


def first_fault(error: ValidationError) -> str:
    """Return where the first fault of a document is and what it is, without the document's own text."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the text"
    return f"{where}: {first['msg']}"


def _parse(data: bytes, name: str) -> list[Result]:
    try:
        document = _Document.model_validate_json(data)
    except ValidationError as error:
        raise InputError(f"results {name}: {first_fault(error)}") from None
    if document.schema_version != SCHEMA_VERSION:
        found = f"schema_version {document.schema_version}"
        raise InputError(f"results {name}: {found}, but this program reads {SCHEMA_VERSION}: use the matching version")
    return document.results

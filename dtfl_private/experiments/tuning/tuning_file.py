"""tuning.json: what the trials of a sweep reached, and which were chosen."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.tuning.choice import chosen_place
from dtfl_private.experiments.tuning.plan import Metric, Tuning
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.report.comparison.tuned_settings import TrialOutcome, TunedSettings

LARGEST_TUNING_BYTES = 2**24


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Outcome(_Strict):
    settings: dict[str, bool | int | float | str | list[str] | None]
    accuracy: Annotated[float, Field(ge=0, le=1)] | None
    time_to_target_s: Annotated[float, Field(ge=0)] | None


class _Choice(_Strict):
    name: str
    trials: Annotated[list[_Outcome], Field(min_length=1)]
    chosen: Annotated[int, Field(ge=0)]


class _TuningFile(_Strict):
    schema_version: Literal[1] = 1
    metric: Metric
    trials_sha256: str
    choices: list[_Choice]


def write_choices(path: Path, tuning: Tuning, choices: Mapping[str, TunedSettings]) -> None:
    """Write what the trials reached, in one step."""
    file = {
        "schema_version": 1,
        "metric": tuning.metric,
        "trials_sha256": tuning.fingerprint(),
        "choices": [
            {"name": name, "trials": [outcome.as_json() for outcome in tuned.trials], "chosen": tuned.chosen}
            for name, tuned in choices.items()
        ],
    }
    write_atomic(path, (json.dumps(file, indent=2, allow_nan=False) + "\n").encode())


def read_choices(path: Path, tuning: Tuning) -> dict[str, TunedSettings]:
    """Return what was chosen, by the name of the combination.

    Raises:
        InputError: the file is damaged, or not of these trials.
    """
    try:
        data = reading.read_json(path, most_bytes=LARGEST_TUNING_BYTES)
        file = _TuningFile.model_validate(data)
    except (OSError, ValidationError, ValueError) as error:
        raise _damaged(path, _reason(error)) from None
    if file.trials_sha256 != tuning.fingerprint():
        raise InputError(f"'{path}' is of other trials than the preset's: choose another --out")
    choices = {choice.name: _tuned(choice) for choice in file.choices}
    if [choice.name for choice in file.choices] != [combination.name for combination in tuning.combinations]:
        raise _damaged(path, "its names are not those of the preset's combinations")
    for combination in tuning.combinations:
        tuned = choices[combination.name]
        if [dict(outcome.settings) for outcome in tuned.trials] != [dict(t.settings) for t in combination.trials]:
            raise _damaged(path, f"its settings of '{combination.name}' are not those of the trials")
        if tuned.chosen != _best(path, tuned, tuning.metric, combination.name):
            raise _damaged(path, f"trial {tuned.chosen + 1} of '{combination.name}' is not the best")
    return choices


def _tuned(choice: _Choice) -> TunedSettings:
    trials = [TrialOutcome(**outcome.model_dump()) for outcome in choice.trials]
    return TunedSettings(trials=trials, chosen=choice.chosen)


def _best(path: Path, tuned: TunedSettings, metric: Metric, name: str) -> int:
    try:
        return chosen_place(tuned.trials, metric, name)
    except RunError as error:
        raise _damaged(path, str(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return reading.reason(error)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"'{path}' is damaged ({reason}): remove it, and it is made again from the trials")

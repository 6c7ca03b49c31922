"""The tables ``[[attack]]`` of a preset: how each of its runs is attacked when it has ended, client by client.

    [[attack]]
    attacks = ["decoder:size=small", "membership-matching"]
    aux = ["same", "mixture", "client:0"]   # the adversary's auxiliary data, one after the other
    aux_images = 48                         # at most
    tiers = [1, 2]                          # by default "all"
    each = 16                               # records of each client, in whole batches
    effort = "quick"
    seeds = 1                               # repetitions of each attack

    [[sizes.full.attack]]                   # all the tables of this size, instead of those above
    attacks = ["decoder:size=best"]

With ``mixture`` each client is attacked by itself, by images that have the shares of its own classes.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dtfl_private.errors import InputError, unknown_name
from dtfl_private.experiments.config.field_kinds import Count
from dtfl_private.plugins.specification import is_object_path


class AttackTable(BaseModel):
    """What a table ``[[attack]]`` of a preset says; the names in it are checked before anything is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacks: Annotated[list[str], Field(min_length=1)]
    aux: Annotated[list[str], Field(min_length=1)] = ["same"]
    aux_images: Count = 5000
    tiers: Literal["all"] | Annotated[list[Count], Field(min_length=1)] = "all"
    each: Count = 16
    effort: str = "quick"
    seeds: Count = 1


TABLES: TypeAdapter[list[AttackTable]] = TypeAdapter(Annotated[list[AttackTable], Field(min_length=1)])


def attack_tables(values: object, where: str) -> tuple[AttackTable, ...]:
    """Return what a preset says.

    Raises:
        InputError: a key that is not known, or a value that is refused.
    """
    try:
        tables = TABLES.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"][1:])
        if first["type"] == "extra_forbidden":
            raise unknown_name(f"key in [[attack]] of {where}:", key, AttackTable.model_fields) from None
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"{key or 'attack'} in [[attack]] of {where} is refused: {reason}") from None
    for text in (text for table in tables for text in table.attacks):
        if is_object_path("attack", text):
            raise InputError(f"attack '{text}' in {where} is refused: no file names an attack by its module")
    return tuple(tables)

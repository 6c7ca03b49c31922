"""What the operator of a SuperNode decides for its client: keys that begin with ``dtfl-`` in its ``--node-config``."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.deployed.client.joining import OwnSide
from dtfl_private.deployed.client.own_data import own_images
from dtfl_private.errors import InputError
from dtfl_private.printable import shown_value

PREFIX = "dtfl-"


class NodeSettings(BaseModel):
    """What a client's operator decides; see `OwnSide`.

    Attributes:
        store: folder of its store.
        data_dir: folder of its own data; "": it plays a simulation's client.
        dataset: how the data lie there; "": as in the run's configuration.
        defense: that acts here besides those of the run; several parted by ``;``.
        chance: where noise, samples and orders come from.
        accept_config: agree to another configuration than before.
        device: to compute on.
        keep_truth: folder in which to keep what messages were made of; "": nowhere.
        checkpoint: folder of the checkpoint that the run's network is from; "": as in the run's configuration.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )

    store: Annotated[str, Field(min_length=1)]
    data_dir: str = ""
    dataset: str = ""
    defense: str = ""
    chance: Literal["secret", "seeded"] = "secret"
    accept_config: bool = False
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    keep_truth: str = ""
    checkpoint: str = ""


def own_side(node_config: Mapping[str, Any]) -> OwnSide:
    """Return what a client's operator decides; keys without the prefix belong to other apps.

    Raises:
        InputError: a key is unknown, or a value is none.
    """
    own = {key.removeprefix(PREFIX): value for key, value in node_config.items() if key.startswith(PREFIX)}
    if "store" not in own:
        raise InputError(
            f"the SuperNode's --node-config has no {PREFIX}store: give the folder in which this client keeps its ledger"
        )
    try:
        settings = NodeSettings.model_validate(own)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(
            f"the SuperNode's --node-config: {PREFIX}{key}={shown_value(first['input'])} is refused: {first['msg']}"
        ) from None
    return OwnSide(
        images=partial(own_images, Path(settings.data_dir) if settings.data_dir else None, settings.dataset or None),
        store=Path(settings.store),
        defenses=[name.strip() for name in settings.defense.split(";") if name.strip()],
        accept_config=settings.accept_config,
        device=settings.device,
        chance=settings.chance,
        keep_truth=Path(settings.keep_truth) if settings.keep_truth else None,
        checkpoint=Path(settings.checkpoint) if settings.checkpoint else None,
    )

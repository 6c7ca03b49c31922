"""Kinds of settings that several networks share."""

from typing import Annotated, Literal

from pydantic import Field

Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability with which something is dropped in training."""

Width = Annotated[int, Field(ge=1, le=2**16)]
"""A number of features, layers, heads or tokens."""

Task = Literal["classes", "next-token"]
"""What a network is trained for: to tell the classes of its inputs, or of a text at each place what comes next."""

Rank = Annotated[int, Field(ge=0, le=1024)]
"""Rank of low-rank adapters; 0: there are none."""

HeadSize = Literal["small", "paper", "large"]
"""What lies between a cut and the logits of a client's local loss; see `dtfl_private.models.heads.make_heads`."""

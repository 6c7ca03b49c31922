"""The cost table of a network: what each tier costs in parameters, MACs, bytes and, if measured, seconds."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.simulation.costs.table_text import costs_html, table_text


@dataclass(frozen=True, kw_only=True)
class TierCost:
    """What tier m costs. MACs and bytes are per image, but those of weights and statistics, which are per transfer.

    Attributes:
        tier: client modules m.
        cut_shape: shape of one image's smashed data.
        client_params: parameters of md1..md_m, without the auxiliary head.
        server_params: parameters of the remaining modules.
        head_params: parameters of the auxiliary head.
        client_frozen, server_frozen: weights of the two halves that are never trained nor sent; they are no parameters.
        client_forward_macs: of md1..md_m.
        client_train_macs: forward and backward of md1..md_m and the auxiliary head.
        server_train_macs: forward and backward of the server half.
        smashed_bytes: activations at the cut.
        label_bytes: the label.
        weight_bytes: parameters and buffers of md1..md_m and the head.
        head_bytes: parameters and buffers of the auxiliary head alone, within ``weight_bytes``.
        head_forward_macs: of the auxiliary head.
        chained_client_macs: forward and backward of md1..md_m when the gradient comes from the server.
        chained_server_macs: forward and backward of the server half when it returns that gradient.
        release_macs: forward passes on the client for what it sends apart from its training.
        gradient_bytes: gradients at the cut that the server returns.
        logit_bytes: logits that go either way, in addition to smashed data.
        tail_bytes: activations before the client's last modules, which come down; their gradients, as large, go up.
        statistics_macs: the forward pass by which a client measures batch norm's statistics of the new global weights.
        statistics_bytes: the statistics that it then sends, per transfer; 0 where the method has no such pass.
        client_step_s: measured seconds of a client's training step per image, if measured.
        server_step_s: measured seconds of the server half's training step per image, if measured.
    """

    tier: int
    cut_shape: tuple[int, ...]
    client_params: int
    server_params: int
    head_params: int
    client_forward_macs: int
    client_train_macs: int
    server_train_macs: int
    smashed_bytes: int
    label_bytes: int
    weight_bytes: int
    client_frozen: int = 0
    server_frozen: int = 0
    head_bytes: int = 0
    head_forward_macs: int = 0
    chained_client_macs: int = 0
    chained_server_macs: int = 0
    release_macs: int = 0
    gradient_bytes: int = 0
    logit_bytes: int = 0
    tail_bytes: int = 0
    statistics_macs: int = 0
    statistics_bytes: int = 0
    client_step_s: float | None = None
    server_step_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class TierTable:
    """The costs of all tiers of a network, ascending in m, and of the whole network.

    forward_macs, train_macs: of the whole network, per image; weight_bytes: its parameters and buffers;
    statistics_bytes: the means and variances of batch norm among them; modules: L; module_macs: forward MACs of each
    of the L modules; about: what it is of, in words, where that is known.
    """

    rows: tuple[TierCost, ...]
    forward_macs: int
    train_macs: int = 0
    weight_bytes: int = 0
    statistics_bytes: int = 0
    modules: int = 0
    module_macs: tuple[int, ...] = ()
    about: str = field(default="", compare=False)

    def __repr__(self) -> str:
        return table_text(self)

    def _repr_html_(self) -> str:
        return costs_html(self)

    @property
    def tiers_M(self) -> IntArray:
        """The tiers (client modules)."""
        return np.array([row.tier for row in self.rows], dtype=np.int64)

    def column(self, field: str) -> FloatArray:
        """Return one field of all rows as floats, in the order of ``tiers_M``."""
        return np.array([getattr(row, field) for row in self.rows], dtype=np.float64)

    def deepest(self, count: int) -> "TierTable":
        """Return the table of the ``count`` deepest cuts (dtfl section 1: with M < 7 keep the M deepest)."""
        if not 1 <= count <= len(self.rows):
            raise InputError(f"tiers {count} is out of range: this network has {len(self.rows)} tiers")
        return replace(self, rows=self.rows[-count:])

    def only(self, tiers: Collection[int]) -> "TierTable":
        """Return the table of those of its tiers that are among ``tiers``; they need not follow one another."""
        return replace(self, rows=tuple(row for row in self.rows if row.tier in tiers))

"""What is kept of a round: one line of rounds.jsonl, as a value."""

from typing import TYPE_CHECKING, Any, Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict  # pydantic takes typing's own only from Python 3.12 on

from dtfl_private.protocol.guarantees import Disclosure

if TYPE_CHECKING:
    from dtfl_private.training.round import RoundOutcome


class GuardRemark(TypedDict):
    """What a client's guard said of the weights that the server sent it; ``refused``: it then took no part."""

    client: int
    text: str
    refused: bool


@with_config(extra="forbid", allow_inf_nan=False)
class Record(TypedDict):
    """One line of rounds.jsonl. Times of clients are by id; see `RoundPlan` and `RoundOutcome` for what they mean."""

    round: int
    test_accuracy: float
    test_loss: float
    local_loss: float | None
    server_loss: float | None
    lr: float
    virtual_time_s: float
    round_time_s: float
    oracle_time_s: NotRequired[float | None]  # runs of before it was recorded lack it
    wall_time_s: float
    participants: list[int]
    dropped: list[int]
    tiers: dict[str, int]
    client_time_s: dict[str, float]
    client_compute_s: dict[str, float]
    client_transfer_s: dict[str, float]
    server_wait_s: float
    bytes: dict[str, int]
    macs: dict[str, int]
    privacy: list[Disclosure]
    guard: list[GuardRemark]
    retired: list[int]
    exposure: NotRequired[dict[str, float]]  # where it is limited: what each participant has exposed since the start
    rested: NotRequired[list[int]]  # likewise: who was there and took no part, its exposure budget being spent
    stopped: NotRequired[list[int]]  # whom the deadline stopped, where one is set
    wires: NotRequired[dict[str, str]]  # where the server names each client's format of smashed data
    validation_accuracy: NotRequired[float | None]  # where there are validation images; None as long as none is judged
    validation_loss: NotRequired[float | None]
    test_perplexity: NotRequired[float]  # of language models: e to the power of the test loss, a mean over places
    clock: NotRequired[Literal["wall"]]  # of deployed runs: times are measured, none is simulated


def round_record(outcome: "RoundOutcome", wall_time_s: float) -> Record:
    """Return the line of rounds.jsonl for a finished round."""
    plan = outcome.plan
    ids = [str(client) for client in plan.clients_P.tolist()]

    def by_client(values: Any) -> dict[str, Any]:
        return dict(zip(ids, values.tolist(), strict=True))

    record: Record = {
        "round": plan.round,
        "test_accuracy": outcome.test_accuracy,
        "test_loss": outcome.test_loss,
        "local_loss": outcome.local_loss,
        "server_loss": outcome.server_loss,
        "lr": outcome.lr,
        "virtual_time_s": outcome.virtual_time_s,
        "round_time_s": plan.round_time_s,
        "oracle_time_s": plan.oracle_time_s,
        "wall_time_s": round(wall_time_s, 3),
        "participants": plan.clients_P.tolist(),
        "dropped": plan.clients_P[plan.dropped_P].tolist(),
        "tiers": by_client(plan.tiers_P),
        "client_time_s": by_client(plan.client_time_s_P),
        "client_compute_s": by_client(plan.compute_s_P),
        "client_transfer_s": by_client(plan.transfer_s_P),
        "server_wait_s": plan.server_wait_s,
        "bytes": dict(outcome.traffic),
        "macs": dict(outcome.macs),
        "privacy": list(outcome.privacy),
        "guard": [
            {"client": client, "text": remark.text, "refused": remark.refuses} for client, remark in outcome.remarks
        ],
        "retired": list(outcome.retired),
    }
    if plan.rested is not None:
        record["exposure"] = by_client(plan.exposure_P)
        record["rested"] = plan.rested.tolist()
    if len(plan.stopped_P):
        record["stopped"] = plan.clients_P[plan.stopped_P].tolist()
    if plan.wires:
        record["wires"] = dict(zip(ids, plan.wires, strict=True))
    if (validated := outcome.validation) is not None:
        judged = validated.images > 0
        record["validation_accuracy"] = validated.correct / validated.images if judged else None
        record["validation_loss"] = validated.loss_sum / validated.images if judged else None
    if outcome.perplexity is not None:
        record["test_perplexity"] = outcome.perplexity
    if outcome.clock == "wall":
        record["clock"] = "wall"
    return record

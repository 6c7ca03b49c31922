"""A run's recorded rounds, checked against the run before anything is believed: files may come from anybody."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.errors import RunError
from dtfl_private.experiments.run_folder.recordings import load_seen, load_truth, recorded_rounds
from dtfl_private.models.cutting.staged import held_modules
from dtfl_private.protocol.messages import Seen, State
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.training.method import only_tier
from dtfl_private.training.recording import Recording, Truth


def latest_recordings(opened: OpenedRun) -> list[Recording]:
    """Return the recordings of the last recorded round, by client; none if nothing was recorded.

    Raises:
        RunError: a file is damaged, or is not of this run.
    """
    names = recorded_rounds(opened.folder.transcript)
    if not names:
        return []
    last, _ = names[-1]
    return [_load_recording(opened, last, client) for number, client in names if number == last]


def earlier_rounds(opened: OpenedRun, seen: Sequence[Seen]) -> list[Seen]:
    """Return the recorded rounds of the same clients before that of ``seen``, in order of time.

    Raises:
        RunError: a file is damaged, or is not of this run.
    """
    now = {one.download.client: one.download.round for one in seen}
    names = recorded_rounds(opened.folder.transcript)
    return [_load_checked_seen(opened, number, client) for number, client in names if number < now.get(client, 0)]


def _load_recording(opened: OpenedRun, number: int, client: int) -> Recording:
    seen, truth = _load_checked_seen(opened, number, client), load_truth(opened.folder.transcript, number, client)
    if len(truth.labels) != sum(len(batch.labels) for batch in seen.batches):
        raise _not_of_this_run(number, client, "its ground truth is of other batches")
    _require_truth(opened, truth, number, client)
    return Recording(seen=seen, truth=truth, remarks=())


def _load_checked_seen(opened: OpenedRun, number: int, client: int) -> Seen:
    seen = load_seen(opened.folder.transcript, number, client)
    worker, tier = opened.prepared.worker, seen.download.tier
    if tier not in opened.tiers or client >= len(worker.parts) or number > len(opened.records):
        raise _not_of_this_run(number, client, f"client {client} in tier {tier}")
    half, head = held_modules(worker.model, tier, worker.tail), opened.heads[tier]
    expected = [(seen.download.weights, half.state_dict()), (seen.download.head, head.state_dict())]
    if not opened.prepared.method.sends_weights:
        expected = [(seen.download.weights, {}), (seen.download.head, {})]
    if seen.update is not None:
        expected += [(seen.update.weights, half.state_dict()), (seen.update.head, head.state_dict())]
    if not all(_alike(state, like) for state, like in expected):
        raise _not_of_this_run(number, client, "weights of another network")
    for batch in seen.batches:
        whole_numbers = batch.labels.dtype == torch.int64 and batch.smashed.is_floating_point()
        in_range = whole_numbers and ((batch.labels >= 0) & (batch.labels < worker.classes)).all()
        if tuple(batch.smashed.shape[1:]) != opened.cut_shapes[tier] or not in_range:
            raise _not_of_this_run(number, client, f"activations of shape {tuple(batch.smashed.shape)}")
        if batch.labelled == ("labels" in opened.prepared.method.hides):
            raise _not_of_this_run(number, client, "labels with its batches, or none")
    _require_answers(opened, seen, number, client)
    return seen


def _require_answers(opened: OpenedRun, seen: Seen, number: int, client: int) -> None:
    """Check that there is a reply, or are logits, for each batch where the method has such, and none elsewhere."""
    hides, classes = opened.prepared.method.hides, opened.prepared.worker.classes
    shapes = [tuple(batch.smashed.shape) for batch in seen.batches]
    replies = [] if "replies" in hides else shapes
    if [tuple(reply.gradient.shape) for reply in seen.replies] != replies:
        raise _not_of_this_run(number, client, "gradients at the cut that do not go with its batches")
    logits = [] if "logits" in hides else [(shape[0], classes) for shape in shapes]
    if [tuple(sent.logits.shape) for sent in seen.logits] != logits:
        raise _not_of_this_run(number, client, "logits that do not go with its batches")
    before_tail = [] if "tail-gradients" in hides else [(shape[0], *_shape_before_tail(opened)) for shape in shapes]
    for what in ([one.outputs for one in seen.outputs], [one.gradient for one in seen.tail_gradients]):
        if [tuple(tensor.shape) for tensor in what] != before_tail:
            raise _not_of_this_run(number, client, "outputs or gradients before the last modules of other batches")
    if not all(values.is_floating_point() for values in _answers(seen)):
        raise _not_of_this_run(number, client, "gradients or logits that are no real numbers")


def _shape_before_tail(opened: OpenedRun) -> tuple[int, ...]:
    """Return the shape of one record's activations before the last modules, which clients keep."""
    worker = opened.prepared.worker
    shape = tuple(worker.train_images.shape[1:])
    network = analyse(worker.model, shape, worker.classes, worker.numerics)
    return only_tier(network, len(worker.model) - worker.tail).cut_shape


def _answers(seen: Seen) -> list[Tensor]:
    before_the_tail = [*(one.outputs for one in seen.outputs), *(one.gradient for one in seen.tail_gradients)]
    return [*(reply.gradient for reply in seen.replies), *(sent.logits for sent in seen.logits), *before_the_tail]


def _alike(state: State, like: State) -> bool:
    return state.keys() == like.keys() and all(state[name].shape == like[name].shape for name in state)


def _require_truth(opened: OpenedRun, truth: Truth, number: int, client: int) -> None:
    worker = opened.prepared.worker
    mine = torch.from_numpy(worker.parts[client])
    if truth.images.shape[1:] != worker.train_images.shape[1:] or not torch.isin(truth.records, mine).all():
        raise _not_of_this_run(number, client, "records that this client does not hold")
    if not torch.equal(truth.labels, worker.train_labels[truth.records]):
        raise _not_of_this_run(number, client, "labels that these records do not have")


def _not_of_this_run(number: int, client: int, what: str) -> RunError:
    return RunError(
        f"the recording of round {number}, client {client}, is not of this run ({what}): "
        "use --replay, or record the run again"
    )

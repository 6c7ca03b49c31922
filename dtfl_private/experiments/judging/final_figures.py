"""The figures that a run closes with: of its last model, and of the one that is best on validation images."""

from collections.abc import Mapping
from typing import Any

from dtfl_private.data.partition import class_counts
from dtfl_private.experiments.judging.class_figures import class_figures
from dtfl_private.experiments.judging.client_figures import by_class_shares, of_own_images
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.model_file import load_weights
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.training.executor import Executor
from dtfl_private.training.judging import answers
from dtfl_private.training.state import FederatedState, GlobalWeights


def final_figures(
    folder: RunFolder, prepared: Prepared, state: FederatedState, summary: Mapping[str, Any], executor: Executor
) -> dict[str, Any]:
    """Return ``test`` and ``clients`` of the last model; with validation images also those of the selected one.

    The latter are None where clients are judged with networks of their own, which only the last round has.

    Args:
        folder: of the run.
        prepared: the run.
        state: after its last round.
        summary: says which round is selected.
        executor: judges.

    Raises:
        RunError: the selected model is missing or damaged.
    """
    last = _figures(prepared, state.weights, state, executor)
    if summary["chosen_on"] == "test":
        return last
    chosen: dict[str, Any] = {"test": None, "clients": None}
    if summary["selected_round"] == state.round:
        chosen = last
    elif not prepared.method.own_networks(state.extras):
        model = load_weights(folder.best_model, state.weights.model)
        chosen = _figures(prepared, GlobalWeights(model=model, heads={}), state, executor)
    return {**last, **{f"selected_{part}": figures for part, figures in chosen.items()}}


def _figures(prepared: Prepared, weights: GlobalWeights, state: FederatedState, executor: Executor) -> dict[str, Any]:
    """Return the figures of a model by class, and by client."""
    judged, worker = prepared.settings.judged, prepared.worker
    logits, _ = answers(prepared.method, executor, weights, state.extras, judged)
    test = class_figures(logits.numpy(), worker.test_labels.numpy(), prepared.data.classes)
    clients = None if prepared.method.pooled else _by_client(prepared, weights, state, executor, test)
    return {"test": test, "clients": clients}


def _by_client(
    prepared: Prepared, weights: GlobalWeights, state: FederatedState, executor: Executor, test: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the figures of a model by client: on images of its own where it has kept some back."""
    worker, images = prepared.worker, prepared.settings.validation
    if images is None or not images.owned:
        counts_KC = class_counts(worker.train_labels.numpy(), worker.parts, worker.classes)
        return by_class_shares(test["per_class"], counts_KC)
    logits, judged = answers(prepared.method, executor, weights, state.extras, images)
    right = (logits.argmax(dim=1) == worker.validation_labels).numpy()
    return of_own_images(right, judged.numpy(), images.owned, len(worker.parts))

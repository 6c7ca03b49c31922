"""The rounds of a run: each is trained, then recorded, then shown."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dtfl_private.experiments.judging.class_rows import class_rows
from dtfl_private.experiments.judging.exposure_figures import exposure_figures
from dtfl_private.experiments.judging.final_figures import final_figures
from dtfl_private.experiments.run_folder.checkpoint import save_checkpoint
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.model_file import ModelDescription, save_model
from dtfl_private.experiments.run_folder.rounds_file import append_record
from dtfl_private.experiments.run_folder.summary import summarise, write_results
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.experiments.trained.model_card import ModelCard, write_card
from dtfl_private.privacy.budget import end_of_run
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.protocol.guarantees import Disclosure
from dtfl_private.report.pictures.judged import plot_judged
from dtfl_private.report.pictures.training import plot_training
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callbacks
from dtfl_private.simulation.exposure import exposed_clients
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.executor import Executor
from dtfl_private.training.round import run_round
from dtfl_private.training.round_record import Record, round_record
from dtfl_private.training.selected_round import is_validated, rounds_without_gain, selected_round
from dtfl_private.training.state import FederatedState


class RoundRecorder(Protocol):
    """Keeps what the server saw of a round."""

    def record(self, before: FederatedState, plan: RoundPlan) -> None:
        """Keep the round that was just finished, if it is one to record.

        Args:
            before: the state that the round began with.
            plan: its schedule.
        """
        ...


def run_rounds(
    folder: RunFolder,
    prepared: Prepared,
    state: FederatedState,
    records: list[Record],
    executor: Executor,
    listener: Callbacks,
    *,
    transcripts: RoundRecorder,
    renewed: Callable[[Prepared], Prepared] = lambda prepared: prepared,
) -> tuple[list[Record], dict[str, Any]]:
    """Train the rounds that are left, and write down each as soon as it is finished.

    Args:
        folder: of the run.
        prepared: the run.
        state: after the rounds that are finished.
        records: of the rounds that are finished; it is continued.
        executor: trains the clients.
        listener: hears how the rounds proceed, and may end the run.
        transcripts: records rounds for later attacks.
        renewed: returns the run as it is before its next round; that of a deployment may have new clients.

    Returns:
        The records of all rounds, and the summary.
    """
    config = prepared.config
    summary: dict[str, Any] = {}
    # On a resume of a finished run there is no round left, but the results may not have been written.
    if state.round:
        summary = _write_results(folder, prepared, state, records, executor)
    while state.round < config.rounds and _why_stopped(prepared, state, records, listener.stop) is None:
        start = time.perf_counter()
        before, prepared = state, renewed(prepared)
        state, outcome = run_round(prepared.method, before, prepared.settings, executor, listener)
        record = round_record(outcome, time.perf_counter() - start)
        # Before the checkpoint: a run that is killed in between records this round when it is resumed.
        transcripts.record(before, outcome.plan)
        # The record first: a resume drops records that no checkpoint has, but cannot make up missing ones.
        append_record(folder, record)
        save_checkpoint(folder.checkpoint, state)
        records.append(record)
        summary = _write_results(folder, prepared, state, records, executor)
        listener.round_finished(record)
    stopped = _why_stopped(prepared, state, records, listener.stop)
    if listener.stop is not None:  # which it said after the results of its last round had been written
        summary = _write_results(folder, prepared, state, records, executor, listener.stop)
    if stopped is not None:
        listener.note(f"the run ends after round {state.round} of {config.rounds}: {stopped}")
    return records, summary


def _why_stopped(
    prepared: Prepared, state: FederatedState, records: Sequence[Record], asked: str | None = None
) -> str | None:
    """Return why there is to be no further round although some are left, or None; ``asked``: as a callback says."""
    config = prepared.config
    if state.round >= config.rounds:
        return None
    best = max((record["test_accuracy"] for record in records), default=0.0)
    if config.stop_at_target and config.target_accuracy is not None and best >= config.target_accuracy:
        return f"the target accuracy {config.target_accuracy:g} is reached"
    if config.patience is not None and rounds_without_gain(records) >= config.patience:
        selected = selected_round(records)["round"]
        return f"no better validation accuracy in {number_of(config.patience, 'round')} since round {selected}"
    exposed = exposed_clients(state.schedule.exposure_K, prepared.settings.schedule)
    return end_of_run(state.ledgers, prepared.settings.privacy, exposed) or asked


def _summary(
    prepared: Prepared, state: FederatedState, records: Sequence[Record], asked: str | None = None
) -> dict[str, Any]:
    config, stopped = prepared.config, _why_stopped(prepared, state, records, asked)
    summary = summarise(records, config.target_accuracy, config.rounds, stopped)
    limited = exposure_figures(prepared.settings.schedule, state.schedule.exposure_K, records)
    return {**summary, "judged_on": config.judged_on, "privacy": privacy_of(prepared, state), **limited}


def privacy_of(prepared: Prepared, state: FederatedState) -> list[Disclosure]:
    """Return what has left the clients of a run up to a state, with what is guaranteed of it."""
    method = prepared.method
    return disclosures(
        prepared.worker.defense,
        state.ledgers,
        sends=method.sends,
        full_tier=method.full_tier,
        statistics=prepared.settings.privacy.statistics,
        assumed=prepared.settings.privacy.assumed,
        next_tokens=prepared.settings.privacy.next_tokens,
    )


def _write_results(
    folder: RunFolder,
    prepared: Prepared,
    state: FederatedState,
    records: Sequence[Record],
    executor: Executor,
    asked: str | None = None,
) -> dict[str, Any]:
    """Write what a run has come to; the summary, which says whether it has ended, is the last thing of all."""
    config, description = prepared.config, model_description_of(prepared, state.round)
    summary = _summary(prepared, state, records, asked)
    if is_validated(records) and summary["selected_round"] == state.round:
        save_model(folder.best_model, state.weights.model, description)
    if summary["finished"]:
        title = f"{config.method}, {config.model}, {config.dataset}"
        plot_training(records, folder.plot, title=title)
        if not prepared.settings.privacy.next_tokens:  # there are no classes to be told apart
            summary |= final_figures(folder, prepared, state, summary, executor)
            plot_judged(summary, folder.test_plot, title=title)
        write_card(folder, model_card(prepared, state, records, summary))
    write_results(folder, state.weights.model, summary, description)
    return summary


def model_card(
    prepared: Prepared, state: FederatedState, records: Sequence[Record], summary: Mapping[str, Any]
) -> ModelCard:
    """Return what a run's model card tells before any audit.

    Args:
        prepared: the run.
        state: after its last round.
        records: of its rounds.
        summary: of the run; it may come from anybody.
    """
    return ModelCard(
        config=prepared.config,
        data=prepared.data,
        records=records,
        privacy=privacy_of(prepared, state),
        by_class=class_rows(summary, len(prepared.data.classes)),
        judged_apart=bool(prepared.method.own_networks(state.extras)),
    )


def model_description_of(prepared: Prepared, round_number: int) -> ModelDescription:
    """Return what a file of the global model after a round says of it."""
    config, numerics = prepared.config, prepared.worker.numerics
    return ModelDescription(
        model=config.model,
        dataset=config.dataset,
        norm="group" if config.norm == "group" else "batch",
        round=round_number,
        precision=numerics.precision,
        memory_format=numerics.memory_format,
        data=prepared.data,
    )

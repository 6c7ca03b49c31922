"""Tune: from a configuration and limits to the configuration within them, with an audit that no trial has influenced.

request -> images, space, rungs -> search -> frontier -> fresh audits of the best until one is confirmed -> tune.json,
recommended.toml, pictures, report.html
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dtfl_private.choosing.built_in_space import built_in_space
from dtfl_private.choosing.defense_choice import Point
from dtfl_private.choosing.fresh_audit import FreshAudit, FreshRuns, next_candidate
from dtfl_private.choosing.image_sets import ImageSets, image_sets
from dtfl_private.choosing.points import Base, config_of, first_points, within, without_defenses
from dtfl_private.choosing.ranking import recommended
from dtfl_private.choosing.request import Request, make_request, read_request, request_toml
from dtfl_private.choosing.rungs import REDUCTION, Rung, fresh_attacks, promoted, rungs_of, search_attacks
from dtfl_private.choosing.sampler import require_optuna
from dtfl_private.choosing.search import Ladder, Search, by_number
from dtfl_private.choosing.space import Space, in_words, parse_space, read_space
from dtfl_private.choosing.trial import Measured, Standing
from dtfl_private.choosing.trial_runs import TrialRuns, own_process
from dtfl_private.choosing.trials_file import append_trial, read_trials
from dtfl_private.choosing.words import assumed_lines, point_in_words
from dtfl_private.choosing.written_tuning import AUDIT, Tuning, write_tuning
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import file_layers, flattened
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.folder import RunFolder, locked, require_no_links_below
from dtfl_private.experiments.setup.named_plugins import make_method
from dtfl_private.experiments.setup.next_token_runs import require_classifier
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.files.writing import output_path, require_writable, write_atomic
from dtfl_private.plugins.own_objects import Allowed, allowance
from dtfl_private.report.words.numbers import duration, number_of
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.device import choose_device, choose_workers
from dtfl_private.runtime.executor_choice import LOCAL
from dtfl_private.training.method import Method

REQUEST, TRIALS = "tune.toml", "trials.jsonl"
RUNS, FRESH = "trials", "fresh"
DEFAULT_TRIALS = 40
MOST_TRIALS = 10_000
# With less the first rung holds little more than the untouched configuration.
LEAST_TRIALS = 2


class TuningInterrupted(KeyboardInterrupt):
    """The user stopped a search, which `resume_tuning` goes on with.

    Attributes:
        folder: of the search.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A search as it will be carried out: checked, with nothing written yet."""

    request: Request
    base: Base
    space: Space
    first: Sequence[Point]
    images: ImageSets
    rungs: Sequence[Rung]
    notes: Sequence[str]
    workers: int


def tune(
    config: TrainConfig | Run | Path | str,
    limits: Sequence[str],
    *,
    max_accuracy_loss: float = 0.02,
    max_time_ratio: float = 1.5,
    trials: int | None = None,
    hours: float | None = None,
    space: Path | str | None = None,
    audits: int = 3,
    seed: int = 0,
    workers: int | None = None,
    out: Path | str | None = None,
    allow_plugins: Iterable[str] = (),
    callbacks: Sequence[Callback] = (),
) -> Tuning:
    """Search for the configuration within limits on leakage, accuracy and time, and audit what is found afresh.

    Args:
        config: the untouched configuration; or a run (or its folder), or a CONFIG.toml, that has it.
        limits: what may leak at most, such as ``ssim<=0.4`` or ``membership-auc<=0.6@tier<=2``.
        max_accuracy_loss: accuracy (0..1) that may be lost to the untouched configuration.
        max_time_ratio: simulated time that may be taken, in times of the untouched configuration's.
        trials: on the first rung; 40 unless ``hours`` says how many.
        hours: that all may take; the untouched configuration's first trial says how many trials that are.
        space: TOML file of what may be chosen; by default the built-in one.
        audits: points that are audited afresh at most, until one is confirmed.
        seed: of the search.
        workers: trials at once, each in a one-thread process; by default one per core, and one on a GPU.
        out: folder to make; by default a fresh one below ``runs``.
        allow_plugins: modules whose objects the configuration may name (``package.module:function``).
        callbacks: hear how it proceeds.

    Raises:
        InputError: wrong input; nothing was written.
        RunError: a trial or an audit failed; `resume_tuning` goes on.
        TuningInterrupted: likewise, by Ctrl-C.
    """
    require_optuna()
    with told(callbacks) as listener:
        allowed = allowance(allow_plugins)
        given = None if space is None else read_space(Path(space))
        request = make_request(
            base_config(config, allowed),
            given,
            limits=list(limits),
            max_accuracy_loss=max_accuracy_loss,
            max_time_ratio=max_time_ratio,
            trials=DEFAULT_TRIALS if trials is None and hours is None else trials,
            hours=hours,
            audits=audits,
            seed=seed,
        )
        task = _task(request, workers)
        folder = _new_folder(out, task)
        with locked(RunFolder(path=folder)):
            return _until_stopped(folder, task, [], listener)


def resume_tuning(
    folder: Path | str,
    *,
    workers: int | None = None,
    allow_plugins: Iterable[str] = (),
    callbacks: Sequence[Callback] = (),
) -> Tuning:
    """Go on with an interrupted search in its folder; what was tried is not tried again, and the end is the same.

    Args:
        folder: of the search.
        workers: as for `tune`.
        allow_plugins: likewise.
        callbacks: likewise.

    Raises:
        InputError: there is no search, or its files are damaged.
        RunError: as for `tune`.
    """
    require_optuna()
    path = output_path(folder)
    if not (path / REQUEST).is_file():
        raise InputError(f"'{path}' has no {REQUEST}: there is no search to go on with")
    require_no_links_below(*(path / name for name in (TRIALS, RUNS, FRESH, AUDIT)))
    with told(callbacks) as listener, locked(RunFolder(path=path)):
        task = _task(read_request(path / REQUEST, allowance(allow_plugins)), workers)
        known = read_trials(path / TRIALS)
        if known:
            listener.note(f"{number_of(len(known), 'trial')} had ended before and are not repeated")
        return _until_stopped(path, task, known, listener)


def shown_space(
    config: TrainConfig | Run | Path | str, limits: Sequence[str], allow_plugins: Iterable[str] = ()
) -> str:
    """Return the built-in space for a configuration and limits, as the text of a TOML file.

    Raises:
        InputError: wrong input.
    """
    request = make_request(base_config(config, allowance(allow_plugins)), None, limits=list(limits))
    prepared = _prepared(request.config)
    return _built_in(request, prepared)


def base_config(config: TrainConfig | Run | Path | str, allowed: Allowed) -> TrainConfig:
    """Return the untouched configuration: given as it is, of a run, or in a file.

    Raises:
        InputError: there is none there.
    """
    if isinstance(config, TrainConfig):
        return config.allowing(allowed)
    if isinstance(config, Run):
        return config.config.allowing(allowed)
    path = Path(config)
    if path.is_dir():
        return read_run_config(RunFolder(path=path), allowed=allowed).model_copy(update={"executor": LOCAL})
    return make_config(flattened(file_layers(path)), str(path), allowed=allowed)


def _prepared(config: TrainConfig) -> Prepared:
    if config.executor != LOCAL:
        raise InputError(f"executor {config.executor}: tune tries configurations on this machine only: leave it out")
    prepared = prepare(config.model_copy(update={"workers": 1}))
    require_classifier(prepared.worker.model)
    return prepared


def _built_in(request: Request, prepared: Prepared) -> str:
    method, modules = prepared.method, len(prepared.worker.model)
    return built_in_space(request.config, method, _tiers(prepared), request.limits, modules)


def _tiers(prepared: Prepared) -> list[int]:
    tiers: list[int] = prepared.settings.schedule.table.tiers_M.tolist()
    return tiers


def _task(request: Request, workers: int | None) -> _Task:
    """Return how a request will be carried out.

    Raises:
        InputError: something of it is wrong.
    """
    prepared = _prepared(request.config)
    base = Base(config=request.config, tiers=_tiers(prepared))
    space = request.space or parse_space(_built_in(request, prepared), "the built-in space")
    space = within(space, base)
    _require_tiers(request, base)
    points, left_out = first_points(space)
    # What is no point of the space comes before its first: an own defense is kept in the untouched configuration alone.
    first: list[Point] = points if base.undefended else [{}, *points]
    device = choose_device(request.config.device)
    rungs = rungs_of(request.config.rounds, search_attacks(request.limits, _methods(space, request.config)))
    images = image_sets(request.config)
    own = [] if base.undefended else ["the defenses of the configuration are replaced, not added to, by those tried"]
    return _Task(
        request=request,
        base=base,
        space=space,
        first=first,
        images=images,
        rungs=rungs,
        notes=[*images.notes, *own, *left_out],
        workers=choose_workers(workers, device, max(64, workers or 1)),
    )


def _require_tiers(request: Request, base: Base) -> None:
    for limit in request.limits:
        if limit.guaranteed is None and not any(map(limit.covers, base.tiers)):
            raise InputError(f"limit '{limit}' is about none of the tiers {', '.join(map(str, base.tiers))}")


def _methods(space: Space, config: TrainConfig) -> list[tuple[Method, bool]]:
    """Return the methods that trials may be trained by, each with whether clients may keep the whole network."""
    made = [make_method(str(name), allowed=config.allowed) for name in space.train.get("method", (config.method,))]
    return [(method, method.full_tier) for method in made]


def _new_folder(out: Path | str | None, task: _Task) -> Path:
    """Make the folder of a search, with what was asked.

    Raises:
        InputError: it is there already, or cannot be made.
    """
    path = _fresh_path(task.request.config) if out is None else output_path(out)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(
            f"folder '{path}' exists: --resume {path} goes on with a search there; or choose another --out"
        )
    require_writable(path, f"folder '{path}' cannot be made")
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write_request(path, task.request.settled(task.space, task.request.trials))
    except OSError as error:
        raise InputError(f"folder '{path}' cannot be made: {error.strerror}") from None
    return path


def _write_request(folder: Path, request: Request) -> None:
    write_atomic(folder / REQUEST, request_toml(request).encode())


def _fresh_path(config: TrainConfig) -> Path:
    name = "".join(letter for letter in config.dataset.partition(":")[0] if letter.isalnum() or letter in "-_")
    number = 1
    while (path := Path("runs") / f"tune-{name}-{number:03d}").exists():
        number += 1
    return path


def _until_stopped(folder: Path, task: _Task, known: Sequence[Measured], listener: Callback) -> Tuning:
    """Carry a search out; who stops it is told where it is."""
    listener.note(f"folder: {folder}")
    try:
        return _carried_out(folder, task, known, listener)
    except KeyboardInterrupt:
        raise TuningInterrupted(folder) from None


def _carried_out(folder: Path, task: _Task, known: Sequence[Measured], listener: Callback) -> Tuning:
    """Carry a search out, or go on with it, and write down what it found."""
    runs = TrialRuns(
        space=task.space,
        base=task.base,
        images=task.images.of_trials,
        rungs=task.rungs,
        rules=task.request.rules,
        folder=folder / RUNS,
        workers=task.workers,
        listener=listener,
    )
    search = Search(
        space=task.space,
        first=task.first,
        rules=task.request.rules,
        ladder=_ladder(task, task.request.trials or LEAST_TRIALS),
        evaluate=runs,
        keep=lambda measured: append_trial(folder / TRIALS, measured),
        same=runs.same,
        possible=runs.possible,
        without=lambda point, names: without_defenses(task.space, point, names),
        known=dict(by_number(known)),
    )
    _say_what_comes(task, listener)
    began = search.begin()
    if task.request.trials is None:
        search.ladder = _ladder(task, _trials_within(task, began))
        task = replace(task, request=task.request.settled(task.space, search.ladder.trials))
        _write_request(folder, task.request)
    _announce(task, search, began, listener)
    stands = search.carry_on()
    if search.used_up:
        listener.note(f"the space is used up after {number_of(len(search.points), 'trial')}")
    audits = _audited(folder, task, stands, _Unannounced(listener))
    return write_tuning(
        folder, task.request, search.standings(0), stands, audits, configs=_configs(task), rungs=task.rungs
    )


def _ladder(task: _Task, trials: int) -> Ladder:
    return Ladder(trials=trials, promoted=promoted(trials, len(task.rungs)), seed=task.request.seed)


def _units(task: _Task, trials: int) -> int:
    """Return what a search costs, in rounds of training."""
    counts = [trials, *(count + 1 for count in promoted(trials, len(task.rungs)))]
    of_trials = sum(count * rung.units for count, rung in zip(counts, task.rungs, strict=True))
    return of_trials + _fresh_units(task)


def _fresh_units(task: _Task) -> int:
    """Return what a fresh audit costs: two trainings, and several times the attacks of a trial."""
    return 2 * task.rungs[-1].rounds + 4 * (task.rungs[-1].units - task.rungs[-1].rounds)


def _trials_within(task: _Task, began: Measured) -> int:
    """Return how many trials fit into the hours that were given."""
    assert task.request.hours is not None
    given_s = 3600 * task.request.hours
    fits = [count for count in range(LEAST_TRIALS, MOST_TRIALS + 1) if _took_s(task, count, began) <= given_s]
    if not fits:
        raise InputError(
            f"{task.request.hours:g} hours are too few: {LEAST_TRIALS} trials and a fresh audit take about "
            f"{duration(_took_s(task, LEAST_TRIALS, began))} here"
        )
    return fits[-1]


def _took_s(task: _Task, trials: int, began: Measured) -> float:
    return began.wall_s / task.rungs[0].units * _units(task, trials) / task.workers


def _say_what_comes(task: _Task, listener: Callback) -> None:
    """Tell the plan before anything is tried."""
    request = task.request
    rules = f"accuracy loss <= {request.rules.max_accuracy_loss:g}, time ratio <= {request.rules.max_time_ratio:g}"
    listener.note(f"limits: {', '.join(map(str, request.limits))}; {rules}")
    for line in in_words(task.space):
        listener.note(f"space: {line}")
    for line in [*task.notes, *assumed_lines(request.config)]:
        listener.note(line)
    trials = request.trials
    counts = ["as many trials as the time allows"] if trials is None else []
    if trials is not None:
        for count, rung in zip([trials, *promoted(trials, len(task.rungs))], task.rungs, strict=True):
            listener.note(f"rung {rung.number}: {rung.line(count)}")
        defaults = min(len(task.first), trials)
        listener.note(
            f"the first {number_of(defaults, 'trial')}: the untouched configuration, and each defense as it is by "
            f"default; one in {REDUCTION} is promoted"
        )
    for line in counts:
        listener.note(line)
    listener.note(
        f"then up to {number_of(request.audits, 'fresh audit')}; {number_of(task.workers, 'worker')}; the untouched "
        "configuration comes first and tells how long it takes"
    )


def _announce(task: _Task, search: Search, began: Measured, listener: Callback) -> None:
    """Tell how much there is to do, and about how long it takes."""
    trials = search.ladder.trials
    counts = [trials, *(count + 1 for count in search.ladder.promoted)]
    done = [sum(1 for _, rung in search.known if rung == number) for number in range(len(task.rungs))]
    left = [max(0, count - gone) for count, gone in zip(counts, done, strict=True)]
    names = [f"rung {rung.number}" for rung in task.rungs]
    steps = [count * rung.units for count, rung in zip(left, task.rungs, strict=True)]
    listener.jobs_announced([*names, "fresh audit"], [*steps, _fresh_units(task)])
    whole = _took_s(task, trials, began)
    listener.note(f"{number_of(trials, 'trial')} and a fresh audit take about {duration(whole)} in all")


def _configs(task: _Task) -> Callable[[Measured], TrainConfig]:
    """Return what returns the configuration of a trial as the user would train it."""

    def of(measured: Measured) -> TrainConfig:
        return task.base.config if measured.trial == 0 else config_of(task.space, measured.point, task.base)

    return of


def _audited(folder: Path, task: _Task, stands: Sequence[Standing], listener: Callback) -> list[FreshAudit]:
    """Return the fresh audits of the best points: until one is confirmed, and no more than allowed."""
    fresh = {**task.images.of_fresh, **own_process()}
    runs = FreshRuns(
        folder=folder / FRESH,
        rules=task.request.rules,
        baseline=task.base.config.model_copy(update=fresh),
        workers=task.workers,
        listener=listener,
    )
    done: list[FreshAudit] = []
    waiting = recommended(stands, task.request.limits)
    while waiting and len(done) < task.request.audits:
        chosen = next_candidate(waiting, done, task.request.limits)
        waiting.remove(chosen)
        config = _configs(task)(chosen.measured)
        method = make_method(config.method, allowed=config.allowed)
        listener.note(f"fresh audit of trial {chosen.measured.trial}: {point_in_words(chosen.measured.point)}")
        attacks = fresh_attacks(
            task.request.limits, method, whole=method.full_tier, input_shape=task.images.input_shape
        )
        done.append(runs.audit(chosen, config.model_copy(update=fresh), attacks))
        if done[-1].confirmed:
            break
        listener.note(f"the fresh audit refutes trial {chosen.measured.trial}")
    return done


class _Unannounced(Callback):
    """Passes on what happens in the fresh audits, whose jobs were announced as one already."""

    def __init__(self, listener: Callback) -> None:
        self._listener = listener

    def note(self, text: str) -> None:
        """Pass on a line."""
        self._listener.note(text)

    def job_started(self, job: str) -> None:
        """Pass on that a job begins."""
        self._listener.job_started(f"{job}, fresh")

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Pass on that a job is done."""
        self._listener.job_finished(f"{job}, fresh", cached=cached, error=error)

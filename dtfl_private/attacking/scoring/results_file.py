"""attack.json: results of attacks with those of earlier calls, and the remarks that belong to them."""

from collections.abc import Sequence

from dtfl_private.attacking.assumed import assumption_remarks, in_force
from dtfl_private.attacking.attack_plan import AttackPlan
from dtfl_private.attacking.victims.acting_defenses import acting_line, differ_in_a_tier
from dtfl_private.errors import InputError
from dtfl_private.files.writing import path_text, write_atomic
from dtfl_private.leakage.results.result import Result, read_results, read_round, results_document
from dtfl_private.protocol.assumptions import sentences_of
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callback

RESULTS = "attack.json"


def result_key(result: Result) -> tuple[object, ...]:
    """Return what tells a result from the others of a run: tier, attack with its settings, metric, adversary."""
    settings = tuple(sorted((name, str(value)) for name, value in result.settings.items()))
    return (result.tier, result.source, result.metric, result.adaptive, result.adversary, settings)


def with_undefended(results: Sequence[Result], undefended: Sequence[Result]) -> list[Result]:
    """Return results with the undefended run's value of the same attack, tier and metric."""
    known = {result_key(result): result.value for result in undefended}
    return [result.model_copy(update={"undefended": known.get(result_key(result))}) for result in results]


def write_results(plan: AttackPlan, results: Sequence[Result], listener: Callback) -> list[Result]:
    """Write attack.json: these results, and those of other attacks on the same round that were there; return all."""
    all_results = [*_others(plan, results, listener), *results]
    header = {
        "run": path_text(plan.opened.folder.path),
        "round": plan.rounds.number,
        "threat_model": sorted({result.adversary for result in all_results if result.adversary is not None}),
        "victims": _victims(plan),
        "aux": plan.auxiliary_images,
    }
    write_atomic(plan.folder / RESULTS, results_document(all_results, header))
    return all_results


def _others(plan: AttackPlan, results: Sequence[Result], listener: Callback) -> list[Result]:
    """Return what other attacks have found in the same round, as attack.json says."""
    path, new = plan.folder / RESULTS, set(map(result_key, results))
    if not path.is_file():
        return []
    try:
        others = [result for result in read_results(path) if result_key(result) not in new]
    except InputError as error:
        listener.note(f"{error}; it is replaced")
        return []
    if read_round(path) != plan.rounds.number:
        listener.note(f"{path} was of another round of this run; it is replaced")
        return []
    return others


def _victims(plan: AttackPlan) -> int:
    """Return the number of images or texts that were attacked."""
    played = plan.rounds.untampered.values()
    return max((len(victims.records) for victims in played), default=plan.config.victims)


def remarks(plan: AttackPlan) -> list[str]:
    """Return what belongs to the results: whose records were attacked, what the adversary knew, what is missing."""
    config, auxiliary = plan.config, plan.setup.split.auxiliary
    where = "the same clients placed in each tier"
    if config.as_scheduled or plan.rounds.recorded:
        where = "clients in the tiers that they really were in"
    recorded = "recorded " if plan.rounds.recorded else ""
    noun = "images" if plan.opened.vocabulary is None else "texts"
    known = "" if auxiliary is None else f", {len(auxiliary.images)} {noun} of {auxiliary.name} to train on"
    of = "" if config.clients is None else f"client {', '.join(map(str, config.clients))} in "
    lines = [
        f"attacked: {_victims(plan)} {noun} of {of}{recorded}round {plan.rounds.number}, {where}, "
        f"{number_of(config.seeds, 'repetition')}",
        f"adversary's data: {config.aux}{known}",
        *plan.opened.notes,
        *sentences_of(in_force(plan.opened, config)),
        *assumption_remarks(plan.opened, config),
    ]
    lines += _acting(plan)
    if plan.budget:
        lines.append(f"steps at each tier, in each repetition: {plan.budget}; a search's are for every victim")
    if any(not job.chosen.attack.adaptive for job in plan.jobs):
        lines.append("attacks that are not adaptive make defenses look better than they are")
    if config.undefended is None and plan.opened.prepared.config.defense:
        lines.append("only baselines to compare this defended run with: --undefended train adds the same run without")
    return lines


def _acting(plan: AttackPlan) -> list[str]:
    """Return what acts at the attacked clients of each tier, where the defenses have rules."""
    played = {tier: victims.seen for (tier, _), victims in sorted(plan.rounds.untampered.items())}
    found = [acting_line(plan.opened, tier, seen[0].download) for tier, seen in played.items() if seen]
    lines = [line for line in found if line is not None]
    if not lines:
        return []
    clients = " (of clients that differ, those at whom the fewest act)" if differ_in_a_tier(plan.opened) else ""
    return [f"defenses that act there{clients}: {'; '.join(lines)}"]

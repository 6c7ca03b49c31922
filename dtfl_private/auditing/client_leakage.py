"""What leaks of each client of a run, attack by attack, by what the adversary knows: the rows of an attacked sweep.

Clients are placed in every tier, as in `by_client`. An attack on smashed data gets the first batches of all clients;
one that needs weight updates gets all that they sent. With auxiliary data in the mixture of the attacked client, each
client is attacked by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dtfl_private.attacking.attack_config import AttackConfig, make_attack_config
from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.chosen_attack import make_attack
from dtfl_private.attacking.effort import EFFORTS
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.attacking.scoring.scoring import Judge, Verdict
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import sent_sizes
from dtfl_private.auditing.by_client import client_of_record, entropy_bits, nearest_distance
from dtfl_private.auditing.judged_records import judged_records
from dtfl_private.data.preprocess import unit
from dtfl_private.errors import InputError
from dtfl_private.experiments.attack_table import AttackTable
from dtfl_private.report.client_sweep import LeakageRow
from dtfl_private.runtime.callback import Callback

MIXTURE = "mixture"


@dataclass(frozen=True, kw_only=True)
class RunLeakage:
    """What leaks of the clients of a run.

    Attributes:
        rows: one for each client, attack, tier and auxiliary data.
        left_out: attacks that could not be mounted, each in a line with the reason.
    """

    rows: Sequence[LeakageRow]
    left_out: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Traits:
    """What a client is like, whatever attacks it."""

    records: int
    label_entropy: float
    oddness: float


def require_names(tables: Sequence[AttackTable]) -> None:
    """Refuse tables with an attack, an effort or auxiliary data that there is not.

    Raises:
        InputError: the first of them.
    """
    for table in tables:
        _require_names(table)


def _require_names(table: AttackTable) -> None:
    config = _config(table, table.attacks, table.aux[0])
    for text in table.attacks:
        make_attack(text, EFFORTS[config.effort])
    for aux in table.aux:
        if Knowledge.parse(aux).dataset is not None:
            raise InputError(f"auxiliary data '{aux}' in [[attack]] is refused: it is of same, mixture, client:K, none")


def leakage_of_clients(
    opened: OpenedRun, tables: Sequence[AttackTable], folder: Path, listener: Callback
) -> RunLeakage:
    """Attack a run by what tables say, and return what leaks of each client.

    Args:
        opened: the run.
        tables: the attacks, and the adversary's auxiliary data.
        folder: where finished guesses are cached.
        listener: hears how the attacks proceed.

    Raises:
        RunError: an attack failed; what was finished is cached.
    """
    rows: list[LeakageRow] = []
    left_out: dict[str, None] = {}
    traits: dict[int, _Traits] = {}
    judge: Judge | None = None
    for config in (config for table in tables for config in _configs(opened, table)):
        try:
            plan = plan_attack(opened, config, None, folder)
        except InputError as error:
            left_out[_left_out(config, error)] = None
            continue
        judge = Judge(plan.setup, like=judge)
        for one in plan.left_out:
            left_out[f"{one.attack}{'' if one.tier is None else f' at tier {one.tier}'}: {one.why}"] = None
        traits = traits or _traits(plan)
        for verdict in judged_guesses(replace(plan, judge=judge), listener):
            rows += _rows(plan, verdict, traits)
    return RunLeakage(rows=rows, left_out=list(left_out))


def _configs(opened: OpenedRun, table: AttackTable) -> Iterator[AttackConfig]:
    """Yield how the run is attacked: for each kind of auxiliary data, on smashed data and on updates."""
    clients = [task.client for task in opened.tasks]
    asked = set(table.tiers) if isinstance(table.tiers, list) else None
    for aux in table.aux:
        for of in [[client] for client in clients] if aux == MIXTURE else [clients]:
            for whole in (False, True):
                attacks = [text for text in table.attacks if _on_updates(text) is whole]
                tiers = opened.tiers if whole else opened.cut_tiers
                tiers = [tier for tier in tiers if asked is None or tier in asked]
                if attacks and tiers:
                    yield _config(
                        table, attacks, aux, tiers, of if aux == MIXTURE else None, _victims(opened, table, of, whole)
                    )


def _on_updates(text: str) -> bool:
    return "updates" in make_attack(text, 1.0)[0].facts.needs


def _victims(opened: OpenedRun, table: AttackTable, clients: Sequence[int], whole: bool) -> int:
    """Return how many records are attacked: all of these clients, or so many first batches that each has enough."""
    worker = opened.prepared.worker
    if whole:
        return sum(len(worker.parts[client]) for client in clients)
    batches = -(-table.each // worker.batch_size)
    return sum(sum(sent_sizes(opened, client, opened.cut_tiers[0])[:batches]) for client in clients)


def _config(
    table: AttackTable,
    attacks: Sequence[str],
    aux: str,
    tiers: Sequence[int] = (),
    clients: Sequence[int] | None = None,
    victims: int = 1,
) -> AttackConfig:
    return make_attack_config(
        attacks=tuple(attacks),
        tiers=tuple(tiers) or None,
        replay=True,
        aux=aux,
        aux_images=table.aux_images,
        victims=victims,
        clients=None if clients is None else tuple(clients),
        seeds=table.seeds,
        effort=table.effort,
        threads=1,
        where_applicable=True,
    )


def _left_out(config: AttackConfig, why: InputError) -> str:
    of = "" if config.clients is None else f", client {', '.join(map(str, config.clients))}"
    return f"auxiliary data {config.aux}{of}: {why}"


def _traits(plan: AttackPlan) -> dict[int, _Traits]:
    """Return what each client of the last round is like."""
    worker, known = plan.opened.prepared.worker, plan.setup.split.judging.images
    labels = worker.train_labels.numpy()
    found: dict[int, _Traits] = {}
    for task in plan.opened.tasks:
        part = worker.parts[task.client]
        found[task.client] = _Traits(
            records=len(part),
            label_entropy=entropy_bits(labels[part]),
            oddness=float(nearest_distance(unit(worker.train_images[part]), known).mean()),
        )
    return found


def _rows(plan: AttackPlan, verdict: Verdict, traits: dict[int, _Traits]) -> Iterator[LeakageRow]:
    if verdict.scored is None:  # every client refused
        return
    judged = judged_records(verdict)
    clients_N = client_of_record(plan.opened)[judged.records]
    for client in sorted(set(clients_N.tolist())):
        own = np.flatnonzero(clients_N == client)
        yield LeakageRow(
            client=client,
            attack=verdict.job.chosen.name,
            tier=verdict.job.tier,
            aux=plan.config.aux,
            metric=judged.metric,
            n=len(own),
            value=float(judged.values[own].mean()),
            guess=float(judged.guessed[own].mean()),
            recovered=judged.recovered_of(own),
            records=traits[client].records,
            label_entropy=traits[client].label_entropy,
            oddness=traits[client].oddness,
        )

"""The work of an audit: the run, its twin and its trainings attacked and measured, and what comes of it as findings."""

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dtfl_private.attacking.base import Attack, Reconstruction, Target
from dtfl_private.attacking.guessing import judged_guesses
from dtfl_private.attacking.jobs import LeftOut
from dtfl_private.attacking.plan import plan_attack
from dtfl_private.attacking.replay import OpenedRun, open_run
from dtfl_private.attacking.result_cache import ResultCache
from dtfl_private.attacking.runner import AttackReport, attack
from dtfl_private.attacking.scoring import Verdict
from dtfl_private.attacking.victims import victim_tasks
from dtfl_private.auditing.audit_config import QUICK, THOROUGH, AuditConfig
from dtfl_private.auditing.exposure import exposures
from dtfl_private.auditing.measuring import Measured, beside_undefended, measure_run, measures_label
from dtfl_private.auditing.sanity import identity_check, identity_label, shallowest, shallowest_check
from dtfl_private.auditing.trainings import Training as Pair
from dtfl_private.auditing.trainings import check_trainings, pooled, trainings
from dtfl_private.errors import InputError
from dtfl_private.experiments.config import plugin_options
from dtfl_private.experiments.norm import resolved_norm
from dtfl_private.experiments.provenance import VERSIONS_OF
from dtfl_private.files.reading import read_bytes
from dtfl_private.files.writing import path_text
from dtfl_private.leakage.findings import (
    Findings,
    Guaranteed,
    NotTested,
    SanityCheck,
    Threat,
    Training,
)
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.leakage.result import Result
from dtfl_private.leakage.verdict import chance, is_of_attack, strongest, tier_verdicts
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.protection.chain import DefenseChain
from dtfl_private.protocol.threat import ADVERSARIES, MEANING
from dtfl_private.runtime.device import choose_device, choose_workers
from dtfl_private.runtime.progress import Progress

# Attacks that the sanity check falls back on if none of the audit's reconstructs images.
RECONSTRUCTS = "optimization:steps=120"

# What no preset tests.
NEVER: Sequence[tuple[str, str]] = (
    (
        "earlier rounds",
        "attacks replay the last round; weights of earlier rounds leak more or less than its weights do",
    ),
    ("other adversaries", "an attack that failed here does not show that a better one would"),
)


class Work:
    """One audit: everything is checked when it is made, and nothing has been computed or written then."""

    def __init__(
        self,
        opened: OpenedRun,
        config: AuditConfig,
        attacks: Sequence[Attack] | None,
        folder: Path,
        objects: Mapping[str, Any],
        listener: Progress,
    ) -> None:
        self._opened, self._config, self._attacks, self._listener = opened, config, attacks, listener
        self._folder, self._objects = folder, objects
        check_trainings(opened, config)
        self._workers = choose_workers(config.workers, choose_device(config.device), max(64, config.workers or 1))
        self._attacking = config.attacking(self._workers)
        self._plan = plan_attack(opened, self._attacking, attacks, folder / "attacks")
        self._tiers = sorted({job.tier for job in self._plan.jobs})
        self._cache = ResultCache(folder / "kept", {"version": version("dtfl-private"), "run": str(opened.folder.path)})

    @property
    def _defended(self) -> bool:
        return bool(self._opened.prepared.config.defense)

    def findings(self) -> tuple[Findings, dict[int, list[tuple[str, bytes]]]]:
        """Carry the audit out; return what it found, and reconstructions by tier: captions and PNG pictures."""
        self._listener.jobs_expected(self._jobs())
        sanity = [self._identity()]
        pairs = trainings(self._opened, self._config, self._folder, self._objects, self._listener)
        reports = [self._attacked(pair) for pair in pairs]
        first = reports[0]
        found = pooled([_beside_any(report) for report in reports])
        best = strongest(found)
        sanity.append(self._shallowest(first))
        measured, undefended = self._measured(pairs[0])
        valid = all(check.passed for check in sanity)
        scheduled = self._scheduled(first)
        judged = [*found, *measured.results]
        verdicts = tier_verdicts(judged, valid=valid)
        metric = next((verdict.strongest.metric for verdict in verdicts if is_of_attack(verdict.strongest)), "ssim")
        worker = self._opened.prepared.worker
        adversaries = sorted({result.adversary for result in found if result.adversary is not None})
        findings = Findings(
            program=version("dtfl-private"),
            run=path_text(self._opened.folder.path),
            round=self._opened.plan.round,
            preset=self._config.preset,
            settings=_settings(self._config, [job.chosen.text for job in self._plan.jobs]),
            training=describe_training(self._opened, pairs[0].undefended_accuracy),
            threat_model=tuple(map(_threat, adversaries)),
            auxiliary=self._knowledge(),
            victims=max((result.n for result in found if result.metric == "ssim"), default=self._attacking.victims),
            aux=self._plan.auxiliary_images,
            valid=valid,
            sanity=tuple(sanity),
            results=(*found, *beside_undefended(measured.results, undefended)),
            as_scheduled=tuple(scheduled),
            strongest=tuple(best),
            verdict=tuple(verdicts),
            chance=chance(judged),
            clients=tuple(exposures(self._opened, best, metric)),
            guarantees=tuple(
                Guaranteed(**entry)
                for entry in disclosures(
                    worker.defense,
                    self._opened.after.ledgers,
                    sends=self._opened.prepared.method.sends,
                    full_tier=self._opened.prepared.method.full_tier,
                    statistics=self._opened.prepared.settings.budget.statistics,
                )
            ),
            not_tested=tuple(self._not_tested(pairs, measured)),
            repeat=self._commands(),
            environment=_environment(self._workers, choose_device(self._config.device)),
        )
        return findings, _galleries(first, self._tiers)

    def _jobs(self) -> int:
        """Return about how many jobs there will be."""
        runs = 2 if self._defended and self._config.undefended != "none" else 1
        trained = (self._config.training_seeds or 1) * runs
        scheduled = len(self._scheduled_tiers()) * (self._config.seeds or 1)
        measures = len(MEASURES) * len(self._tiers) * runs
        return len(self._plan.labels) * trained + trained - 1 + scheduled + measures + len(self._reconstructing())

    def _attacked(self, pair: Pair) -> AttackReport:
        """Attack a training, and its undefended twin beside it."""
        return attack(
            pair.run,
            self._attacking.model_copy(update={"undefended": None if pair.twin is None else str(pair.twin.path)}),
            attacks=self._attacks,
            out=pair.folder / "attacks",
            data_dir=self._opened.prepared.config.data_dir,
            allow_plugins=self._opened.prepared.config.allowed,
            listener=self._listener,
            **self._objects,
        )

    def _reconstructing(self) -> list[Attack]:
        """Return the attacks that can be tried on inputs that are sent as they are."""
        shape = tuple(self._opened.prepared.worker.train_images.shape[1:])
        target = Target(
            tier=1,
            input_shape=shape,
            cut_shape=shape,
            classes=self._opened.prepared.worker.classes,
            defense=DefenseChain(),
        )
        found = {}
        for job in self._plan.jobs:
            attack_ = job.chosen.attack
            fits = {"smashed", "client-weights"} <= attack_.facts.needs and "updates" not in attack_.facts.needs
            if isinstance(attack_, Reconstruction) and fits and not attack_.tampers:
                try:
                    attack_.check(target)
                except InputError:  # as one against a defense that is not there
                    continue
                if not attack_.facts.looks_back:
                    found[job.chosen.text] = attack_
        return list(found.values()) or [create("attack", RECONSTRUCTS)]

    def _identity(self) -> SanityCheck:
        attacks = self._reconstructing()
        self._listener.jobs_announced([identity_label(attack_) for attack_ in attacks])
        return identity_check(self._opened, self._attacking, attacks, self._cache, self._listener)

    def _shallowest(self, report: AttackReport) -> SanityCheck:
        """Return the check at md1 without defenses."""
        plain = report.undefended if self._defended else report
        results = [] if plain is None else shallowest(plain.results)
        return shallowest_check(results or shallowest(self._without_defenses()))

    def _without_defenses(self) -> list[Result]:
        """Return what attacks get at md1 from the run's last round, played once more as if it had no defenses."""
        prepared = self._opened.prepared
        bare = replace(prepared, worker=replace(prepared.worker, defense=DefenseChain()))
        config = self._attacking.model_copy(update={"tiers": (1,), "seeds": 1})
        attacks = self._reconstructing()
        plan = plan_attack(replace(self._opened, prepared=bare), config, attacks, self._folder / "sanity")
        self._listener.jobs_announced(plan.labels)
        return [result for verdict in judged_guesses(plan, self._listener) for result in verdict.results]

    def _measured(self, pair: Pair) -> tuple[Measured, Sequence[Result]]:
        """Return what measures say of the run, and of its undefended twin."""
        labels = [measures_label(tier, name) for tier in self._tiers for name in MEASURES]
        self._listener.jobs_announced(labels)
        own = measure_run(self._opened, self._config, self._tiers, self._cache, self._listener)
        if pair.twin is None:
            return own, []
        self._listener.jobs_announced(labels)
        objects = {**self._objects, "defenses": None}
        config = self._opened.prepared.config
        twin = open_run(pair.twin, data_dir=config.data_dir, allow_plugins=config.allowed, **objects)
        return own, measure_run(twin, self._config, self._tiers, self._cache, self._listener).results

    def _scheduled_tiers(self) -> list[int]:
        """Return the audited tiers in which somebody sent anything in the last round."""
        used = sorted(set(self._tiers) & set(self._opened.plan.tiers_P.tolist()))
        return [tier for tier in used if victim_tasks(self._opened, tier, 1, "batches", scheduled_in=tier)]

    def _scheduled(self, report: AttackReport) -> list[Result]:
        """Return what the strongest reconstruction of each tier gets from clients that really were there.

        Of half as many victims: it is to confirm what clients that were placed there lost, and trains all anew.
        """
        tiers_of: dict[str, list[int]] = {}
        for tier in self._scheduled_tiers():
            mounted = [verdict for verdict in report.verdicts if verdict.job.tier == tier]
            reached = {verdict.job.chosen.text: ssim for verdict in mounted if (ssim := _ssim(verdict)) is not None}
            if reached:
                tiers_of.setdefault(max(reached, key=reached.__getitem__), []).append(tier)
        results: list[Result] = []
        for text, tiers in tiers_of.items():
            half = max(1, self._attacking.victims // 2)
            likewise = self._attacking.model_copy(update={"as_scheduled": True, "tiers": tuple(tiers), "victims": half})
            chosen = [job.chosen.attack for job in self._plan.jobs if job.chosen.text == text][:1]
            named = self._attacks is None
            found = attack(
                self._opened.folder,
                likewise.model_copy(update={"attacks": (text,)}) if named else likewise,
                attacks=None if named else chosen,
                out=self._folder / "as-scheduled",
                data_dir=self._opened.prepared.config.data_dir,
                allow_plugins=self._opened.prepared.config.allowed,
                listener=self._listener,
                **self._objects,
            ).results
            results += [result for result in found if result.adversary is not None]
        return results

    def _knowledge(self) -> str:
        count, name = self._plan.auxiliary_images, self._config.aux
        if not count:
            return f"{name}: no images of its own"
        return f"{name}: {count} labelled images to train on, and a fifth as many to tune by, that no client holds"

    def _not_tested(self, pairs: Sequence[Pair], measured: Measured) -> list[NotTested]:
        found = [*_left_out(self._plan.left_out), *measured.not_given]
        names = dict.fromkeys(text.partition(":")[0] for text in (*QUICK, *THOROUGH))
        known = {job.chosen.name for job in self._plan.jobs} | {one.attack for one in self._plan.left_out}
        if missing := ", ".join(name for name in names if name not in known):
            found.append(
                NotTested(what=missing, why="not asked for: --preset thorough has them all, --attack single ones")
            )
        if self._attacks is None and self._config.attacks == QUICK:
            why = "decoders train for 20 epochs and searches take 120 steps here; longer ones get more"
            found.append(NotTested(what="longer attacks", why=why))
        if others := [tier for tier in self._opened.tiers if tier not in self._tiers]:
            found.append(NotTested(what=f"tiers {', '.join(map(str, others))}", why="not asked for (--tier)"))
        if self._opened.whole_tier is not None:
            why = "its clients keep the whole network; no attack here is made for the weight update of one"
            found.append(NotTested(what=f"tier {self._opened.whole_tier}", why=why))
        if len(pairs) == 1:
            why = "one training was attacked: intervals do not cover its chance"
            found.append(NotTested(what="other trainings", why=why))
        else:
            why = f"results of {len(pairs)} trainings are their mean, and intervals contain those of each; measures, "
            why += "as scheduled, clients and accuracy are of the run itself"
            found.append(NotTested(what="measures of other trainings", why=why))
        if self._opened.prepared.statistics:
            why = "each client's pixel count, sum and sum of squares per channel were sent; no attack here uses them"
            found.append(NotTested(what="statistics of the images", why=why))
        if self._defended and pairs[0].twin is None:
            why = "--undefended none: nothing stands beside the defenses"
            found.append(NotTested(what="the run without defenses", why=why))
        return [*found, *(NotTested(what=what, why=why) for what, why in NEVER)]

    def _commands(self) -> tuple[str, ...]:
        """Return the commands that repeat run and audit."""
        run = path_text(self._opened.folder.path)
        allow = plugin_options(self._opened.prepared.config)
        train = shlex.join(["dtfl-private", "train", f"{run}/config.toml", "--out", f"{run}-again", *allow])
        if self._attacks is not None or any(thing is not None for thing in self._objects.values()):
            return (train, "from Python, with the same objects: no command names them")
        return (train, shlex.join(["dtfl-private", "audit", run, *options_of(self._config), *allow]))


def options_of(config: AuditConfig) -> list[str]:
    """Return the options of ``dtfl-private audit`` that ask for this configuration."""
    asked = {name: getattr(config, name) for name in AuditConfig.model_fields if name not in ("attacks", "tiers")}
    usual = AuditConfig(preset=config.preset).settled()
    options: list[tuple[str, str]] = [("--preset", config.preset)]
    if config.tiers != "all":
        options += [("--tier", str(tier)) for tier in config.tiers]
    if config.attacks is not None and config.attacks != usual.attacks:
        options += [("--attack", text) for text in config.attacks]
    options += [
        (f"--{name.replace('_', '-')}", str(value))
        for name, value in asked.items()
        if name != "preset" and value != getattr(usual, name)
    ]
    return [part for option in options for part in option]


def _beside_any(report: AttackReport) -> list[Result]:
    """Return results with what the strongest attack reached undefended beside those that have no counterpart there."""
    best = {} if report.undefended is None else {(r.tier, r.metric): r for r in strongest(report.undefended.results)}
    return [
        result.model_copy(update={"undefended": best[result.tier, result.metric].value})
        if result.undefended is None and result.adversary is not None and (result.tier, result.metric) in best
        else result
        for result in report.results
    ]


def _ssim(verdict: Verdict) -> float | None:
    """Return the mean SSIM that an attack reached, if it reconstructs images of clients that are in the job's tier."""
    if verdict.job.chosen.attack.tampers:
        return None
    return next((result.value for result in verdict.results if result.metric == "ssim"), None)


def _left_out(left_out: Sequence[LeftOut]) -> list[NotTested]:
    tiers: dict[tuple[str, str], list[int]] = {}
    for one in left_out:
        tiers.setdefault((one.attack, one.why), []).extend([] if one.tier is None else [one.tier])
    return [
        NotTested(what=f"{name} at tier {', '.join(map(str, where))}" if where else name, why=why)
        for (name, why), where in tiers.items()
    ]


def _settings(config: AuditConfig, attacks: Sequence[str]) -> dict[str, Any]:
    values = {**config.model_dump(mode="json"), "attacks": list(dict.fromkeys(attacks))}
    return {
        name: "; ".join(map(str, value)) if isinstance(value, list | tuple) else value for name, value in values.items()
    }


def describe_training(opened: OpenedRun, undefended_accuracy: float | None) -> Training:
    """Return what an audit says of a run, with its undefended twin's accuracy if that is known."""
    config = opened.prepared.config
    return Training(
        dataset=config.dataset,
        model=config.model,
        norm=resolved_norm(config),
        method=config.method,
        partition=config.partition,
        scheduler=config.scheduler,
        clients=config.clients,
        rounds=len(opened.records),
        seed=config.seed,
        defense=tuple(config.defense),
        test_accuracy=opened.records[-1]["test_accuracy"],
        undefended_accuracy=undefended_accuracy,
        tiers=tuple(opened.tiers),
    )


def _threat(name: str) -> Threat:
    adversary = ADVERSARIES[name]
    able = tuple(MEANING[capability] for capability in MEANING if capability in adversary.has)
    return Threat(adversary=name, who=adversary.who, capabilities=able)


def _environment(workers: int, device: str) -> dict[str, Any]:
    versions = {name: version(name) for name in VERSIONS_OF}
    return {**versions, "platform": platform.platform(), "device": device, "workers": workers}


def _galleries(report: AttackReport, tiers: Sequence[int]) -> dict[int, list[tuple[str, bytes]]]:
    """Return pictures of reconstructions by tier."""
    return {
        tier: [
            (path.stem.removeprefix(f"tier-{tier}-").replace("-", " "), read_bytes(path, most_bytes=2**28))
            for path in report.pictures
            if path.name.startswith(f"tier-{tier}-")
        ]
        for tier in tiers
    }

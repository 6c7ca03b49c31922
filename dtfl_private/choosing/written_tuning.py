"""A search on disk: tune.json, recommended.toml, the picture of the frontier, report.html, and the audit's files."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dtfl_private.choosing.fresh_audit import FreshAudit
from dtfl_private.choosing.frontier_picture import frontier_picture
from dtfl_private.choosing.page import tuning_page
from dtfl_private.choosing.ranking import frontier, nearest_misses
from dtfl_private.choosing.request import Request
from dtfl_private.choosing.rungs import Rung
from dtfl_private.choosing.trial import Measured, Standing
from dtfl_private.choosing.words import outcome_text
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.files.writing import path_text, write_atomic
from dtfl_private.html_table import table_html
from dtfl_private.printable import printable

SCHEMA_VERSION = 1
RESULT, RECOMMENDED, REPORT, PICTURE = "tune.json", "recommended.toml", "report.html", "frontier.png"
AUDIT = "audit"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A search that is done.

    Attributes:
        folder: of the search.
        request: what was asked.
        first_rung: how the trials of the first rung stood, by number.
        whole: how those of the last rung stand, which were trained to the end.
        frontier: those of the last rung that no other dominates.
        misses: those that break the rules least, where nothing is recommended.
        audits: fresh audits, in their order; the last one is confirmed if any is.
        config: that is recommended; None if none is.
    """

    folder: Path
    request: Request
    first_rung: Sequence[Standing]
    whole: Sequence[Standing]
    frontier: Sequence[Standing]
    misses: Sequence[Standing]
    audits: Sequence[FreshAudit]
    config: TrainConfig | None

    @property
    def recommended(self) -> FreshAudit | None:
        """The point that is recommended, with the fresh audit that confirms it; None if none is."""
        return self.audits[-1] if self.audits and self.audits[-1].confirmed else None

    @property
    def path(self) -> Path:
        """tune.json."""
        return self.folder / RESULT

    @property
    def report(self) -> Path:
        """report.html."""
        return self.folder / REPORT

    @property
    def picture(self) -> Path:
        """The picture of the frontier."""
        return self.folder / PICTURE

    def __repr__(self) -> str:
        return printable(outcome_text(self))

    def _repr_html_(self) -> str:
        rows = [(f"trial {stand.measured.trial}", stand.accuracy_loss, stand.time_ratio) for stand in self.frontier]
        return table_html(outcome_text(self), ("frontier", "accuracy loss", "time ratio"), rows)


def write_tuning(
    folder: Path,
    request: Request,
    first_rung: Sequence[Standing],
    whole: Sequence[Standing],
    audits: Sequence[FreshAudit],
    *,
    configs: Callable[[Measured], TrainConfig],
    rungs: Sequence[Rung],
) -> Tuning:
    """Write all that a search comes to, each file in one step, tune.json last.

    Args:
        folder: of the search.
        request: what was asked.
        first_rung: how trials of the first rung stood.
        whole: how those of the last rung stand.
        audits: fresh audits, in their order.
        configs: returns the configuration of a trial as the user would train it.
        rungs: how trials were trained and attacked.
    """
    confirmed = audits[-1] if audits and audits[-1].confirmed else None
    tuning = Tuning(
        folder=folder,
        request=request,
        first_rung=first_rung,
        whole=whole,
        frontier=frontier(whole, request.limits),
        misses=() if confirmed else nearest_misses(whole, request.limits),
        audits=audits,
        config=None if confirmed is None else configs(confirmed.chosen.measured),
    )
    recommended = folder / RECOMMENDED
    recommended.unlink(missing_ok=True)  # of an earlier end, with fewer trials
    if tuning.config is not None and confirmed is not None:
        trial = confirmed.chosen.measured.trial
        head = f"# What `dtfl-private tune` recommends: trial {trial}; its fresh audit is in audit/.\n"
        write_atomic(recommended, (head + to_toml(tuning.config)).encode())
        _copy_audit(RunFolder(path=confirmed.folder).audit.parent, folder / AUDIT)
    write_atomic(
        folder / PICTURE, frontier_picture(tuning.whole, tuning.frontier, request.rules, chosen=_chosen(tuning))
    )
    write_atomic(folder / REPORT, tuning_page(tuning, rungs).encode())
    document = tuning_document(tuning, rungs)
    write_atomic(folder / RESULT, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    return tuning


def _chosen(tuning: Tuning) -> int | None:
    return None if tuning.recommended is None else tuning.recommended.chosen.measured.trial


def _copy_audit(source: Path, target: Path) -> None:
    """Copy the report of an audit: what it shows, not the attacks' unfinished work."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            shutil.copyfile(path, target / path.name)


def tuning_document(tuning: Tuning, rungs: Sequence[Rung]) -> dict[str, Any]:
    """Return what tune.json holds; docs/how-to/tune.md describes it."""
    request, confirmed = tuning.request, tuning.recommended
    return {
        "schema_version": SCHEMA_VERSION,
        "program": version("dtfl-private"),
        "folder": path_text(tuning.folder),
        "limits": [str(limit) for limit in request.limits],
        "max_accuracy_loss": request.rules.max_accuracy_loss,
        "max_time_ratio": request.rules.max_time_ratio,
        "seed": request.seed,
        "assumed": list(request.config.assume),
        "rungs": [_rung(rung, tuning) for rung in rungs],
        "baseline": next(_standing(stand) for stand in tuning.whole if stand.measured.trial == 0),
        "frontier": [_standing(stand) for stand in tuning.frontier],
        "trials": [_standing(stand) for stand in tuning.whole],
        "inactive": [
            {"trial": stand.measured.trial, "defenses": list(stand.measured.inactive)}
            for stand in tuning.first_rung
            if stand.measured.inactive
        ],
        "refused": [
            {"trial": stand.measured.trial, "outcome": stand.measured.outcome, "why": stand.measured.why}
            for stand in tuning.first_rung
            if not stand.measured.ran
        ],
        "fresh_audits": [_audit(one) for one in tuning.audits],
        "recommended": None
        if confirmed is None
        else {"trial": confirmed.chosen.measured.trial, "config": RECOMMENDED, "audit": "audit/audit.json"},
        "nearest_misses": [_standing(stand) for stand in tuning.misses],
        "outcome": outcome_text(tuning),
    }


def _rung(rung: Rung, tuning: Tuning) -> dict[str, Any]:
    return {
        "name": rung.name,
        "rounds": rung.rounds,
        "attacks": list(rung.attacks),
        "victims": rung.victims,
        "aux_images": rung.aux_images,
        "all_tiers": rung.thorough,
        "trials": len(tuning.first_rung) if rung.number == 0 else None if not rung.thorough else len(tuning.whole),
    }


def _standing(stand: Standing) -> dict[str, Any]:
    measured = stand.measured
    return {
        "trial": measured.trial,
        "point": dict(measured.point),
        "accuracy": measured.accuracy,
        "accuracy_loss": stand.accuracy_loss,
        "time_s": measured.time_s,
        "time_ratio": stand.time_ratio,
        "within": stand.within,
        "leaks": [leak.model_dump(mode="json") for leak in measured.leaks],
    }


def _audit(audit: FreshAudit) -> dict[str, Any]:
    return {
        **_standing(audit.stand),
        "confirmed": audit.confirmed,
        "run": path_text(audit.folder),
        "winners_curse": [_difference(one) for one in audit.differences],
    }


def _difference(one: Any) -> Mapping[str, Any]:
    return {
        "what": one.what,
        "search": one.search,
        "fresh": one.fresh,
        "difference": one.difference,
        "ci_low": one.low,
        "ci_high": one.high,
    }

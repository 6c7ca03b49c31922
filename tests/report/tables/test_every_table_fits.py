"""Every table of every command fits any console: no figure is cut or wrapped, no word broken, no line too wide."""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from audit_samples import full, invalid
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtfl_private.cli.config import config_table
from dtfl_private.cli.deploy_output import clients_table, errors_table
from dtfl_private.cli.lists import LISTINGS
from dtfl_private.cli.plan_output import rounds_table, times_table
from dtfl_private.cli.sweep import runs_table
from dtfl_private.data.facts import DatasetFacts
from dtfl_private.deployed.sessions_file import ClientSession, Sessions
from dtfl_private.deployed.status import Status
from dtfl_private.experiments.calibration.checking import CheckedStep
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.planned_rounds import Plan, PlannedRound
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.client_sweep import ClientPoint, ClientSweep
from dtfl_private.report.comparison.exposure import Exposure
from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.comparison.tuned_settings import TrialOutcome, TunedSettings
from dtfl_private.report.live.training import rounds_table as live_rounds_table
from dtfl_private.report.plan_sweep import PlanPoint, PlanSweep
from dtfl_private.report.side_by_side import SideBySide, SideBySideRow
from dtfl_private.report.tables.adversaries import adversaries_table
from dtfl_private.report.tables.audit import verdict_table
from dtfl_private.report.tables.calibration import prediction_table
from dtfl_private.report.tables.client_sweep import client_sweep_tables
from dtfl_private.report.tables.comparison import terminal_tables
from dtfl_private.report.tables.costs import cost_table, round_time_table, step_time_table
from dtfl_private.report.tables.datasets import dataset_facts, datasets_table
from dtfl_private.report.tables.distribution import distribution_table, spread_table
from dtfl_private.report.tables.exposure import exposure_table
from dtfl_private.report.tables.facts import blocks_table, columns_table
from dtfl_private.report.tables.fitting import WIDEST_FIGURE
from dtfl_private.report.tables.judged import class_table
from dtfl_private.report.tables.leakage import leakage_table
from dtfl_private.report.tables.method_leakage import method_leakage_tables
from dtfl_private.report.tables.networks import cuts_table
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.tables.plan_sweep import plan_sweep_tables
from dtfl_private.report.tables.predictions import PredictedFile, predictions_table, recall_table
from dtfl_private.report.tables.profiles import engines_table, profiles_table, shares_table
from dtfl_private.report.tables.side_by_side import side_by_side_tables
from dtfl_private.report.tables.summary import summary_table
from dtfl_private.report.tables.titled import terminal_table
from dtfl_private.report.tables.tuned_settings import tuned_settings_tables
from dtfl_private.simulation.clients.profiles import PROFILE_SETS
from dtfl_private.simulation.costs.cut_costs import choose

PACKAGE = Path(__file__).parents[3] / "dtfl_private"
WIDTHS = (80, 120, 180)

TIERS = 12
LONG = "gaussian-noise:scale=0.5,clip=3.25,per=image,epsilon=12345.6"  # one word of 60 characters
PATH = "/" + "/".join(["a-folder-with-a-long-name"] * 5)
SENTENCE = "a sentence of many words that somebody wrote about this thing, and one more clause of it " * 3


def tables_of_comparison(comparison) -> list[Table]:
    (setting,) = comparison.settings
    goals = {"ssim": figure(3, 0.912), "auc": figure(12, 0.75, metric="auc")}
    exposure = Exposure(
        accuracy=0.7,
        goals=goals,
        labels=figure(7, 0.9, metric="accuracy", source="a-label-attack-with-a-long-name"),
        labels_in_clear=False,
        sent=("weights", "smashed data", "labels"),
        level="not shown to leak",
        converged=True,
        terms={"victims": "64"},
    )
    trials = [TrialOutcome(settings={"lr": 0.00123, "server_lr": LONG}, accuracy=0.71239, time_to_target_s=12345.6)]
    groups = []
    for number, group in enumerate(setting.groups):
        runs = [replace(run, exposure=exposure) for run in group.runs]
        name = f"dtfl {LONG}" if number else LONG
        groups.append(replace(group, name=name, runs=runs, tuned=TunedSettings(trials=trials, chosen=0)))
    hostile = replace(comparison, settings=[replace(setting, groups=groups, baseline=groups[0])])
    return [*terminal_tables(hostile), *method_leakage_tables(hostile), *tuned_settings_tables(hostile)]


def figure(tier: int, value: float, **values) -> Result:
    usual = {"cut": (256, 112, 112), "source": "decoder", "metric": "ssim", "n": 12345, "seeds": 3, "adaptive": True}
    ends = {"ci_low": value - 0.02, "ci_high": value + 0.02, "adversary": "server-honest-but-curious"}
    more = {"baseline": 0.1, "baseline_name": "nearest-auxiliary", "undefended": 0.98}
    return Result.model_validate({"tier": tier, "value": value, **usual, **ends, **more, **values})


def results() -> list[Result]:
    metrics = ("psnr", "ssim", "ssim-worst-5", "lpips", "identifiability", "auc", "own-figure")
    sources = ("hybrid", LONG, "mean-image")
    return [
        figure(tier, 0.5, metric=metric, source=source, adaptive=source == "hybrid")
        for tier in range(1, TIERS + 1)
        for source in sources
        for metric in metrics
    ]


def findings(invalid_one: bool = False):
    made = invalid() if invalid_one else full()
    verdicts = [
        one.model_copy(
            update={"tier": tier, "level": "not shown to leak", "attack": LONG, "strongest": figure(tier, 0.123)}
        )
        for tier, one in zip(range(1, TIERS + 1), [made.verdict[0]] * TIERS, strict=True)
    ]
    clients = [
        one.model_copy(update={"client": number, "profile": f"a device with a long name, no. {number} of {LONG}"})
        for number, one in enumerate([made.clients[0]] * 60)
    ]
    return made.model_copy(update={"verdict": tuple(verdicts), "clients": tuple(clients)})


def planned() -> list[Table]:
    rounds = [
        PlannedRound(
            round=number,
            round_time_s=12_345.6,
            virtual_time_s=12_345.6 * number,
            participants=1_000_000,
            dropped=12_345,
            retired=0,
            tier_counts=dict.fromkeys(range(1, TIERS + 1), 83_333),
            server_wait_s=3_456.7,
            oracle_time_s=10_000.0,
            bytes={"up_smashed": 10**15},
            macs={"client": 1, "server": 1},
            wire_counts={"int4": 333_333, "int8": 333_333, "bf16": 333_334},
        )
        for number in range(1, 301)
    ]
    table = SimpleNamespace(rows=range(TIERS), tiers_M=np.arange(1, TIERS + 1))
    made = Plan(
        table=table,  # type: ignore[arg-type] # has what the table shows
        rounds=rounds,
        static_time_s=dict.fromkeys(range(1, TIERS + 1), 99_999.9),
        scheduler_time_s={"efficient": 1e6, LONG: 1e6},
        unlimited_time_s=1e5,
    )
    config = TrainConfig(clients=1_000_000, rounds=300, wire="scheduled")
    return [rounds_table(config, made), times_table(config, made)]


def costs(four_tiers) -> list[Table]:
    rows = [
        replace(
            four_tiers.rows[0],
            tier=tier,
            cut_shape=(2048, 112, 112),
            client_params=1_234_567_890,
            client_step_s=12.3,
            server_step_s=45.6,
        )
        for tier in range(1, TIERS + 1)
    ]
    table = replace(four_tiers, rows=tuple(rows), modules=TIERS + 1)
    profiles = PROFILE_SETS["paper"]
    times = np.full((len(profiles), TIERS), 12_345.6)
    speeds = {"cpu_macs_per_s": 1e9, "server_macs_per_s": 1e9}
    choice = choose(four_tiers, [f"a.module.with.a.long.name.{name}" for name in range(4)], (0, 2), 2)
    return [
        cost_table(table, title=f"costs of {LONG}", batch_size=100),
        step_time_table(table, batch_size=100, **speeds),
        round_time_table(times, np.arange(1, TIERS + 1), profiles, title="times"),
        cuts_table(choice, title="cuts"),
        profiles_table("paper", profiles, "mbit"),
        engines_table(PROFILE_SETS["devices"]),
        shares_table(PROFILE_SETS["devices"][2]),
        prediction_table([predicted(name) for name in ("efficientnet-b0", LONG)], title="steps"),
        *plan_sweep_tables(planned_sweep()),
    ]


def planned_sweep() -> PlanSweep:
    points = [
        PlanPoint(
            values={"drift": LONG, "noise": noise, "drift_every": 12_345, "ema": ema},
            seed=seed,
            time_s=1e6,
            regret=123.45,
            tier_accuracy=0.5,
        )
        for noise in (0.0, 0.123)
        for ema in (0.1, 0.25, 0.5, 2 / 3, 1.0)
        for seed in (0, 1)
    ]
    return PlanSweep(title=LONG, x="ema", reference=2 / 3, panels=("drift", "noise"), points=points)


def attacked_sweep() -> list[Table]:
    points = [
        ClientPoint(
            group=group,
            seed=seed,
            client=client,
            attack=LONG,
            tier=tier,
            aux="mixture",
            metric="ssim",
            n=12_345,
            value=0.123 * client,
            guess=0.5,
            recovered=0.123 * client,
            records=12_345 + client,
            label_entropy=1.5 + client,
            oddness=0.25 * client,
        )
        for group in ("dirichlet_0.1", LONG)
        for seed in (0, 1)
        for tier in range(1, TIERS + 1)
        for client in range(5)
    ]
    mean = Mean(mean=12_345.6, ci_low=10_000.0, ci_high=14_000.0)
    row = SideBySideRow(
        name=LONG,
        runs=3,
        time_s=mean,
        accuracy=Mean(mean=0.9123, ci_low=0.9, ci_high=0.95),
        leakage={tier: Mean(mean=0.5, ci_low=0.4, ci_high=0.6) for tier in range(1, TIERS + 1)},
        guess=dict.fromkeys(range(1, TIERS + 1), 0.4567),
    )
    side = SideBySide(attack=LONG, aux="client:12345", metric="ssim", targets=[0.8, 0.9], rows=[row, row])
    return [
        *client_sweep_tables(ClientSweep(title=LONG, points=points, left_out=[SENTENCE])),
        *side_by_side_tables([side]),
    ]


def predicted(model: str) -> CheckedStep:
    return CheckedStep(model=model, tier=TIERS, predicted_s=12.3456, by_macs_s=1.2, measured_s=123.456)


def spreads() -> list[Table]:
    counts = np.arange(60 * 12).reshape(60, 12) * 1000
    many = np.full((60, 200), 12_345)
    shares = np.full(60, 0.123)
    names = [f"a class with quite a long name no. {number}" for number in range(200)]
    return [
        distribution_table(counts, shares, shares, names[:12], title=f"data {LONG}"),
        distribution_table(many, shares, shares, names, title="many classes"),
        spread_table(counts.sum(axis=1), shares, shares),
    ]


def lists() -> list[Table]:
    facts = {"what it is": SENTENCE, "settings": LONG, "source": f"somebody, {PATH}"}
    things = {"a": facts, "a-plug-in-with-a-long-name-of-its-own": facts, LONG: facts}
    sheet = DatasetFacts(
        title="Mine", shape="1x2x3", classes=SENTENCE, train="50", test="30", obtain=SENTENCE, look=lambda _: PATH
    )
    return [
        columns_table("things", (*facts,), things, caption=SENTENCE),
        blocks_table("things", things, caption=SENTENCE),
        datasets_table(dataset_facts([("mine", "size=3", SENTENCE)], {"mine": sheet}, Path(PATH)), Path(PATH)),
        adversaries_table(),
    ]


def of_training() -> list[Table]:
    record = {"test_accuracy": 0.51, "test_loss": 1234.5, "virtual_time_s": 1e6, "round_time_s": 99_999.0}
    record |= {"round": 12_345, "dropped": [*range(30)], "tiers": {str(k): 1 + k % TIERS for k in range(60)}}
    summary = {
        "rounds": 300,
        "final_accuracy": 0.5,
        "best_accuracy": 0.6,
        "best_round": 299,
        "last_round": {},
        "target_accuracy": 0.9,
    }
    summary |= {"judged_on": "test", "clients": None, "test": {"per_class": [per_class(n) for n in range(12)]}}
    summary |= {"chosen_on": "test", "selected_round": 299, "selected_accuracy": 0.6}
    summary |= {"rounds_to_target": None, "virtual_time_s": 1e6, "wall_time_s": 1e5, "privacy": []}
    kinds = ("down_weights", "up_weights", "up_smashed", "up_labels", "down_gradients")
    summary |= {"bytes": dict.fromkeys(kinds, 123_456_789), "macs": {"client": 10**15, "server": 10**16}}
    closing = {key: value for key, value in summary.items() if key != "test"}
    return [
        live_rounds_table([record] * 8, 200),  # type: ignore[list-item] # what is shown of a record
        summary_table(closing, PATH),
        summary_table(closing, "runs/mine"),
        class_table(summary),
    ]


def per_class(number: int) -> dict[str, object]:
    figures = dict.fromkeys(("precision", "recall", "f1", "roc_auc"), 0.1234)
    return {"class": f"a class with quite a long name no. {number}", "support": 12_345, **figures}


def of_predictions() -> list[Table]:
    names = [f"a class with quite a long name no. {number}" for number in range(3)]
    image = PredictedFile(file=Path(PATH), top=[(name, 0.3333) for name in names], true=names[0])
    return [
        predictions_table([image] * 3),
        recall_table(dict.fromkeys(names, 0.5), dict.fromkeys(names, 12_345), "images"),
    ]


def of_configurations() -> list[Table]:
    return [config_table(TrainConfig(defense=[LONG]), dict.fromkeys(("defense", "rounds", "dataset"), PATH))]


def other_tables() -> list[Table]:
    runs = [
        SimpleNamespace(name=f"run-{LONG}", config=TrainConfig(defense=["gaussian-noise"], scheduler="random"))
        for _ in range(3)
    ]
    return [runs_table(SimpleNamespace(runs=runs, tuning=None))]  # type: ignore[arg-type] # has what is shown


def of_deployment() -> list[Table]:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    client = ClientSession(
        client=12_345,
        connected=True,
        since=now,
        tier=12,
        round=12_345,
        round_s=12_345.6,
        compute_s=12_345.6,
        down_mbit_s=12_345.6,
        up_mbit_s=12_345.6,
        refused_frames=12_345,
        last_error=SENTENCE,
    )
    sessions = Sessions(listening=PATH, started=now, updated=now, phase="training", clients=[client])
    status = Status(run=Path(PATH), sessions=sessions, running=True, rounds=1, target_accuracy=None, records=[])
    failed = errors_table(status)
    assert failed is not None
    return [clients_table(status, now), failed]


TABLES: dict[str, Callable[..., list[Table]]] = {
    "attack": lambda: [leakage_table(results(), title=f"what leaks: {PATH}")],
    "audit": lambda: [verdict_table(findings()), exposure_table(findings())],
    "invalid audit": lambda: [verdict_table(findings(True))],
    "plan": planned,
    "partition": spreads,
    "list": lists,
    "train": of_training,
    "predict": of_predictions,
    "config": of_configurations,
    "sweep": other_tables,
    "attacked sweep": attacked_sweep,
    "deploy status": of_deployment,
}

# Which builders of tables the functions above call; a new one is to be added there.
BUILDERS = {
    *(rounds_table, times_table, runs_table, live_rounds_table, adversaries_table, verdict_table, terminal_tables),
    *(cost_table, round_time_table, step_time_table, datasets_table, distribution_table, spread_table),
    *(exposure_table, blocks_table, columns_table, leakage_table, method_leakage_tables, cuts_table, profiles_table),
    *(summary_table, tuned_settings_tables, plain_table, class_table, predictions_table, recall_table, config_table),
    *(clients_table, engines_table, shares_table, prediction_table, plan_sweep_tables),
    *(client_sweep_tables, side_by_side_tables, terminal_table),
}


def shown(table: Table, width: int) -> list[str]:
    file = StringIO()
    Console(file=file, width=width, color_system=None, markup=False, emoji=False).print(table)
    return file.getvalue().splitlines()


def plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def check(table: Table, width: int) -> None:
    """Check that a table is shown whole at a width."""
    lines = shown(table, width)
    text = "\n".join(lines)
    assert [line for line in lines if cell_len(line) > width] == []
    words = Counter(text.split())
    headings = [plain(column.header) for column in table.columns]
    cells = [(column, plain(cell)) for column in table.columns for cell in column.cells]
    wanted = Counter(word for _, cell in cells for word in cell.split() if cell_len(word) <= width)
    wanted += Counter({word for heading in headings if table.show_header for word in heading.split()})
    wanted += Counter(
        word for said in (table.title, table.caption) for word in str(said or "").split() if len(word) <= width
    )
    assert wanted - words == Counter()
    assert "…" not in text
    joined = "".join(text.split())
    assert [word for _, cell in cells for word in cell.split() if word not in joined] == []  # folded ones too
    figures = {
        line
        for column, cell in cells
        if column.justify == "right" and cell_len(cell) <= WIDEST_FIGURE
        for line in cell.split("\n")
    }
    assert [one for one in figures if not any(one in line for line in lines)] == []


def all_tables(four_tiers, comparison) -> Iterator[Table]:
    for make in TABLES.values():
        yield from make()
    yield from costs(four_tiers)
    yield from tables_of_comparison(comparison)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_tables_with_long_names_many_tiers_and_clients_are_whole(name, width):
    for table in TABLES[name]():
        check(table, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_costs_and_comparisons_are_whole(width, four_tiers, comparison):
    for table in (*costs(four_tiers), *tables_of_comparison(comparison)):
        check(table, width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", LISTINGS)
def test_what_there_is_to_choose_is_listed_whole(kind, width):
    for table in LISTINGS[kind](None).tables:
        check(table, width)


def test_no_builder_of_tables_is_left_out():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.parse(text).body if "Table" in text else ():
            if isinstance(node, ast.FunctionDef) and node.returns is not None and not node.name.startswith("_"):
                returned = ast.unparse(node.returns).strip("'")
                found |= {node.name} if returned in ("Table", "list[Table]") else set()
    assert found == {builder.__name__ for builder in BUILDERS}

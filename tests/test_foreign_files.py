"""Files that somebody else wrote: whatever names they hold, no command imports or calls what the user did not allow."""

import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

import dtfl_private
from dtfl_private.attacking.parallel import open_once
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.cli.main import main
from dtfl_private.errors import InputError
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.experiments.config.files import read_run_config, read_toml, to_toml
from dtfl_private.experiments.config.plugin_fields import PLUGIN_FIELDS
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.preset import load_preset
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.sweep import sweep
from dtfl_private.experiments.train import train
from dtfl_private.leakage.findings import findings_document
from dtfl_private.plugins.factories import CORE_PARAMETERS
from dtfl_private.plugins.installed import GROUPS, installed
from dtfl_private.runtime.in_process import InProcess

SMALL = [
    *("--dataset", "digits:size=8", "--max-train-images", "40", "--clients", "2", "--rounds", "1"),
    *("--batch-size", "8", "--workers", "1"),
]

# It leaves a mark as soon as it is imported; its function is of every kind, as far as its annotation goes.
EVIL = """
from pathlib import Path
Path("marker").write_text("imported")

def thing(cmd: str = ""):
    Path("marker").write_text("called")
"""

OWN = """
from dataclasses import dataclass, replace
from typing import ClassVar
from dtfl_private import Defense, DefenseFacts

@dataclass(frozen=True)
class Rounding(Defense):
    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="detail", acts_on=("smashed",))
    step: float = 0.5

    def protect_batch(self, message, at):
        return replace(message, smashed=(message.smashed / self.step).round() * self.step)
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: object
    out: str
    err: str


def dtfl(*arguments: object) -> Answer:
    """Run a command in the current folder."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return Answer(status=left.value.code, out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to be in, with modules ``evil`` and ``own`` and a run ``good``, which anybody may have made."""
    there = tmp_path_factory.mktemp("foreign")
    (there / "evil.py").write_text(EVIL)
    (there / "own.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(there)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
        patch.setattr(training, "plot_training", lambda _, path, *, title: path.write_text(title))
        assert dtfl("train", *SMALL, "--out", "good").status == 0
        yield there


@pytest.fixture
def here(folder, monkeypatch) -> Path:
    """The folder, where nothing has been imported yet."""
    (folder / "marker").unlink(missing_ok=True)
    for name in ("evil", "own"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def foreign_run(here: Path, kind: str, text: str) -> Path:
    """Make the folder of a run whose configuration names ``text``, with the files of a good one."""
    run = here / f"foreign-{kind}"
    run.mkdir(exist_ok=True)
    for file in ("rounds.jsonl", "environment.json"):
        (run / file).write_bytes((here / "good" / file).read_bytes())
    config = read_run_config(RunFolder(path=here / "good"))
    value = [text] if kind == "defense" else text
    (run / "config.toml").write_text(to_toml(config.model_copy(update={kind: value})))
    return run


def preset(here: Path, kind: str, text: str, table: str) -> Path:
    """Make a preset of which one table names ``text``."""
    tables = {name: {"max_train_images": 40} if name == "sizes.small" else {} for name in ("config", "sizes.small")}
    tables["grid"] = {"rounds": [1]}
    tables[table] = {**tables[table], kind: [[text]] if (kind, table) == ("defense", "grid") else text}
    lines = ['title = "theirs"', "seeds = [0]"]
    for name, values in tables.items():
        lines.append(f"[[{name}]]" if name == "grid" else f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path = here / "theirs.toml"
    path.write_text("\n".join(lines))
    return path


Door = Callable[[Path, str, str], list[str]]

# Every command that reads a file which may name a plug-in, and how the file gets there.
DOORS: Mapping[str, Door] = {
    "train CONFIG": lambda here, kind, text: [
        *("train", str(foreign_run(here, kind, text) / "config.toml"), "--out", "new"),
    ],
    "train --resume": lambda here, kind, text: ["train", "--resume", "--out", str(foreign_run(here, kind, text))],
    "train --resume CONFIG": lambda here, kind, text: [
        *("train", str(foreign_run(here, kind, text) / "config.toml"), "--resume", "--out", "new"),
    ],
    "attack": lambda here, kind, text: ["attack", str(foreign_run(here, kind, text))],
    "attack --workers": lambda here, kind, text: ["attack", str(foreign_run(here, kind, text)), "--workers", "2"],
    "audit": lambda here, kind, text: ["audit", str(foreign_run(here, kind, text))],
    "audit --preset": lambda here, kind, text: ["audit", str(foreign_run(here, kind, text)), "--preset", "thorough"],
    "sweep [config]": lambda here, kind, text: ["sweep", str(preset(here, kind, text, "config"))],
    "sweep [[grid]]": lambda here, kind, text: ["sweep", str(preset(here, kind, text, "grid"))],
    "sweep --dry-run": lambda here, kind, text: ["sweep", str(preset(here, kind, text, "config")), "--dry-run"],
}


def mark(here: Path) -> str | None:
    return (here / "marker").read_text() if (here / "marker").exists() else None


@pytest.mark.parametrize("kind", PLUGIN_FIELDS)
@pytest.mark.parametrize("door", DOORS)
def test_an_object_that_a_file_names_is_refused_in_one_line_and_never_imported(door, kind, here):
    before = sorted(path.name for path in here.iterdir())
    command = DOORS[door](here, kind, "evil:thing:cmd=touch pwned")
    answer = dtfl(*command)
    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert f"{kind} 'evil:thing' names code to run" in answer.err
    assert "add --allow-plugin evil " in answer.err
    assert f"give train the same --{kind} again" in answer.err
    assert mark(here) is None
    assert {path.name for path in here.iterdir()} - {*before, f"foreign-{kind}", "theirs.toml"} == set()


@pytest.mark.parametrize("kind", PLUGIN_FIELDS)
@pytest.mark.parametrize("door", ["train CONFIG", "train --resume", "attack", "audit", "sweep [config]"])
def test_it_is_imported_where_the_user_allows_that(door, kind, here):
    in_this_process = ["--parallel", "1", "--out", f"allowed-{kind}"] if door == "sweep [config]" else []
    answer = dtfl(*DOORS[door](here, kind, "evil:thing:cmd=touch pwned"), "--allow-plugin", "evil", *in_this_process)
    assert f"{kind} 'evil:thing' does not say what it returns: write 'def thing(...) -> " in answer.err
    assert mark(here) == "imported"  # and not called
    assert answer.status != 0


@pytest.mark.parametrize("allowed", ["evi", "evil.thing", "evil:other", "thing", "own", "Evil"])
def test_another_module_does_not_allow_it(allowed, here):
    answer = dtfl(*DOORS["train CONFIG"](here, "defense", "evil:thing"), "--allow-plugin", allowed)
    assert (answer.status, mark(here)) == (2, None)
    assert "add --allow-plugin evil " in answer.err


def test_a_typed_object_does_not_allow_another_one_of_the_file(here):
    answer = dtfl(*DOORS["train CONFIG"](here, "model", "evil:thing"), "--defense", "own:Rounding")
    assert (answer.status, mark(here)) == (2, None)
    assert "model 'evil:thing' names code to run" in answer.err
    assert "own" not in sys.modules


def test_runs_side_by_side_are_read_as_data_only(here):
    runs = [foreign_run(here, kind, "evil:thing:cmd=touch pwned") for kind in PLUGIN_FIELDS]
    compare([here / "good", *runs], apart=True)
    assert dtfl("compare", "good", *runs, "--apart").status == 0
    assert mark(here) is None


@pytest.mark.parametrize("kind", ["scheduler", "defense", "dataset", "model"])
def test_an_audit_beside_another_run_does_not_run_its_code(kind, here):
    run = foreign_run(here, kind, "evil:thing")
    answer = dtfl("audit", "good", "--compare", run, "--victims", 8, "--aux-images", 60, "--tier", 1, "--workers", 1)
    assert (answer.status, mark(here), answer.err.count("\n")) == (2, None, 1)
    if kind in ("dataset", "model"):
        assert "'evil:thing', this run of" in answer.err  # not comparable, whatever it is
    else:
        assert "--allow-plugin evil " in answer.err
    assert not (here / "good" / "audit").exists()


@pytest.mark.parametrize("command", ["attack", "audit"])
def test_the_undefended_run_beside_a_defended_one_is_read_as_data_only(command, here):
    if not (here / "noisy").exists():
        assert dtfl("train", *SMALL, "--defense", "gaussian-noise", "--out", "noisy").status == 0
    for kind in ("scheduler", "defense"):
        run = foreign_run(here, kind, "evil:thing")
        few = ("--victims", 8, "--aux-images", 60, "--tier", 1, "--workers", 1)
        answer = dtfl(command, "noisy", "--undefended", run, *few)
        assert (answer.status, mark(here)) == (2, None)
        assert "is not this run without defenses" in answer.err


@pytest.mark.parametrize("kind", ["dataset", "model", "defense"])
def test_an_audit_that_a_leakage_budget_names_is_read_as_data_only(kind, here, findings_of, figure):
    told = {"model": "resnet-8", "norm": "batch", "dataset": "digits:size=8"}
    told[kind] = ("evil:thing",) if kind == "defense" else "evil:thing"
    (here / "audit.json").write_bytes(findings_document(findings_of([figure(1, 0.1)], **told)))
    answer = dtfl("train", *SMALL, "--out", "new", "--leakage-budget", "audit.json:metric=ssim,max=0.4")
    assert (answer.status, mark(here), answer.err.count("\n")) == (2, None, 1)
    assert f"{kind} evil:thing there" in answer.err


def test_what_is_left_of_a_sweep_is_read_as_data_only(here):
    good = preset(here, "partition", "iid", "config")
    loaded = load_preset(good, "small")
    out = here / "sweeping"
    out.mkdir(exist_ok=True)
    changed = loaded.runs[0].config.model_copy(update={"defense": ["evil:thing"]})
    (out / f"{loaded.runs[0].name}.toml").write_text(to_toml(changed))
    with pytest.raises(InputError, match="of another configuration"):
        sweep(loaded, out)
    assert mark(here) is None


def test_targets_of_a_preset_are_read_as_data_only(here):
    path = preset(here, "partition", "iid", "config")
    path.write_text(path.read_text().replace("[sizes.small]", '[sizes.small]\ntargets = { "evil:thing" = 0.5 }'))
    load_preset(path, "small")
    assert mark(here) is None


def test_functions_of_python_refuse_alike(here):
    run = foreign_run(here, "defense", "evil:thing")
    from_file = make_config(read_toml(run / "config.toml"))
    for ask in (
        lambda: train(out=run, resume=True),
        lambda: train(from_file, out=here / "new"),
        lambda: train(from_file, out=here / "new", allow_plugins=["own"]),
        lambda: train(TrainConfig().model_copy(update={"defense": ["evil:thing"]}), out=here / "new"),
        lambda: dtfl_private.attack(run),
        lambda: dtfl_private.audit(run),
        lambda: open_run(run),
        lambda: load_preset(preset(here, "defense", "evil:thing", "config"), "small"),
        lambda: dtfl_private.plan(make_config({**read_toml(run / "config.toml"), "method": "evil:thing"})),
    ):
        with pytest.raises(InputError, match=r"allow_plugins=\['evil'\]"):
            ask()
    assert mark(here) is None
    assert not (here / "new").exists()


@pytest.fixture(scope="module")
def rounded(folder) -> Path:
    """A run with a defense of one's own, begun on the command line."""
    assert dtfl("train", *SMALL, "--rounds", 2, "--defense", "own:Rounding:step=0.25", "--out", "rounded").status == 0
    return folder / "rounded"


@pytest.mark.parametrize(
    "options",
    [["--allow-plugin", "own"], ["--allow-plugin", "own:Rounding"], ["--defense", "own:Rounding:step=0.25"]],
)
def test_a_run_with_an_object_goes_on_with_it_or_with_its_module(options, rounded, here):
    assert dtfl("train", "--resume", "--out", rounded).status == 2
    answer = dtfl("train", "--resume", "--out", rounded, *options)
    assert (answer.status, answer.err) == (0, "")
    assert dtfl("train", rounded / "config.toml", "--out", here / "never", "--rounds", "0").status == 2


@pytest.mark.usefixtures("here")
def test_an_interrupted_run_says_what_to_allow(monkeypatch):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(InProcess, "train", press)
    answer = dtfl("train", *SMALL, "--defense", "own:Rounding", "--out", "interrupted")
    assert answer.err.endswith("go on with: dtfl-private train --resume --out interrupted --allow-plugin own\n")


def test_attacks_and_audits_of_it_run_with_its_module(rounded, here):
    few = ("--victims", 8, "--aux-images", 60, "--tier", 1, "--seeds", 1)
    attack = ("--attack", "optimization:steps=2", "--out", here / "attacks")
    answer = dtfl("attack", rounded, *few, *attack)
    assert (answer.status, "--allow-plugin own " in answer.err) == (2, True)
    answer = dtfl("attack", rounded, *few, *attack, "--allow-plugin", "own")
    assert (answer.status, answer.err) == (0, "")


def test_a_run_in_this_process_is_attacked_as_it_was_trained(rounded):
    config = TrainConfig.model_validate(read_toml(rounded / "config.toml"))
    run = train(config, out=rounded, resume=True)
    assert open_run(run).prepared.config.defense == ["own:Rounding:step=0.25"]
    with pytest.raises(InputError, match="--allow-plugin own "):
        open_run(run.folder)


def test_processes_that_attack_are_told_what_is_allowed(rounded):
    opened = open_run(rounded, allow_plugins=["own"])
    assert open_once(rounded, None, opened.prepared.config.allowed).prepared.config == opened.prepared.config


def test_the_allowance_is_no_key_of_a_file_and_no_part_of_a_configuration(here):
    config = make_config({"defense": ["own:Rounding"]}, allowed=frozenset({"own"}))
    assert config == make_config({"defense": ["own:Rounding"]})
    assert "own:Rounding" in to_toml(config)
    assert "allow" not in to_toml(config).replace("allowed_tiers", "")
    (here / "c.toml").write_text('allow_plugin = ["evil"]\ndefense = ["evil:thing"]\n')
    answer = dtfl("train", "c.toml", "--out", "new")
    assert (answer.status, mark(here)) == (2, None)
    assert "unknown key in c.toml: 'allow_plugin'" in answer.err


PLAIN = {bool, int, float, str, type(None)}


def plain(hint: object) -> bool:
    """Whether a setting of this type is plain data: nothing is imported, opened or evaluated to convert it."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return all(type(value) in PLAIN for value in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType, Mapping, tuple, list):
        return all(plain(part) for part in typing.get_args(hint))
    return hint in PLAIN


@pytest.mark.parametrize("kind", GROUPS)
def test_settings_of_registered_plugins_are_plain_data(kind):
    for point in installed(kind).values():
        factory = point.load()
        hints = typing.get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
        settings = {*inspect.signature(factory).parameters} - CORE_PARAMETERS.get(kind, frozenset())
        assert [name for name in settings if not plain(hints[name])] == []

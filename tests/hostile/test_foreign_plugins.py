"""Whatever plug-ins a file of another party names, no command imports or calls what the user did not allow."""

import inspect
import sys
import types
import typing
from collections.abc import Mapping

import pytest
from foreign_files import DOORS, SMALL, dtfl, foreign_run, mark, preset

import dtfl_private
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.errors import InputError
from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.experiments.config.plugin_fields import PLUGIN_FIELDS
from dtfl_private.experiments.config.toml_files import read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.preset import load_preset
from dtfl_private.experiments.sweep import sweep
from dtfl_private.experiments.train import train
from dtfl_private.plugins.factories import CORE_PARAMETERS
from dtfl_private.plugins.installed import GROUPS, installed
from dtfl_private.verdicts.findings_file import findings_document


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


def test_compared_runs_are_read_as_data_only(here):
    runs = [foreign_run(here, kind, "evil:thing:cmd=touch pwned") for kind in PLUGIN_FIELDS]
    compare([here / "good", *runs], apart=True)
    assert dtfl("compare", "good", *runs, "--apart").status == 0
    assert mark(here) is None


@pytest.mark.parametrize("kind", ["scheduler", "defense", "dataset", "model"])
def test_an_audit_compared_with_another_run_does_not_run_its_code(kind, here):
    run = foreign_run(here, kind, "evil:thing")
    answer = dtfl("audit", "good", "--compare", run, "--victims", 8, "--aux-images", 60, "--tier", 1, "--workers", 1)
    assert (answer.status, mark(here), answer.err.count("\n")) == (2, None, 1)
    if kind in ("dataset", "model"):
        assert "'evil:thing', this run of" in answer.err  # not comparable, whatever it is
    else:
        assert "--allow-plugin evil " in answer.err
    assert not (here / "good" / "audit").exists()


@pytest.mark.parametrize("command", ["attack", "audit"])
def test_the_undefended_run_of_a_defended_one_is_read_as_data_only(command, here):
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

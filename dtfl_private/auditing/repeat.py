"""The commands that repeat a run and its audit."""

import shlex

from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.audit_plan import AuditPlan
from dtfl_private.experiments.config.train_config import plugin_options
from dtfl_private.files.writing import path_text


def repeat_commands(plan: AuditPlan) -> tuple[str, ...]:
    """Return the command that repeats the run, and the one that repeats the audit if a command can."""
    run = path_text(plan.opened.folder.path)
    allow = plugin_options(plan.opened.prepared.config)
    train = shlex.join(["dtfl-private", "train", f"{run}/config.toml", "--out", f"{run}-again", *allow])
    if not plan.by_name:
        return (train, "from Python, with the same objects: no command names them")
    return (train, shlex.join(["dtfl-private", "audit", run, *options_of(plan.config), *allow]))


def options_of(config: AuditConfig) -> list[str]:
    """Return the options of ``dtfl-private audit`` that ask for this configuration."""
    apart = ("attacks", "tiers", "recorded")
    asked = {name: getattr(config, name) for name in AuditConfig.model_fields if name not in apart}
    usual = AuditConfig(preset=config.preset).settled()
    options: list[tuple[str, str]] = [("--preset", config.preset)]
    if config.tiers != "all":
        options += [("--tier", str(tier)) for tier in config.tiers]
    if config.attacks is not None and config.attacks != usual.attacks:
        options += [("--attack", text) for text in config.attacks]
    options += [
        (f"--{name.replace('_', '-')}", str(value))
        for name, value in asked.items()
        if name not in ("preset", "executor") and value != getattr(usual, name)
    ]
    return [*(part for option in options for part in option), *["--recorded"] * config.recorded]

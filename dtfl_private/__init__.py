"""dtfl-private: tiered split federated learning, with its leakage in view.

Everything the commands do is a function here: `train`, `attack`, `audit`, `compare`, `sweep`, `profile`, `plan`,
`tune`.
`load_run` opens what they leave.

A name's module is imported when the name is first used, so that a command that needs little starts at once.
"""

import importlib
import logging
import typing

if typing.TYPE_CHECKING:
    from dtfl_private.attacking.attack_config import AttackConfig
    from dtfl_private.attacking.base import (
        Attack,
        AttackFacts,
        AttributeInference,
        LabelInference,
        MembershipInference,
        Reconstruction,
        Tampering,
    )
    from dtfl_private.attacking.runner import AttackReport, attack
    from dtfl_private.attacking.view import View
    from dtfl_private.auditing.audit_config import AuditConfig
    from dtfl_private.auditing.runner import audit
    from dtfl_private.auditing.written_audit import Audit
    from dtfl_private.choosing.tuning import resume_tuning, tune
    from dtfl_private.choosing.written_tuning import Tuning
    from dtfl_private.data.dataset import ImageDataset, TokenDataset
    from dtfl_private.data.from_python import as_dataset
    from dtfl_private.errors import DtflError, InputError, RunError
    from dtfl_private.experiments.comparing.compare import compare
    from dtfl_private.experiments.config.train_config import TrainConfig
    from dtfl_private.experiments.load_run import load_run
    from dtfl_private.experiments.plan import plan
    from dtfl_private.experiments.planned_rounds import Plan
    from dtfl_private.experiments.preset import Preset, load_preset
    from dtfl_private.experiments.profile import profile
    from dtfl_private.experiments.run import Run
    from dtfl_private.experiments.sweep import Sweep, sweep
    from dtfl_private.experiments.train import train
    from dtfl_private.experiments.trained.predictions import Predictions
    from dtfl_private.experiments.trained.trained_model import TrainedModel, load_model
    from dtfl_private.leakage.results.result import Result
    from dtfl_private.models.cutting.staged import StagedModel, join, split
    from dtfl_private.models.cutting.tracing import staged
    from dtfl_private.protection.base import Defense, DefenseFacts
    from dtfl_private.protection.client_context import ClientRound, LocalStep
    from dtfl_private.protection.conditional import only_where
    from dtfl_private.protocol.contracts import Partition, Scheduler, TierChoice
    from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, Transcript, WeightUpdate
    from dtfl_private.report.callbacks.csv_logger import CsvLogger
    from dtfl_private.report.callbacks.early_stopping import EarlyStopping
    from dtfl_private.report.callbacks.mlflow_logger import MlflowLogger
    from dtfl_private.report.callbacks.progress_bar import ProgressBar
    from dtfl_private.report.callbacks.tensorboard_logger import TensorBoardLogger
    from dtfl_private.report.comparison.groups import Comparison
    from dtfl_private.runtime.callback import Callback, StopTraining
    from dtfl_private.simulation.costs.table import TierCost, TierTable

__all__ = [
    "Attack",
    "AttackConfig",
    "AttackFacts",
    "AttackReport",
    "AttributeInference",
    "Audit",
    "AuditConfig",
    "Callback",
    "ClientRound",
    "Comparison",
    "CsvLogger",
    "Defense",
    "DefenseFacts",
    "DtflError",
    "EarlyStopping",
    "ImageDataset",
    "InputError",
    "LabelInference",
    "LocalStep",
    "MembershipInference",
    "MlflowLogger",
    "ModelDownload",
    "Partition",
    "Plan",
    "Predictions",
    "Preset",
    "ProgressBar",
    "Reconstruction",
    "Result",
    "Run",
    "RunError",
    "Scheduler",
    "SmashedBatch",
    "StagedModel",
    "StopTraining",
    "Sweep",
    "Tampering",
    "TensorBoardLogger",
    "TierChoice",
    "TierCost",
    "TierTable",
    "TokenDataset",
    "TrainConfig",
    "TrainedModel",
    "Transcript",
    "Tuning",
    "View",
    "WeightUpdate",
    "as_dataset",
    "attack",
    "audit",
    "compare",
    "join",
    "load_model",
    "load_preset",
    "load_run",
    "only_where",
    "plan",
    "profile",
    "resume_tuning",
    "split",
    "staged",
    "sweep",
    "train",
    "tune",
]

_HOMES = {
    "attacking.attack_config": ("AttackConfig",),
    "attacking.base": (
        "Attack",
        "AttackFacts",
        "AttributeInference",
        "LabelInference",
        "MembershipInference",
        "Reconstruction",
        "Tampering",
    ),
    "attacking.runner": ("AttackReport", "attack"),
    "attacking.view": ("View",),
    "auditing.audit_config": ("AuditConfig",),
    "auditing.runner": ("audit",),
    "auditing.written_audit": ("Audit",),
    "choosing.tuning": ("resume_tuning", "tune"),
    "choosing.written_tuning": ("Tuning",),
    "data.dataset": ("ImageDataset", "TokenDataset"),
    "data.from_python": ("as_dataset",),
    "errors": ("DtflError", "InputError", "RunError"),
    "experiments.comparing.compare": ("compare",),
    "experiments.config.train_config": ("TrainConfig",),
    "experiments.load_run": ("load_run",),
    "experiments.plan": ("plan",),
    "experiments.planned_rounds": ("Plan",),
    "experiments.preset": ("Preset", "load_preset"),
    "experiments.profile": ("profile",),
    "experiments.run": ("Run",),
    "experiments.sweep": ("Sweep", "sweep"),
    "experiments.train": ("train",),
    "experiments.trained.predictions": ("Predictions",),
    "experiments.trained.trained_model": ("TrainedModel", "load_model"),
    "leakage.results.result": ("Result",),
    "models.cutting.staged": ("StagedModel", "join", "split"),
    "models.cutting.tracing": ("staged",),
    "protection.base": ("Defense", "DefenseFacts"),
    "protection.conditional": ("only_where",),
    "protection.client_context": ("ClientRound", "LocalStep"),
    "protocol.contracts": ("Partition", "Scheduler", "TierChoice"),
    "protocol.messages": ("ModelDownload", "SmashedBatch", "Transcript", "WeightUpdate"),
    "report.callbacks.csv_logger": ("CsvLogger",),
    "report.callbacks.early_stopping": ("EarlyStopping",),
    "report.callbacks.mlflow_logger": ("MlflowLogger",),
    "report.callbacks.progress_bar": ("ProgressBar",),
    "report.callbacks.tensorboard_logger": ("TensorBoardLogger",),
    "report.comparison.groups": ("Comparison",),
    "runtime.callback": ("Callback", "StopTraining"),
    "simulation.costs.table": ("TierCost", "TierTable"),
}
logging.getLogger(__name__).addHandler(logging.NullHandler())  # a program that wants log lines configures logging

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not typing.TYPE_CHECKING:  # else a type checker would let every name pass

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module 'dtfl_private' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"dtfl_private.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value

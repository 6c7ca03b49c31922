"""dtfl-private: tiered split federated learning, with its leakage in view.

Everything the commands do is a function here: `train`, `attack`, `audit`, `compare`, `sweep`, `profile`, `plan`.
"""

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
from dtfl_private.auditing.runner import Audit, audit
from dtfl_private.data.dataset import ImageDataset, TokenDataset
from dtfl_private.errors import DtflError, InputError, RunError
from dtfl_private.experiments.compare import compare
from dtfl_private.experiments.config import TrainConfig
from dtfl_private.experiments.plan import Plan, plan
from dtfl_private.experiments.preset import Preset, load_preset
from dtfl_private.experiments.profile import profile
from dtfl_private.experiments.sweep import Sweep, sweep
from dtfl_private.experiments.train import Run, train
from dtfl_private.leakage.result import Result
from dtfl_private.models.cutting.staged import StagedModel, join, split
from dtfl_private.models.cutting.tracing import staged
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protocol.contracts import Partition, Scheduler, TierChoice
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, Transcript, WeightUpdate
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.simulation.costs.table import TierCost, TierTable

__all__ = [
    "Attack",
    "AttackConfig",
    "AttackFacts",
    "AttackReport",
    "AttributeInference",
    "Audit",
    "AuditConfig",
    "ClientRound",
    "Comparison",
    "Defense",
    "DefenseFacts",
    "DtflError",
    "ImageDataset",
    "InputError",
    "LabelInference",
    "LocalStep",
    "MembershipInference",
    "ModelDownload",
    "Partition",
    "Plan",
    "Preset",
    "Reconstruction",
    "Result",
    "Run",
    "RunError",
    "Scheduler",
    "SmashedBatch",
    "StagedModel",
    "Sweep",
    "Tampering",
    "TierChoice",
    "TierCost",
    "TierTable",
    "TokenDataset",
    "TrainConfig",
    "Transcript",
    "View",
    "WeightUpdate",
    "attack",
    "audit",
    "compare",
    "join",
    "load_preset",
    "plan",
    "profile",
    "split",
    "staged",
    "sweep",
    "train",
]

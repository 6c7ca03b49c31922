"""dtfl-private: tiered split federated learning, with its leakage in view.

Everything the commands do is a function here: `train`, `attack`, `audit`, `compare`, `sweep`, `profile`, `plan`.
"""

from dtfl_private.adversary.base import (
    Attack,
    AttackFacts,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    Tampering,
)
from dtfl_private.adversary.view import View
from dtfl_private.commands.attack import AttackReport, attack
from dtfl_private.commands.attack_settings import AttackConfig
from dtfl_private.commands.audit import Audit, audit
from dtfl_private.commands.audit_settings import AuditConfig
from dtfl_private.commands.compare import compare
from dtfl_private.commands.plan import Plan, plan
from dtfl_private.commands.preset import Preset, load_preset
from dtfl_private.commands.profile import profile
from dtfl_private.commands.sweep import Sweep, sweep
from dtfl_private.commands.train import Run, train
from dtfl_private.config import TrainConfig
from dtfl_private.contracts import Partition, Scheduler, TierChoice
from dtfl_private.data.dataset import ImageDataset, TokenDataset
from dtfl_private.defense import ClientRound, Defense, DefenseFacts, LocalStep
from dtfl_private.errors import DtflError, InputError, RunError
from dtfl_private.leakage.result import Result
from dtfl_private.messages import ModelDownload, SmashedBatch, Transcript, WeightUpdate
from dtfl_private.models.staged import StagedModel, join, split
from dtfl_private.models.tracing import staged
from dtfl_private.report.comparison import Comparison
from dtfl_private.tiers.table import TierCost, TierTable

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
